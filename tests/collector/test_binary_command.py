"""`theodore-otel collector` with the real binary."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from theodore_otel.cli.collector import command
from theodore_otel.otelcol import COLLECTOR_VERSION, binary, find


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


@pytest.fixture
def real() -> Path:
    return find.installed(lambda _: None)


def test_path_and_version_tell_the_binary_that_is_used(real: Path) -> None:
    assert run("path").stdout == f"{real}\n"
    assert run("version").stdout == f"{COLLECTOR_VERSION} ({real}; made for {COLLECTOR_VERSION})\n"


def test_components_lists_what_is_in_the_binary(real: Path) -> None:
    lines = run("components").stdout.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "MODULE"]
    assert any(line.split()[:2] == ["processor", "tail_sampling"] for line in lines)
    listed = json.loads(run("components", "--format", "json").stdout)
    assert {part["name"] for part in listed["receivers"]} >= {"otlp", "filelog"}


def test_a_given_binary_is_kept_and_used_from_then_on(
    real: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(find.VARIABLE, raising=False)
    kept = Path(run("install", "--from", str(real)).stdout.strip())
    assert kept.is_relative_to(tmp_path)
    assert binary.version(kept) == COLLECTOR_VERSION
    assert run("path").stdout == run("install").stdout == f"{kept}\n"


def test_options_that_exclude_each_other_are_told() -> None:
    answer = run("install", "--from", "x", "--build")
    assert answer.exit_code == 2
    assert "--from goes without --base-url and --build" in answer.stderr
