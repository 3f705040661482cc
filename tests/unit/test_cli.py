"""The command line: one clear message and exit code 2 for bad input, results on stdout, notes on stderr."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(sys.executable).parent / "theodore-otel"
ROOT = Path(__file__).parents[2]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"THEODORE_OTEL_HOME": str(cwd / "home"), **environment}
    return subprocess.run(
        [TOOL, *arguments], cwd=cwd, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )


BAD = {
    "a missing file": (None, ["render"], "theodore-otel.yaml: no such file"),
    "wrong YAML": ("a: [", ["render"], "theodore-otel.yaml:1: this is not valid YAML"),
    "a misspelt key": ("servce: {}", ["render"], "theodore-otel.yaml:1: servce: unknown key; did you mean 'service'?"),
    "a wrong type": ("service: {name: 5}", ["render"], "service.name: expected a string, got the number 5"),
    "a folder for a file": ("", ["render", "-c", "."], ".: cannot be read: Is a directory"),
    "a key twice": ("service: {}\nservice: {}", ["render"], "theodore-otel.yaml:2: service: this key stands twice"),
    "an alias of itself": ("service: &a {name: *a}", ["render"], "an alias (*name) stands inside what it refers to"),
    "a bad address": (
        "collector: {listen: {http: nowhere}}", ["stack", "up"],
        "theodore-otel.yaml:1: collector.listen.http: expected text such as 127.0.0.1:4318, got the string 'nowhere'",
    ),
    "a bad function": (
        "instrument: {watch: {research: [{function: research}]}}", ["render"],
        "instrument.watch.research.0.function: expected text such as theodore.research:ResearchUseCase.execute",
    ),
    "a bad URL pattern": (
        "instrument: {model_apis: [{name: x, url: '(', provider: y}]}", ["render"],
        "instrument.model_apis.0.url: expected a regular expression",
    ),
    "out of range": ("tracing: {sampling: {rate: 7}}", ["validate"], "tracing.sampling.rate: expected less than"),
    "an unknown profile": ("profile: loca", ["stack", "up"], "did you mean 'local'?"),
    "an unknown profile option": ("", ["render", "--profile", "loca"], "did you mean 'local'?"),
    "an unknown destination": ("destinations: {x: {type: jaegr}}", ["render"], "destinations.x: type: expected one of"),
    "a bad tenant id": ("tenants: {list: {A-B: {}}}", ["render"], "tenants.list.A-B: expected text of the form"),
    "a bad tenant to add": ("", ["tenant", "add", "A-B"], "expected a tenant id"),
    "an unwritable folder": ("", ["render", "-o", "/proc/none"], "/proc/none: cannot be written"),
    "a secret in clear": (
        "destinations: {d: {type: datadog, api_key: abcdef0123}}", ["render"],
        "destinations.d.api_key: expected a reference such as {env: NAME}",
    ),
    "an unknown target": ("", ["render", "hlm"], "unknown render target 'hlm'"),
    "an unknown preset": ("redaction: {disable_presets: [emial]}", ["render"], "emial"),
    "a bad pattern": ("redaction: {extra_values: {x: '('}}", ["render"], "redaction.extra_values"),
    "an unknown command": ("", ["rendr"], "Did you mean 'render'?"),
    "an unknown key to explain": ("", ["config", "explain", "tracing.smpling"], "did you mean 'tracing.sampling'?"),
    "an unset secret at start": (
        "destinations: {d: {type: datadog, api_key: {env: NO_SUCH_KEY}}}", ["stack", "up"],
        "theodore-otel.yaml:1: destinations.d.api_key: environment variable NO_SUCH_KEY is not set",
    ),
    "a secret file that is missing": (
        "destinations: {d: {type: datadog, api_key: {file: /no/such}}}", ["collector", "run"],
        "theodore-otel.yaml:1: destinations.d.api_key: file /no/such cannot be read",
    ),
    "a file that is there": ("", ["init"], "theodore-otel.yaml: exists already"),
}  # fmt: skip


COLLECTORS = {
    "missing": ("/no/such", "THEODORE_OTEL_COLLECTOR: expected the path of a collector binary, but there is no file"),
    "not executable": ("/etc/passwd", "THEODORE_OTEL_COLLECTOR: /etc/passwd is not executable"),
    "another program": (sys.executable, "not a collector: `--version` answered"),
    "none on this machine": ("", "there is no collector on this machine: run `theodore-otel collector install`"),
}


@pytest.mark.parametrize(("collector", "expected"), COLLECTORS.values(), ids=COLLECTORS)
def test_a_collector_that_cannot_be_used_is_told(tmp_path, collector, expected):
    cache = str(tmp_path / "cache")
    done = run("stack", "up", cwd=tmp_path, THEODORE_OTEL_COLLECTOR=collector, XDG_CACHE_HOME=cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "stack").exists()


def test_a_taken_port_is_told_with_its_key_and_nothing_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        (tmp_path / "theodore-otel.yaml").write_text(
            f"profile: local\ncollector: {{listen: {{grpc: '127.0.0.1:{port}'}}}}"
        )
        done = run("stack", "up", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"theodore-otel.yaml: collector.listen.grpc: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert run("stack", "ps", cwd=tmp_path).returncode == 3


def test_a_state_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "home").write_text("")
    for arguments in (["stack", "up"], ["tenant", "add", "acme"], ["observability", "traces"]):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert str(tmp_path / "home") in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("text", "arguments", "expected"), BAD.values(), ids=BAD)
def test_bad_input_ends_with_one_clear_message_and_nothing_written(tmp_path, text, arguments, expected):
    if text is not None:
        (tmp_path / "theodore-otel.yaml").write_text(text)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert "abcdef0123" not in done.stdout + done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == (
        [] if text is None else ["theodore-otel.yaml"]
    )


EMPTY = """
observability logs --export ''
observability metrics --export ''
observability logs --since ''
observability traces ''
render -o ''
init -o '' --force
config check -c ''
config explain ''
config explain ...
tenant add ''
tenant add -o '' acme
test ''
test --junit ''
queue inspect ''
run -- ''
collector run -c ''
instrument suggest '' x.y
audit report --since ''
audit report --since CENTURIES
observability logs --since CENTURIES
"""


@pytest.mark.case("bad_input_is_no_bug")
def test_empty_and_huge_arguments_are_no_bug(tmp_path):
    (tmp_path / "theodore-otel.yaml").write_text("")
    ended = {
        each: run(*shlex.split(each.replace("CENTURIES", f"{'9' * 400}d")), cwd=tmp_path)
        for each in EMPTY.split("\n")[1:-1]
    }
    bugs = {each: done.stderr for each, done in ended.items() if done.returncode == 70 or "Traceback" in done.stderr}
    assert bugs == {}


@pytest.mark.case("misleading_mistakes")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace"], "Did you mean 'observability traces'?"),
        (["up"], "Did you mean 'stack up'?"),
        (["test"], "cases: there are no cases yet: write one, such as cases/first.yaml (docs/testing.md shows some"),
        (["run", "--", "no-such-program"], "name the command that starts your own program, and activate the virtual"),
        (["run", "--", "nowhere.py"], "no such file in"),
        (
            ["tenant", "add", "svc-api", "--file", "c"],
            "api is a service: everything that it sends is refused until tenants.",
        ),
        (["config", "explain", "destinations.mine.type"], "destinations.mine.type = null"),
    ],
)
def test_a_beginners_mistake_is_told_with_what_to_do(tmp_path, arguments, said):
    (tmp_path / "theodore-otel.yaml").write_text("")
    done = run(*arguments, cwd=tmp_path)
    assert said in done.stderr + done.stdout


@pytest.mark.case("misleading_mistakes")
@pytest.mark.parametrize("written", ["args.company", "results.name", "kwargs[x]", "response.ok"])
def test_a_path_with_a_mistyped_root_is_refused_as_it_would_be_a_constant(tmp_path, written):
    entry = {"function": "a:b", "company": written}
    (tmp_path / "theodore-otel.yaml").write_text(json.dumps({"instrument": {"watch": {"research": [entry]}}}))
    done = run("render", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected a constant or a path that begins with arg., self., result. or item." in done.stderr
    assert "did you mean '" in done.stderr


@pytest.mark.case("misleading_mistakes")
def test_init_says_every_step_up_to_the_first_trace(tmp_path):
    (tmp_path / "a b").mkdir()
    said = run("init", "-o", "a b/o.yaml", cwd=tmp_path).stderr
    steps = (
        "tenant add",
        "render instrument -c 'a b/o.yaml'",
        "stack up",
        "export THEODORE_OTEL_CREDENTIAL=",
        "run --",
    )
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    assert f"THEODORE_OTEL_CONFIG='{tmp_path}/a b'/instrument.json" in said


def test_the_sample_can_be_written_checked_and_rendered(tmp_path):
    assert run("init", cwd=tmp_path).returncode == 0
    assert run("config", "check", cwd=tmp_path).returncode == 0
    rendered = run("render", cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert rendered.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "collector.yaml",
        "instrument.json",
        "theodore-otel.yaml",
    ]


def test_check_is_silent_when_current_and_names_the_command_when_stale(tmp_path):
    run("init", cwd=tmp_path)
    run("render", cwd=tmp_path)
    assert run("render", "--check", cwd=tmp_path).returncode == 0
    (tmp_path / "collector.yaml").write_text("old")
    stale = run("render", "--check", cwd=tmp_path)
    assert stale.returncode == 1
    assert "collector.yaml" in stale.stderr
    assert "Run: theodore-otel render -c theodore-otel.yaml" in stale.stderr
    assert (tmp_path / "collector.yaml").read_text() == "old"


def test_diff_and_stdout_write_nothing(tmp_path):
    run("init", cwd=tmp_path)
    assert "+  memory_limiter:" in run("render", "--diff", "collector", cwd=tmp_path).stdout
    assert json.loads(run("render", "--stdout", "instrument", cwd=tmp_path).stdout)["schema"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["theodore-otel.yaml"]


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "deploy").iterdir()))
def test_the_committed_deployments_are_current(folder):
    targets = [] if folder == "local" else [folder]
    file = ROOT / "deploy" / folder / "theodore-otel.yaml"
    done = run("render", *targets, "-c", str(file), "--check", cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_explain_says_value_layers_and_meaning(tmp_path):
    (tmp_path / "theodore-otel.yaml").write_text("profile: local\n\ntracing: {sampling: {rate: 0.5}}")
    shown = run("config", "explain", "tracing.sampling.rate", cwd=tmp_path).stdout
    assert shown.splitlines() == [
        "tracing.sampling.rate = 0.5",
        "Share of ordinary traces kept.",
        "  defaults: 0.1",
        "  profile local: 1.0",
        "  theodore-otel.yaml:3: 0.5",
    ]
    as_json = json.loads(run("config", "explain", "--format", "json", "tracing.sampling.rate", cwd=tmp_path).stdout)
    assert as_json["value"] == 0.5


def test_every_key_of_the_schema_says_what_it_does(tmp_path):
    schema = json.loads(run("config", "schema", cwd=tmp_path).stdout)
    for name, model in schema["$defs"].items():
        for key, field in model.get("properties", {}).items():
            assert key == "type" or field.get("description") or "$ref" in field, f"{name}.{key}"


def test_a_credential_is_printed_once_on_stdout_and_listed_without_its_token(tmp_path):
    added = run("tenant", "add", "acme", cwd=tmp_path)
    assert added.stdout.startswith("THEODORE_OTEL_CREDENTIAL=acme.1:")
    token = added.stdout.strip().partition(":")[2]
    listed = run("tenant", "list", cwd=tmp_path)
    assert listed.stdout.splitlines() == ["NAME  KIND    CREDENTIALS", "acme  tenant  acme.1"]
    assert token not in listed.stdout + listed.stderr + added.stderr


def test_version_tells_package_collector_and_configuration(tmp_path):
    shown = run("--version", cwd=tmp_path).stdout
    assert "theodore-otel 0.1.0" in shown
    assert "collector 0.142.0" in shown
    assert "configuration version 1" in shown


def test_quiet_leaves_only_results_and_errors(tmp_path):
    assert run("-q", "init", cwd=tmp_path).stderr == ""


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    done = subprocess.run(f"{TOOL} config schema | head -1", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
