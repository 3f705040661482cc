"""`theodore-otel stack`, as a person at a terminal meets it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import free_ports
from theodore_otel.otelcol import find

LISTENERS = ("grpc", "http", "health", "telemetry", "metrics")


class Terminal:
    """Runs `theodore-otel` in a folder with a configuration on free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self.environment = {
            **os.environ,
            "THEODORE_OTEL_HOME": str(folder / "home"),
            find.VARIABLE: str(find.installed(lambda _: None)),
        }
        self.environment.pop("GOMEMLIMIT", None)
        self.environment.pop("GOGC", None)
        self.configure()

    def configure(self, more: str = "") -> None:
        listen = ", ".join(f'{name}: "127.0.0.1:{port}"' for name, port in self.ports.items())
        text = f"version: 1\nprofile: local\ncollector:\n  listen: {{{listen}}}\n{more}"
        (self.folder / "theodore-otel.yaml").write_text(text)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from theodore_otel.cli import main; main()", *words]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def good(self, *words: str) -> str:
        answer = self.run(*words)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def refused(self, *words: str, code: int = 2) -> str:
        answer = self.run(*words)
        assert (answer.returncode, answer.stdout) == (code, ""), answer
        assert "Traceback" not in answer.stderr
        return answer.stderr

    def ps(self) -> dict[str, object]:
        (collector,) = json.loads(self.run("stack", "ps", "--format", "json").stdout)
        return dict(collector)

    @property
    def pid(self) -> int:
        return int(str(self.ps()["pid"]))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.run("stack", "down")


def test_up_prints_the_endpoints_ps_shows_it_running_and_down_ends_it(terminal: Terminal) -> None:
    endpoints = terminal.good("stack", "up")
    assert f"http://127.0.0.1:{terminal.ports['http']}\n" in endpoints
    assert terminal.good("stack", "ps").splitlines()[1].split()[:2] == ["collector", "running"]
    assert terminal.ps()["endpoints"] == {
        name: f"127.0.0.1:{port}" for name, port in terminal.ports.items() if name != "metrics"
    }
    assert terminal.run("stack", "down").stderr == "the collector has stopped\n"
    assert terminal.run("stack", "down").stderr == "nothing was running\n"
    assert terminal.run("stack", "ps").returncode == 3


def test_a_first_start_says_that_there_are_no_credentials_and_refuses_everybody(terminal: Terminal) -> None:
    answer = terminal.run("stack", "up")
    assert "no credentials yet, so every request is refused: theodore-otel tenant add NAME" in answer.stderr
    assert (terminal.folder / "home" / "credentials.htpasswd").stat().st_mode & 0o777 == 0o600
    request = urllib.request.Request(f"http://127.0.0.1:{terminal.ports['http']}/v1/traces", data=b"{}", method="POST")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 401


def test_a_new_tenant_is_taken_up_by_the_running_collector(terminal: Terminal) -> None:
    terminal.good("stack", "up")
    pid = terminal.pid
    assert "the running collector has taken it up" in terminal.run("tenant", "add", "acme").stderr
    assert terminal.pid == pid


def test_a_taken_port_is_told_with_its_key_and_exit_code_2(terminal: Terminal) -> None:
    port = terminal.ports["grpc"]
    with socket.create_server(("127.0.0.1", port)):
        message = terminal.refused("stack", "up")
    assert (
        f"theodore-otel.yaml: collector.listen.grpc: cannot listen on 127.0.0.1:{port}: port {port} is taken" in message
    )
    assert terminal.run("stack", "ps").returncode == 3


def test_after_kill_9_ps_says_down_with_exit_code_3_and_up_starts_another(terminal: Terminal) -> None:
    terminal.good("stack", "up")
    first = terminal.pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (answer := terminal.run("stack", "ps")).returncode != 3:
        assert time.monotonic() < deadline
    assert answer.stdout.splitlines()[1].split() == ["collector", "down", "-", "-"]
    terminal.good("stack", "up")
    assert terminal.pid != first


def test_a_changed_file_starts_it_anew_and_an_unchanged_one_does_not(terminal: Terminal) -> None:
    terminal.good("stack", "up")
    first = terminal.pid
    terminal.good("stack", "up")
    assert terminal.pid == first
    terminal.configure("  memory: 300MiB\n")
    terminal.good("stack", "up")
    assert terminal.pid != first


def test_memory_of_the_file_bounds_the_collectors_heap(terminal: Terminal) -> None:
    terminal.configure("  memory: 100MiB\n")
    terminal.good("stack", "up")
    if Path("/proc/self/environ").exists():
        environment = Path(f"/proc/{terminal.pid}/environ").read_bytes().split(b"\0")
        assert f"GOMEMLIMIT={int(100 * 2**20 * 0.75)}B".encode() in environment
        assert b"GOGC=200" in environment


def test_a_missing_collector_says_how_to_get_one(terminal: Terminal) -> None:
    del terminal.environment[find.VARIABLE]
    terminal.environment["XDG_CACHE_HOME"] = str(terminal.folder / "empty")
    message = terminal.refused("stack", "up")
    assert "there is no collector on this machine: run `theodore-otel collector install`" in message
    assert terminal.run("stack", "ps").returncode == 3


def test_an_unset_secret_is_told_by_variable_and_key(terminal: Terminal) -> None:
    terminal.configure("destinations:\n  dd: {type: datadog, api_key: {env: MISSING_KEY}}\n")
    message = terminal.refused("stack", "up")
    assert message == (
        "error: theodore-otel.yaml:6: destinations.dd.api_key: environment variable MISSING_KEY is not set\n"
    )
    assert terminal.good("validate") == "theodore-otel.yaml: good\n"


def test_raw_configuration_the_collector_refuses_is_told_by_its_key(terminal: Terminal) -> None:
    terminal.configure("  extra:\n    exporters:\n      debug/more:\n        verbosit: basic\n")
    for words in (["validate"], ["stack", "up"]):
        message = terminal.refused(*words)
        assert "theodore-otel.yaml:8: collector.extra.exporters.debug/more.verbosit: " in message
        assert "unknown key" in message
    assert terminal.run("stack", "ps").returncode == 3


def test_a_missing_file_is_told_and_not_replaced_by_defaults(terminal: Terminal) -> None:
    assert "gone.yaml: no such file" in terminal.refused("stack", "up", "-c", "gone.yaml")


def test_logs_are_readable_lines_and_as_many_as_asked_for(terminal: Terminal) -> None:
    assert "there is no log yet" in terminal.refused("stack", "logs")
    terminal.good("stack", "up")
    last = terminal.good("stack", "logs", "-n", "3").splitlines()
    assert len(last) == 3
    assert "INFO  Everything is ready. Begin running and processing data." in last[-1]


def test_logs_go_on_with_what_is_added_until_interrupted(terminal: Terminal) -> None:
    terminal.good("stack", "up")
    command = terminal.command("stack", "logs", "-f", "-n", "0")
    environment = {**terminal.environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        terminal.good("tenant", "add", "acme")  # has the collector read its credentials again
        assert "INFO" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0


def test_run_becomes_the_collector_in_the_foreground(terminal: Terminal) -> None:
    # The collector listens for signals only after it has said that all is ready: one that comes in between ends it.
    codes = [_ended_by_sigterm(terminal)]
    while codes[-1] == -signal.SIGTERM and len(codes) < 5:
        codes.append(_ended_by_sigterm(terminal))
    assert codes[-1] == 0, codes


def _ended_by_sigterm(terminal: Terminal) -> int:
    with subprocess.Popen(
        terminal.command("collector", "run"), cwd=terminal.folder, env=terminal.environment, stderr=subprocess.PIPE
    ) as running:
        assert running.stderr
        lines = iter(running.stderr.readline, b"")
        assert any(b"Everything is ready" in line for line in lines)
        urllib.request.urlopen(f"http://127.0.0.1:{terminal.ports['health']}/", timeout=10).close()
        running.send_signal(signal.SIGTERM)  # reaches the collector itself: there is no process in between
        running.stderr.read()
        return running.wait(30)


@pytest.mark.case("proxy_in_the_environment")
def test_a_proxy_in_the_environment_has_no_say_in_whether_the_collector_is_well(terminal: Terminal) -> None:
    proxy = "http://127.0.0.1:9"
    terminal.environment |= dict.fromkeys(["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"], proxy)
    terminal.good("stack", "up")
    terminal.good("stack", "ps")
    terminal.good("tenant", "add", "acme")
    terminal.good("observability", "status", "--component", "collector")


@pytest.mark.case("stack_without_a_file")
def test_up_says_that_there_is_no_file_and_that_what_theodore_reads_is_stale(terminal: Terminal) -> None:
    terminal.good("render", "instrument")
    with (terminal.folder / "theodore-otel.yaml").open("a") as file:
        file.write("service: {name: renamed}\n")
    answer = terminal.run("stack", "up")
    assert answer.returncode == 0, answer.stderr
    assert (
        "warning: instrument.json is not what theodore-otel.yaml says now: theodore-otel render instrument"
        in answer.stderr
    )
    terminal.good("render", "instrument")
    assert "warning" not in terminal.run("stack", "up").stderr
    (terminal.folder / "theodore-otel.yaml").rename(terminal.folder / "other.yaml")
    terminal.environment[find.VARIABLE] = "/no/such"  # nothing is started: the defaults' ports may be taken
    assert "there is no theodore-otel.yaml in" in terminal.run("stack", "up").stderr


@pytest.mark.case("damaged_queue")
def test_up_sets_a_damaged_queue_aside_and_says_what_was_in_it(terminal: Terminal) -> None:
    terminal.configure("destinations: {away: {type: jaeger, endpoint: '127.0.0.1:9'}}\n")
    queue = terminal.folder / "home" / "queue" / "exporter_otlp_away_traces"
    queue.parent.mkdir(parents=True)
    queue.write_bytes(bytes(65536))
    answer = terminal.run("stack", "up")
    assert answer.returncode == 0, answer.stderr
    assert (
        "the queue of away/traces is damaged (both of its head pages are destroyed); what waited in it" in answer.stderr
    )
    assert len(list(queue.parent.glob("*.backup"))) == 1
    status = terminal.run("observability", "status", "--component", "queues")
    assert (status.returncode, "theodore-otel queue list" in status.stdout) == (1, True), status


@pytest.mark.case("damaged_queue")
def test_a_second_collector_on_the_same_queues_is_told_in_one_line(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Terminal(tmp_path / "second")
    for each in (terminal, second):
        each.configure("destinations: {away: {type: jaeger, endpoint: '127.0.0.1:9'}}\n")
        file = each.folder / "theodore-otel.yaml"
        file.write_text(file.read_text().replace("  listen:", f"  queue: {{directory: {tmp_path}/shared}}\n  listen:"))
    terminal.good("stack", "up")
    message = second.refused("stack", "up")
    assert "another collector uses this queue: end it, or take another folder" in message
    assert "goroutine" not in message
