"""The collector in the background: started once, waited for, told apart from strangers, stopped."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.collector import free_ports
from theodore_otel.config.source import parse
from theodore_otel.errors import DownError, InputError
from theodore_otel.otelcol import find, process, supervise
from theodore_otel.otelcol.launch import Prepared
from theodore_otel.otelcol.ports import Listener

CONFIGURATION = """
extensions:
  health_check: {{endpoint: "127.0.0.1:{health}"}}
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  debug: {{}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}, logs: {{encoding: json}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug]}}
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]) -> Iterator[Prepared]:
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    http, health = free_ports(2)
    yield Prepared(
        find.installed(said.append),
        parse("", "my.yaml"),
        CONFIGURATION.format(http=http, health=health),
        {**os.environ, "GOMEMLIMIT": "400000000B"},
        (
            Listener("collector.listen.http", "127.0.0.1", http),
            Listener("collector.listen.health", "127.0.0.1", health),
        ),
    )
    supervise.down(said.append)


def start(prepared: Prepared, said: list[str]) -> supervise.Record:
    record = supervise.up(prepared, said.append).record
    assert record
    return record


def test_up_returns_when_the_collector_takes_data_and_down_when_it_is_gone(prepared: Prepared, said: list[str]) -> None:
    record = start(prepared, said)
    assert supervise.status() == supervise.Status("running", record)
    socket.create_connection(("127.0.0.1", prepared.listeners[0].port)).close()
    assert supervise.pid_file().read_text().splitlines()[0] == str(record.pid)
    assert supervise.down(said.append) is True
    assert process.identity(record.pid) is None
    assert supervise.status().state == "down"
    assert not supervise.pid_file().exists()
    assert said == []


def test_up_twice_leaves_the_running_one_and_down_twice_is_no_error(prepared: Prepared, said: list[str]) -> None:
    first = start(prepared, said)
    assert start(prepared, said) == first
    assert said == [f"the collector runs already (pid {first.pid})"]
    assert supervise.down(said.append) is True
    assert supervise.down(said.append) is False


def test_two_ups_at_once_start_one_collector(prepared: Prepared, said: list[str]) -> None:
    records: list[supervise.Record] = []
    both = [threading.Thread(target=lambda: records.append(start(prepared, said))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert len(records) == 2
    assert records[0] == records[1]


def test_a_changed_configuration_starts_it_anew(prepared: Prepared, said: list[str]) -> None:
    first = start(prepared, said)
    second = start(replace(prepared, text=prepared.text + "# changed\n"), said)
    assert second.pid != first.pid
    assert process.identity(first.pid) is None


def test_a_configuration_the_collector_refuses_leaves_the_running_one_alone(
    prepared: Prepared, said: list[str]
) -> None:
    first = start(prepared, said)
    with pytest.raises(InputError, match=r"my.yaml: the collector refuses: unknown key .*exporters.debug.verbosit"):
        start(replace(prepared, text=prepared.text.replace("debug: {}", "debug: {verbosit: basic}")), said)
    assert supervise.status() == supervise.Status("running", first)


def test_a_taken_port_is_told_and_nothing_is_left(prepared: Prepared, said: list[str]) -> None:
    port = prepared.listeners[0].port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(InputError, match=rf"my.yaml: collector.listen.http: .*port {port} is taken"),
    ):
        start(prepared, said)
    assert supervise.status().state == "down"
    assert not supervise.pid_file().exists()
    start(prepared, said)


def test_after_kill_9_it_is_down_and_up_starts_another(prepared: Prepared, said: list[str]) -> None:
    first = start(prepared, said)
    os.kill(first.pid, signal.SIGKILL)
    wait_until_gone(first)
    assert supervise.status() == supervise.Status("down", None)
    assert start(prepared, said).pid != first.pid


def test_a_pid_that_is_another_process_by_now_is_neither_taken_for_ours_nor_killed(
    prepared: Prepared, said: list[str]
) -> None:
    first = start(prepared, said)
    supervise.down(said.append)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        supervise._save(replace(first, pid=stranger.pid))
        assert supervise.status().state == "down"
        assert supervise.reload() is False
        assert supervise.down(said.append) is False
        assert stranger.poll() is None
        supervise._save(replace(first, pid=stranger.pid))
        assert start(prepared, said).pid != stranger.pid
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "no number\n{}", "1\n{}", "1\nnot json"])
def test_a_broken_pid_file_counts_as_down(prepared: Prepared, said: list[str], content: str) -> None:
    supervise.folder().mkdir(parents=True)
    supervise.pid_file().write_text(content)
    assert supervise.status().state == "down"
    start(prepared, said)


def test_a_collector_that_hangs_is_unhealthy_and_killed_in_the_end(prepared: Prepared, said: list[str]) -> None:
    record = start(prepared, said)
    os.kill(record.pid, signal.SIGSTOP)
    assert supervise.status() == supervise.Status("unhealthy", record)
    assert supervise.down(said.append, limit=0.2) is True
    assert process.identity(record.pid) is None
    assert said == ["the collector did not end within 0.2 s and is killed; its queues on disk are kept"]


def test_reload_reads_the_configuration_again_in_the_same_process(prepared: Prepared, said: list[str]) -> None:
    record = start(prepared, said)
    other = free_ports(1)[0]
    text = prepared.text.replace(str(prepared.listeners[0].port), str(other))
    replace(prepared, text=text).write(supervise.config_file())
    assert supervise.reload() is True
    socket.create_connection(("127.0.0.1", other)).close()
    assert supervise.status() == supervise.Status("running", record)


def test_reload_with_nothing_running_says_so(prepared: Prepared) -> None:
    assert supervise.reload() is False


def test_a_collector_that_ends_while_it_starts_is_told_with_the_end_of_its_log(
    prepared: Prepared, said: list[str]
) -> None:
    bad = prepared.text.replace("exporters:\n", "exporters:\n  file/gone: {path: /nowhere/x}\n")
    bad = bad.replace("exporters: [debug]", "exporters: [debug, file/gone]")
    with pytest.raises(DownError, match=r"(?s)the collector ended by itself. The end of .*collector.log.*/nowhere/x"):
        start(replace(prepared, text=bad), said)
    assert supervise.status().state == "down"


def test_a_collector_that_does_not_become_healthy_does_not_stay(prepared: Prepared, said: list[str]) -> None:
    never = Listener("collector.listen.health", "127.0.0.1", free_ports(1)[0])
    with pytest.raises(DownError, match=r"did not become healthy within 0.5 s"):
        supervise.up(replace(prepared, listeners=(prepared.listeners[0], never)), said.append, limit=0.5)
    assert supervise.status().state == "down"
    start(prepared, said)


def test_a_state_folder_that_cannot_be_made_is_told(
    prepared: Prepared, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as context:
        context.setenv("THEODORE_OTEL_HOME", str(tmp_path / "file"))
        with pytest.raises(InputError, match=r"file/stack: the folder cannot be made"):
            start(prepared, said)


def wait_until_gone(record: supervise.Record) -> None:
    deadline = time.monotonic() + 10
    while process.identity(record.pid) == record.identity:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_proxy_of_the_environment_is_not_asked_whether_the_collector_is_well(
    prepared: Prepared, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    record = start(prepared, said)
    assert supervise.status() == supervise.Status("running", record)
