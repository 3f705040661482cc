"""Functions worth watching are found, and functions that are not there told, from the source alone."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from theodore_otel.cli import cli
from theodore_otel.config import load_text
from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.doctor.finding import Setup
from theodore_otel.doctor.watched import check_watched
from theodore_otel.errors import InputError
from theodore_otel.survey import source
from theodore_otel.survey.suggest import snippet, suggest

SAMPLE = Path(__file__).parents[1] / "sample_app"

MODULES = {
    "__init__.py": "raise RuntimeError('the application ran')\n",
    "research.py": """
        import functools
        from theirs import something
        from .tools import *
        raise RuntimeError("the application ran")

        if True:
            def sometimes(): pass

        class Base(Unknown):
            pass

        class Plain:
            constant = 3
            def method(self): pass
            @property
            def attribute(self): pass
            @functools.cached_property
            def kept(self): pass
            async def later(self): pass
    """,
    "plain.py": "def work(): pass\nalias = work\n",
    "lazy.py": "def __getattr__(name): return None\n",
    "broken.py": "def work(:\n",
    "bot.py": """
        import httpx
        class Bot:
            def ask(self, model, prompt):
                return self.client.chat.completions.create(model=model)
            def _hidden(self, url):
                return httpx.get(url)
            def look(self, url):
                return httpx.get(url)
    """,
    "tests/test_it.py": "def scrape(url): pass\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported."""
    for name, text in MODULES.items():
        file = tmp_path / "surveyed" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "surveyed"
    assert "surveyed" not in sys.modules


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("plain:work", None),
        ("plain:alias", None),
        ("plain:wrok", "there is no wrok in module surveyed.plain"),
        ("plain:work.inner", None),
        ("research:sometimes", None),
        ("research:Plain.method", None),
        ("research:Plain.later", None),
        ("research:Plain.nowhere", "there is no Plain.nowhere in module surveyed.research"),
        ("research:Plain.attribute", "Plain.attribute in module surveyed.research is a property, not a function"),
        ("research:Plain.kept", "Plain.kept in module surveyed.research is a property, not a function"),
        ("research:Plain", "Plain in module surveyed.research is a class, not a function"),
        ("research:Base.inherited", None),
        ("research:from_star", None),
        ("lazy:anything", None),
    ],
)
def test_what_the_source_says_of_a_function(package, function, told):
    assert source.problem(f"{package}.{function}") == told


def test_source_that_is_not_python_is_told(package):
    assert "cannot be read" in source.problem(f"{package}.broken:work")


def test_functions_without_source_are_not_judged():
    assert source.problem("math:anything") is None


def _checked(text, *more):
    return [
        (each.state, each.found)
        for each in check_watched(Setup(parse(text, "t"), None, load_layers(parse(text, "t")).config, {}))
    ]


def test_doctor_tells_of_functions_that_are_not_there(package):
    watch = {
        "phase": [{"function": f"{package}.plain:{name}"} for name in ("work", "wrok")],
        "ai": [
            {"function": f"{package}.nowhere:ask"},
            {"function": "not_here:ask"},
            {"function": "not_here:ask_more"},
            {"function": f"{package}.plain:missing", "optional": True},
        ],
    }
    assert _checked(yaml.safe_dump({"instrument": {"watch": watch}})) == [
        ("warning", f"cannot watch {package}.plain:wrok: there is no wrok in module {package}.plain"),
        ("warning", f"cannot watch {package}.nowhere:ask: there is no module {package}.nowhere"),
        ("warning", "package not_here is not installed here, so 2 watched functions cannot be looked up"),
        ("ok", "1 watched functions exist"),
    ]


def test_doctor_says_nothing_of_presets_for_other_versions():
    assert [state for state, _ in _checked("instrument: {presets: [pinecone, google-generativeai, bedrock]}")] == ["ok"]


def test_suggestions_for_the_sample_are_what_it_is_watched_by(monkeypatch):
    monkeypatch.syspath_prepend(SAMPLE)
    suggested = {(each.kind, each.target) for each in suggest("sample_theodore")}
    watched = yaml.safe_load((SAMPLE / "watch.yaml").read_text())["watch"]
    wanted = {(kind, entry["function"]) for kind, entries in watched.items() for entry in entries}
    # It is called below find_links only, which is a step by itself.
    assert wanted - suggested == {("phase", "sample_theodore.crawl:read_sitemap")}
    assert suggested - wanted == set()


PROGRAMS = Path(__file__).with_name("survey_programs")
WANTED = yaml.safe_load((PROGRAMS / "wanted.yaml").read_text(encoding="utf-8"))


def _found(*wanted: str) -> set[tuple[str, str]]:
    return {(each.kind, each.target) for each in suggest(*wanted)}


@pytest.mark.case("suggestions")
@pytest.mark.parametrize("name", WANTED)
def test_most_of_what_a_person_would_watch_is_suggested_and_little_else(name, record_property):
    found = _found(str(PROGRAMS / name))
    wanted = {(kind, target) for kind, targets in WANTED[name].items() for target in targets}
    recall, noise = len(found & wanted) / len(wanted), len(found - wanted) / len(found)
    told = f"recall {recall:.2f}, noise {noise:.2f}; missed {wanted - found}; more {found - wanted}"
    record_property("suggestions", told)
    assert recall >= 0.8, told
    assert noise <= 0.2, told


@pytest.mark.case("suggestions")
@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (["."], []),
        (["main.py"], []),
        (["commands"], []),
        (["commands"], ["."]),
        (["commands", "parts"], [".", "parts"]),
    ],
)
def test_modules_that_a_program_puts_on_the_path_are_found_however_it_is_named(monkeypatch, wanted, path):
    monkeypatch.chdir(PROGRAMS / "beside")
    for each in path:
        monkeypatch.syspath_prepend(PROGRAMS / "beside" / each)
    assert _found(*wanted) == _found(str(PROGRAMS / "beside"))


def test_what_is_suggested_for_a_request_object_reads_its_fields(monkeypatch):
    monkeypatch.chdir(PROGRAMS / "layers")
    research = next(each for each in suggest("src") if each.kind == "research")
    assert research.fields == {
        "company": "arg.request.firm_name",
        "outcome": {"path": "result.status", "equals": "completed"},
        "error": "result.error_message",
        "pages": "result.pages",
    }
    assert load_text(snippet(suggest("src")), "t").instrument.presets == ["bedrock"]


CLIENT = """
import requests
def ask(prompt):
    return requests.post("{url}", json={{"model": "m", "messages": [{{"role": "user", "content": prompt}}]}}).json()
"""


@pytest.mark.case("suggestions")
@pytest.mark.parametrize(
    ("url", "suggested"),
    [
        ("https://openrouter.ai/api/v1/chat/completions", set()),  # known without being asked for
        ("https://api.groq.com/openai/v1/chat/completions", {("preset", "openai-http")}),
        (
            "https://llm.house.example/v1/chat/completions",
            {("model_api", "https://llm\\.house\\.example/v1/chat/completions")},
        ),
    ],
)
def test_a_model_that_is_called_over_plain_http_is_known_by_its_url_and_not_watched(tmp_path, url, suggested):
    (tmp_path / "client.py").write_text(CLIENT.format(url=url))
    assert _found(str(tmp_path)) == suggested
    if text := snippet(suggest(str(tmp_path))):
        assert load_text(text, "t").instrument.model_apis


def test_suggested_paths_are_those_of_the_sample(monkeypatch):
    monkeypatch.syspath_prepend(SAMPLE)
    found = {each.target: each.fields for each in suggest("sample_theodore")}
    assert found["sample_theodore.research:ResearchUseCase.execute"] == {
        "company": "arg.company_name",
        "outcome": "result.success",
        "error": "result.error",
        "pages": "result.pages_scraped",
    }
    assert found["sample_theodore.crawl:scrape_page"]["url"] == "arg.url"


def test_what_is_suggested_can_be_used_as_it_is(package):
    found = suggest(package)
    assert {each.target: each.kind for each in found} == {
        "surveyed.bot:Bot.ask": "ai",
        "surveyed.bot:Bot.look": "scraping",
    }
    watch = load_text(snippet(found), "t").instrument.watch
    assert watch.ai[0].function == "surveyed.bot:Bot.ask"
    assert watch.ai[0].model == "arg.model"


def test_the_command_prints_reasons_and_yaml_or_either_alone(package):
    run = CliRunner().invoke
    text = run(cli, ["instrument", "suggest", package]).stdout
    assert "calls a model (self.client.chat.completions.create)" in text
    alone = run(cli, ["instrument", "suggest", package, "--format", "yaml"]).stdout
    assert text.endswith(alone)
    assert set(yaml.safe_load(alone)["instrument"]["watch"]) == {"ai", "scraping"}
    listed = json.loads(run(cli, ["instrument", "suggest", package, "--format", "json"]).stdout)
    assert [each["kind"] for each in listed] == ["ai", "scraping"]


@pytest.mark.parametrize("name", ["not_here", "not_here.below"])
def test_a_package_that_is_not_here_is_bad_input(name):
    error = CliRunner().invoke(cli, ["instrument", "suggest", name]).exception
    assert isinstance(error, InputError)
    assert "there is no module not_here here" in str(error)


def test_presets_are_listed_and_shown():
    run = CliRunner().invoke
    assert "bedrock" in run(cli, ["instrument", "presets"]).stdout
    shown = yaml.safe_load(run(cli, ["instrument", "presets", "click"]).stdout)
    assert shown == {"instrument": {"analytics": {"commands": True}}}
    assert isinstance(run(cli, ["instrument", "presets", "clik"]).exception, InputError)
