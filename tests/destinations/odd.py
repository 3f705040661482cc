"""Random records, made of what destinations stumble over."""

from __future__ import annotations

import random
from typing import Any

from support.collector import fill, set_value

_NAMES = [
    "", " ", ".", "..", "a", "a.b", "a.b.c", "a..b", ".a", "a.", "user", "user.name", "x" * 40, "x" * 300,
    "ключ", "na me",
    'na"me', "na\\me", "na=me", "na]me", "na,me", "na:me", "\t", "\n", "\u00a0", "\u2028", "_", "__name__", "_id",
    "@timestamp", "host", "host.name", "service", "message", "status", "body", "le", "job", "geo.location",
    "geo.location.lat",
    "geo.location.lon", "peer.service", "net.peer.ip", "net.peer.port", "event.name", "exception.message",
    "http.route",
    "theodore.success", "theodore.ai.cost_usd", "severity", "trace_id", "structured_data", "priority", "ddsource",
    "error", "otel.name", "0", "1", "\U0001f600", "é" * 40, "$", "${env:X}", "%s", "&", "<", "'",
    "json: unsupported value: NaN",
]  # fmt: skip
_TEXTS = [
    *_NAMES, "text", "y" * 5000, "\\", '\\"', '"', "]", "[x]", "a,b:c", "{", "}", "[", "[]", "{}", "null", "NaN",
    "true", "1e999", "json: unsupported value: NaN", "json: unsupported value: +Inf!", "\u200b", "\ufeff",
    "\U000e0001", "\ufffd", "-", "  ",
]  # fmt: skip
_NUMBERS = [
    0, 1, -1, 2**63 - 1, -(2**63), 2**31, 0.0, -0.0, 1.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    -float("inf"),
]  # fmt: skip
TIMES = [0, 1, 10**9 - 1, 10**9, 2**63 - 10**6, 2**63, 2**64 - 1]


def value(source: random.Random, depth: int = 0) -> Any:
    """Return a value of any kind, three levels deep at most."""
    kind = source.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return source.random() < 0.5
    if kind == 2:
        return source.choice([b"", b"\xff", b"bytes"])
    if kind == 3:
        return source.choice(_NUMBERS)
    if kind in (4, 5):
        return source.choice(_TEXTS)
    if kind == 6:
        return [value(source, depth + 1) for _ in range(source.randrange(4))]
    return Pairs((source.choice(_NAMES), value(source, depth + 1)) for _ in range(source.randrange(4)))


class Pairs(dict[str, Any]):
    """A mapping that holds a name as often as it was given."""

    def __init__(self, pairs: Any) -> None:
        self.pairs = list(pairs)
        super().__init__(self.pairs)

    def items(self) -> Any:
        return self.pairs


def attributes(source: random.Random) -> list[tuple[str, Any]]:
    """Return attributes, with names that may stand there twice."""
    return [(source.choice(_NAMES), value(source)) for _ in range(source.choice([0, 1, 2, 3, 12]))]


def span(source: random.Random, made: Any) -> None:
    """Give a span odd fields."""
    fill(made.attributes, attributes(source))
    for _ in range(source.randrange(3)):
        event = made.events.add(name=source.choice(_TEXTS), time_unix_nano=_time(source, made.start_time_unix_nano))
        fill(event.attributes, attributes(source))
    if source.random() < 0.5:
        made.start_time_unix_nano = _time(source, made.start_time_unix_nano)
        made.end_time_unix_nano = _time(source, made.end_time_unix_nano)
    if source.random() < 0.2:
        made.kind = source.choice([0, 5, 6, 99, -1])
        made.trace_state = source.choice(_TEXTS)
        made.status.code = source.choice([0, 1, 2, 7])
        made.status.message = source.choice(_TEXTS)
        made.parent_span_id = source.choice([b"", b"\0" * 8, b"\1" * 8])


def log(source: random.Random, made: Any) -> None:
    """Give a log record odd fields; what it is known by is among its attributes."""
    fill(made.attributes, attributes(source))
    if source.random() < 0.5:
        made.ClearField("body")
        set_value(made.body, value(source))
    if source.random() < 0.5:
        made.time_unix_nano = _time(source, made.time_unix_nano)
        made.observed_time_unix_nano = _time(source, made.observed_time_unix_nano)
    if source.random() < 0.3:
        made.severity_number = source.choice([0, 1, 24, 25, 99, -1])
        made.severity_text = source.choice(_TEXTS)
        made.event_name = source.choice(_TEXTS)
        made.trace_id = source.choice([b"", b"\0" * 16, b"\1" * 16])


def point(source: random.Random, made: Any) -> None:
    """Give a point of a metric odd labels."""
    fill(made.attributes, attributes(source))


def _time(source: random.Random, usual: int) -> int:
    return source.choice([usual, usual, *TIMES])
