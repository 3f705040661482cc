"""One case in one collector: started in a folder of its own, sent to, drained, and looked at.

When all is sent the collector is told to stop, and it ends once everything it held has reached an exporter: tail
samplers decide, processors flush. What is not in the captures then will never be: absence needs no waiting.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from theodore_otel.config.base import Signal
from theodore_otel.errors import DownError
from theodore_otel.otelcol import credentials
from theodore_otel.otelcol.cases import capture, sending
from theodore_otel.otelcol.cases.isolating import CAPTURES, CREDENTIALS
from theodore_otel.otelcol.cases.judging import Failure, judge, judge_nowhere
from theodore_otel.otelcol.cases.model import Case, Request
from theodore_otel.render.exporters import Exporter

START_LIMIT = 60.0
"""Seconds a collector has to become ready."""
DRAIN_LIMIT = 60.0
"""Seconds it has to hand over what it holds and to end."""

_ANSWER_LIMIT = 30.0
_POLL = 0.02
_AGAIN = 0.25
# Until it listens to it, the signal that ends it would kill it; a program of Go that is started deaf to it is spared.
_DEAF_TO_INTERRUPTS = ("/bin/sh", "-c", 'trap "" INT; exec "$0" "$@"')
_READY = "Everything is ready. Begin running and processing data."
_LISTENS = "Starting HTTP server"
_WRONG_TOKEN = "wrong"  # noqa: S105  it opens nothing: that is the point
_LAST_MESSAGES = 3
_MOST_LINES = 5


@dataclass(frozen=True)
class Setup:
    """What all cases of a run share."""

    binary: Path
    text: str
    """The collector's configuration."""
    environment: dict[str, str]
    captures: dict[str, Exporter]
    destinations: dict[str, frozenset[Signal]]
    service: str
    """The service.name that is sent unless a case sets one."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when no case is to go on."""


@dataclass
class Outcome:
    """What came of a case."""

    failures: list[Failure] = field(default_factory=list)
    records: list[capture.Record] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Last warnings and errors of the collector."""


def run(case: Case, setup: Setup, folder: Path) -> Outcome:
    """Run a case in an empty folder.

    Raises DownError when the collector does not start, or does not end in time.
    """
    home = folder.absolute()
    tokens = _make_credentials(case, home / CREDENTIALS)
    ids = sending.Ids(case.name)
    outcome = Outcome()

    def captured() -> capture.Captured:
        return capture.read({home / CAPTURES / name: each for name, each in setup.captures.items()}, ids.labels)

    with _collector(setup, home) as collector:
        for number, request in enumerate(case.send):
            setup.stop.wait(request.wait.total_seconds())
            outcome.failures += _send(request, number, collector, ids, tokens, setup.service)
        outcome.failures += _judge_in_time(case, setup, captured)
    outcome.failures += _ended_well(collector)
    arrived = captured()
    told = {failure.path for failure in outcome.failures}
    late = judge(dict(enumerate(case.expect)), arrived, setup.destinations)
    outcome.failures += [failure for failure in late if failure.path not in told]
    outcome.failures += judge_nowhere(case, arrived, collector.log)
    outcome.records = arrived.records
    outcome.complaints = _complaints(collector.log)[-_LAST_MESSAGES:]
    return outcome


@dataclass
class _Collector:
    process: subprocess.Popen[bytes]
    log_file: Path
    started: int
    """Unix nanoseconds."""
    port: int = 0

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _collector(setup: Setup, home: Path) -> Iterator[_Collector]:
    """Run a collector for the length of a block; it has handed over all it held when the block is left."""
    config_file, log_file = home / "collector.yaml", home / "collector.log"
    config_file.write_text(setup.text, encoding="utf-8")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*_DEAF_TO_INTERRUPTS, setup.binary, "--config", config_file],
            env={**setup.environment, "THEODORE_OTEL_HOME": str(home)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    collector = _Collector(process, log_file, time.time_ns())
    try:
        collector.port = _wait_until_ready(collector, setup.stop)
        yield collector
        _drain(collector)
    finally:
        process.kill()
        process.wait()


def _drain(collector: _Collector) -> None:
    """Have the collector hand over all it holds and end."""
    deadline = time.monotonic() + DRAIN_LIMIT
    while collector.process.poll() is None:
        if time.monotonic() > deadline:
            raise DownError(f"the collector did not end within {DRAIN_LIMIT:g} s.{_end(collector)}")
        # It says that it is ready a moment before it listens to signals; one that comes too early is lost.
        collector.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            collector.process.wait(_AGAIN)


def _wait_until_ready(collector: _Collector, stop: threading.Event) -> int:
    """Return the port of OTLP over HTTP once the collector runs."""
    deadline = time.monotonic() + START_LIMIT
    while _READY not in (log := collector.log):
        if collector.process.poll() is not None:
            raise DownError(f"the collector does not start.{_end(collector)}")
        if time.monotonic() > deadline:
            raise DownError(f"the collector was not ready within {START_LIMIT:g} s.{_end(collector)}")
        if stop.wait(_POLL):
            raise DownError("the cases were stopped before the collector was ready")
    for entry in _entries(log):
        if entry.get("msg") == _LISTENS and entry.get("otelcol.component.id") == "otlp":
            return int(str(entry["endpoint"]).rpartition(":")[2])
    raise DownError(f"the collector does not listen for OTLP over HTTP.{_end(collector)}")


def _send(
    request: Request, number: int, collector: _Collector, ids: sending.Ids, tokens: Mapping[str, str], service: str
) -> list[Failure]:
    """Send a request of a case; return what its answer should not have been."""
    headers = {"Content-Type": "application/json", **_authorization(request, tokens), **request.headers}
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=_ANSWER_LIMIT)
    with contextlib.closing(connection):
        for kind, content in sending.bodies(request, number, ids, service, time.time_ns(), collector.started):
            status, said = _post(connection, kind, json.dumps(content, ensure_ascii=False).encode(), headers)
            if failure := _wrong_answer(request, number, kind, status, said):
                return [failure]
    return []


def _post(
    connection: http.client.HTTPConnection, kind: Signal, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str]:
    try:
        connection.request("POST", f"/v1/{kind}", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"


def _wrong_answer(request: Request, number: int, kind: Signal, status: int, said: str) -> Failure | None:
    if status == (request.refused or 200):
        return None
    got = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status or "no answer")
    if request.refused:
        message = f"expected the {kind} to be refused with {request.refused}, got {got}"
        return Failure(("send", number, "refused"), message, _said(said))
    hint = "" if request.credential or status != HTTPStatus.UNAUTHORIZED else "; it has no `credential`"
    return Failure(("send", number), f"expected the {kind} to be accepted, got {got}{hint}", _said(said))


def _said(text: str) -> tuple[str, ...]:
    line = " ".join(text.split())[:300]
    return (f"+ {line}",) if line and line != "{}" else ()


def _authorization(request: Request, tokens: Mapping[str, str]) -> dict[str, str]:
    if not request.credential:
        return {}
    name = _user(request.credential)
    token = _WRONG_TOKEN if request.wrong_token else tokens[name]
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


def _make_credentials(case: Case, file: Path) -> dict[str, str]:
    """Make the credentials that the case uses; return each one's token."""
    file.touch(mode=0o600)
    tokens: dict[str, str] = {}
    for request in case.send:
        if request.credential and not request.wrong_token:
            owner, _, number = _user(request.credential).rpartition(".")
            while f"{owner}.{number}" not in tokens:
                made = (credentials.rotate if f"{owner}.1" in tokens else credentials.add)(file, owner)
                tokens[made.name] = made.token
    return tokens


def _user(credential: str) -> str:
    return credential if "." in credential else f"{credential}.1"


def _judge_in_time(case: Case, setup: Setup, captured: Callable[[], capture.Captured]) -> list[Failure]:
    """Look at what has to arrive within a time while the collector runs; return what did not."""
    sent = time.monotonic()
    waiting = {number: each for number, each in enumerate(case.expect) if each.within is not None}
    failures: list[Failure] = []
    while waiting:
        now = time.monotonic() - sent
        arrived = captured()
        for number, expectation in list(waiting.items()):
            wrong = judge({number: expectation}, arrived, setup.destinations)
            if not wrong or (expectation.within and now > expectation.within.total_seconds()):
                failures += [_late(failure) for failure in wrong]
                del waiting[number]
        time.sleep(_POLL if waiting else 0)
    return failures


def _late(failure: Failure) -> Failure:
    return Failure(failure.path, f"not in time: {failure.message}", failure.detail)


def _ended_well(collector: _Collector) -> list[Failure]:
    code = collector.process.returncode
    if code == 0:
        return []
    said = [f"+ {line}" for line in collector.log.splitlines() if not line.startswith("{")]
    return [Failure((), f"expected the collector to end well, got exit code {code}", tuple(said[:_MOST_LINES]))]


def _entries(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def _complaints(log: str) -> list[str]:
    told = []
    for entry in _entries(log):
        if entry.get("level") in ("warn", "error", "fatal"):
            parts = (entry["level"], entry.get("otelcol.component.id"), entry.get("msg"), entry.get("error"))
            told.append(": ".join(str(part) for part in parts if part))
    return told


def _end(collector: _Collector) -> str:
    lines = collector.log.splitlines()[-5:]
    return "\n".join([" The end of its log:", *(f"  {line[:500]}" for line in lines)])
