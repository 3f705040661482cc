"""What every test of a destination sends as tenant acme, and what may be nowhere afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from support.collector import Collector, Span, wait_for

MASK = "[REDACTED]"
PASSWORD = "hunter2-correct-horse"
EMAIL = "jane.doe@example.com"
ATTRIBUTES = {"password": PASSWORD, "note": f"written to {EMAIL}", "theodore.component": "scraper"}
REDACTED = {"password": MASK, "note": f"written to {MASK}", "theodore.component": "scraper"}
NEVER_OUTSIDE = (PASSWORD, EMAIL)
METRIC = "theodore.active_operations"
SERVICE = "theodore-v2"
OWNERS = ("acme", "globex")


def configuration(**destinations: Mapping[str, Any]) -> dict[str, Any]:
    """Return the production profile with these destinations, every trace kept and decided after a second."""
    sampling = {"rate": 1.0, "decision_wait": "1s"}
    return {"tracing": {"sampling": sampling}, "destinations": destinations}


def send_span(collector: Collector, marker: str) -> None:
    assert collector.send_spans([Span(marker, ATTRIBUTES, kind=2)], "acme.1", {"host.name": "worker-1"}) == 200


def send_log(collector: Collector, marker: str, category: str = "system") -> None:
    attributes = {**ATTRIBUTES, "theodore.category": category}
    assert collector.send_logs([(13, f"{marker} for {EMAIL}", attributes)], "acme.1", {"host.name": "worker-1"}) == 200


def send_gauge(collector: Collector, marker: str) -> None:
    attributes = {"operation": marker, "api_key": PASSWORD}
    assert collector.send_gauge(METRIC, 3.0, attributes, "acme.1") == 200


def text_of(marker: str) -> str:
    """Return what is left of a log record's body."""
    return f"{marker} for {MASK}"


def require_no_secret(where: str, *more: str) -> None:
    """Require that neither what was planted nor a credential stands in a text."""
    found = [secret for secret in (*NEVER_OUTSIDE, *more) if secret in where]
    assert not found, f"{found} in {where[:2000]}"


def require_secret_stays_inside(collector: Collector, *credentials: str) -> None:
    """Require that a destination's credential is in no file and no output of the collector's."""
    for file in (collector.config_file, collector.log):
        require_no_secret(file.read_text(), *credentials)
    assert "env:" in collector.config_file.read_text()


def queued(collector: Collector) -> bytes:
    """Return what the queues on disk hold."""
    folder = collector.home / "queue"
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def require_survives(
    collector: Collector,
    server: Any,
    send: Callable[[Collector, str], None],
    arrived: Callable[[], Sequence[str]],
    *,
    killed: bool,
) -> None:
    """Require that what is sent while a destination is down waits on disk and arrives, once, when it is back.

    `arrived` returns the markers that are at the destination; `killed` also ends the collector with kill -9 meanwhile.
    """
    markers = {f"waits-{'killed' if killed else 'down'}-{number}" for number in range(5)}
    server.kill() if hasattr(server, "kill") else server.stop()
    for each in sorted(markers):
        send(collector, each)
    wait_for(lambda: all(each.encode() in queued(collector) for each in markers), 20, collector.said)
    require_no_secret(queued(collector).decode(errors="replace"))
    if killed:
        collector.kill()
        collector.start()
    server.start()
    wait_for(lambda: markers <= set(arrived()), 120, lambda: f"{arrived()}\n{collector.said()}")
    times = Counter(arrived())
    assert {marker: times[marker] for marker in markers} == dict.fromkeys(markers, 1)


KILLED = pytest.mark.parametrize("killed", [False, True], ids=["destination down", "collector killed as well"])
"""For tests of what waits: in the running collector, and over its kill -9."""
