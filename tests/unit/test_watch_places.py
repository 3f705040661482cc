"""A function is watched wherever it is held: under names that others imported, in click commands and FastAPI routes."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from watching import Observed, Settings, application, attributes, load


@pytest.fixture
def seen():
    return Observed()


@pytest.fixture
def package(tmp_path):
    """A package whose `user` took the function from `research` under two names."""
    with application(tmp_path, "") as name:
        (tmp_path / f"{name}.py").unlink()
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "research.py").write_text("def find_links(company):\n    return [company]\n")
        (folder / "user.py").write_text(
            f"from {name}.research import find_links\n"
            f"from {name}.research import find_links as links\n\n"
            "def both(company):\n    return find_links(company) + links(company)\n"
        )
        importlib.invalidate_caches()
        yield name
        for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[loaded]


def _settings(package):
    return Settings(watch={"phase": [{"function": f"{package}.research:find_links"}]})


def test_names_imported_before_are_watched_too(seen, package):
    user = importlib.import_module(f"{package}.user")
    seen.install(_settings(package))
    assert user.both("ACME") == ["ACME", "ACME"]
    assert [span.name for span in seen.spans] == ["phase find_links"] * 2


def test_names_imported_after_are_watched_too(seen, package):
    seen.install(_settings(package))
    assert importlib.import_module(f"{package}.user").both("ACME") == ["ACME", "ACME"]
    assert [span.name for span in seen.spans] == ["phase find_links"] * 2


def test_a_module_of_another_package_that_imported_the_name_is_watched_too(seen, package, monkeypatch):
    other = types.ModuleType("somebody_elses")
    monkeypatch.setitem(sys.modules, "somebody_elses", other)
    other.find_links = importlib.import_module(f"{package}.research").find_links
    seen.install(_settings(package))
    other.find_links("ACME")
    assert seen.only().name == "phase find_links"


def test_a_lazy_module_is_not_loaded_by_the_search(seen, package, monkeypatch):
    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            raise AssertionError("loaded")

    monkeypatch.setitem(sys.modules, "lazy_one", Lazy("lazy_one"))
    importlib.import_module(f"{package}.research")
    seen.install(_settings(package))
    assert seen.reports == []


COMMANDS = """
    import click

    @click.group()
    def cli(): pass

    @cli.command()
    @click.argument("company")
    def research(company):
        click.echo(f"researched {company}")

    class Thing:
        @property
        def links(self):
            return []
"""


def test_a_click_command_is_watched_by_its_function(seen, tmp_path):
    with application(tmp_path, COMMANDS) as app:
        seen.install(Settings(watch={"research": [{"function": f"{app}:research", "company": "arg.company"}]}))
        result = CliRunner().invoke(load(app).cli, ["research", "ACME"])
        assert result.output == "researched ACME\n"
        assert attributes(seen.only())["theodore.company.name"] == "ACME"


def test_a_property_is_refused_by_name(seen, tmp_path):
    with application(tmp_path, COMMANDS) as app:
        seen.install(Settings(watch={"phase": [{"function": f"{app}:Thing.links"}]}))
        load(app)
        assert seen.reports == [
            f"cannot watch {app}:Thing.links: Thing.links in module {app} is a property, not a function"
        ]


class Posing:
    """As the libraries of cffi are, which stand among the modules: not one, and without a dictionary."""

    __slots__ = ()

    @property
    def __class__(self):
        return types.ModuleType


def test_what_only_says_that_it_is_a_module_is_passed_over(seen, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "posing.lib", Posing())
    with application(tmp_path, "def plain():\n    return 1\n") as app:
        seen.install(Settings(watch={"phase": [{"function": f"{app}:plain"}]}))
        assert load(app).plain() == 1
        assert [span.name for span in seen.spans] == ["phase plain"]
        assert seen.reports == []


SERVICE = """
    from fastapi import APIRouter, FastAPI

    app = FastAPI()
    router = APIRouter()

    @app.get("/research/{company}")
    async def research(company: str, pages: int = 3):
        return {"success": company != "bad", "error": "it is bad", "company": company, "pages": pages}

    @router.get("/plain/{company}")
    def plain(company: str):
        return [company]

    app.include_router(router)
"""


def test_the_functions_of_routes_are_watched(seen, tmp_path):
    with application(tmp_path, SERVICE) as app:
        entries = [{"function": f"{app}:{name}", "company": "arg.company"} for name in ("research", "plain")]
        seen.install(Settings(watch={"research": entries}))
        client = TestClient(load(app).app)
        assert client.get("/research/bad?pages=4").json()["pages"] == 4
        assert client.get("/plain/ACME").json() == ["ACME"]
        companies = {attributes(s).get("theodore.company.name"): attributes(s)["theodore.success"] for s in seen.spans}
        assert companies == {"bad": False, "ACME": True}
