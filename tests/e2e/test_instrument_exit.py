"""The end of a program is bounded whatever the collector does, and one line says what was not delivered."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.receiver import Receiver, attributes, environment, receiving, run

PROGRAM = """
import logging, click
from opentelemetry import metrics
@click.command()
def work():
    metrics.get_meter("app").create_counter("count").add(1)
    logging.getLogger("a").info("one")
    click.echo("done")
work()
"""

SERVICE = """
import logging, signal, sys, time
logging.getLogger("a").info("serving")
mode = sys.argv[1]
if mode == "handler":
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))
if mode == "default":
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
if mode == "restored":
    previous = signal.signal(signal.SIGTERM, lambda *a: None)
    assert previous == signal.SIG_DFL, previous
    signal.signal(signal.SIGTERM, previous)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


ALL = "1 span, 1 log record, 1 metric"
KEPT = "the next run under the same credential delivers what is kept, as does `theodore-otel spool flush`"


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if line.startswith("theodore-otel: ")]


def _work(url: str, folder: Path, extra: dict[str, str] | None = None) -> list[str]:
    (folder / "program.py").write_text(PROGRAM)
    ended = run([sys.executable, "program.py"], environment(url, extra), folder, instrumented=True)
    assert (ended.code, ended.out) == (0, b"done\n")
    lines = _lines(ended.err)
    assert ended.err.decode().splitlines() == lines
    return lines


def test_nothing_is_said_when_all_is_delivered(tmp_path: Path) -> None:
    with receiving() as receiver:
        assert _work(receiver.url, tmp_path) == []
        assert [metric.name for metric in receiver.metrics()] == ["count"]


def test_a_dead_collector_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (line,) = _work(f"http://127.0.0.1:{port}", tmp_path)
    assert line == (
        f"theodore-otel: not delivered to http://127.0.0.1:{port}: kept: 1 span, 1 log record, 1 metric "
        f"(connection refused); {KEPT}"
    )


def test_a_hanging_collector_is_one_line_and_holds_nobody_up(tmp_path: Path) -> None:
    with receiving(hang=600) as receiver:
        (line,) = _work(receiver.url, tmp_path)
    assert "1 span, 1 log record, 1 metric (no answer" in line


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, f"kept: {ALL} (HTTP 401: the collector does not accept the credential); {KEPT}"),
        (503, f"kept: {ALL} (HTTP 503 Service Unavailable); {KEPT}"),
        (400, f"{ALL} (HTTP 400 Bad Request)"),
    ],
)
def test_a_refusal_is_one_line_with_its_reason(tmp_path: Path, status: int, told: str) -> None:
    with receiving(status=status) as receiver:
        (line,) = _work(receiver.url, tmp_path, {"THEODORE_OTEL_CREDENTIAL": "acme.1:hidden-token"})
    assert line.endswith(f": {told}")
    assert "hidden-token" not in line


@pytest.mark.parametrize("value", ["Bearer%20planted%0D%0AX-Evil:1", "Bearer%20plantedé"])
def test_a_header_that_cannot_be_sent_is_told_without_its_value(tmp_path: Path, value: str) -> None:
    with receiving() as receiver:
        (line,) = _work(receiver.url, tmp_path, {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={value},x-a=b"})
        assert "ignoring a header of OTEL_EXPORTER_OTLP_HEADERS" in line
        assert "planted" not in line
        assert {headers.get("x-a") for headers in receiver.headers} == {"b"}


def test_resource_attributes_and_labels_do_not_carry_secrets(tmp_path: Path) -> None:
    secret = {"OTEL_RESOURCE_ATTRIBUTES": "api_key=planted-1,team=blue"}
    program = PROGRAM.replace(".add(1)", '.add(1, {"password": "planted-2", "card": 4111111111111111})')
    (tmp_path / "program.py").write_text(program)
    with receiving() as receiver:
        ended = run([sys.executable, "program.py"], environment(receiver.url, secret), tmp_path, instrumented=True)
        assert (ended.code, ended.err) == (0, b"")
        sent = b"".join(r.SerializeToString() for r in receiver.requests)
        assert b"planted" not in sent
        assert b"[REDACTED]" in sent
        (point,) = receiver.metrics()[0].sum.data_points
        assert attributes(point) == {"password": "[REDACTED]", "card": "[REDACTED]"}


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://x", "http://no-such-host.invalid:4318", "http://[bad"])
def test_an_endpoint_that_cannot_be_used_is_one_line(tmp_path: Path, endpoint: str) -> None:
    (line,) = _work(endpoint, tmp_path)
    assert "not delivered" in line


def test_what_a_collector_refused_for_a_while_arrives_while_the_program_runs(tmp_path: Path) -> None:
    program = PROGRAM.replace("\nwork()", "\nwork(standalone_mode=False)\nimport sys\nsys.stdin.read()")
    (tmp_path / "program.py").write_text(program)
    with receiving(status=503) as receiver:
        with subprocess.Popen(
            [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "program.py"],
            env=environment(receiver.url),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            _wait(lambda: receiver.refused)
            assert receiver.bodies() == []
            receiver.status = 200
            _wait(lambda: receiver.bodies())
            out, err = process.communicate(timeout=60)
        assert (out, err) == (b"done\n", b"")
        assert receiver.bodies() == ["one"]


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("mode", "code"), [("default", -signal.SIGTERM), ("handler", 7), ("restored", -signal.SIGTERM)]
)
def test_a_terminated_service_delivers_and_ends_as_before(tmp_path: Path, mode: str, code: int) -> None:
    (tmp_path / "program.py").write_text(SERVICE)
    for instrumented in (False, True):
        with receiving() as receiver:
            assert _terminated(receiver, tmp_path, mode, instrumented=instrumented) == (code, b"")
            assert receiver.bodies() == (["serving"] if instrumented else [])


def _terminated(receiver: Receiver, folder: Path, mode: str, *, instrumented: bool) -> tuple[int, bytes]:
    wrapper = [str(Path(sys.executable).parent / "opentelemetry-instrument")] if instrumented else []
    with subprocess.Popen(
        [*wrapper, sys.executable, "program.py", mode],
        env=environment(receiver.url),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        _, err = process.communicate(timeout=60)
        return process.returncode, err


def test_what_runs_when_the_program_is_terminated_is_a_failed_command(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import click, time\n@click.command()\n@click.argument('mode')\ndef work(mode):\n"
        "    print('ready', flush=True)\n    time.sleep(30)\nwork()\n"
    )
    with receiving() as receiver:
        assert _terminated(receiver, tmp_path, "default", instrumented=True) == (-signal.SIGTERM, b"")
        (span,) = receiver.spans()
        assert attributes(span)["theodore.success"] is False
        assert span.status.message == "terminated by a signal"
