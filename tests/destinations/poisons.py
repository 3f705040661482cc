"""Records that a destination may refuse, each in one request between two good ones of another tenant."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Collector, fill, set_value

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
SERVICES = {"tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}}}
OWNERS = ("acme", "globex", "svc-api")
NAN, INFINITY = float("nan"), float("inf")
LATEST = 2**64 - 1

# What is no text, as four bytes that are put in after the request is written.
NO_TEXT, BROKEN = "UTFX", b"\xff\xc3\x28\xfe"

Poison = Callable[[Any], None]


def sets(**fields: Any) -> Poison:
    """Return what sets fields of a record."""

    def poison(record: Any) -> None:
        for field, value in fields.items():
            setattr(record, field, value)

    return poison


def attributes(*pairs: tuple[str, Any]) -> Poison:
    """Return what adds attributes, the same name more than once if it has to be."""
    return lambda record: fill(record.attributes, pairs)


def body(value: Any) -> Poison:
    """Return what gives a log record another body."""

    def poison(record: Any) -> None:
        record.ClearField("body")
        set_value(record.body, value)
        fill(record.attributes, {"mark": _marks[-1]})

    return poison


class Twice(dict):
    """A mapping with a name that stands there twice."""

    def items(self) -> Any:
        return [*super().items(), *super().items()]


def event(**given: Any) -> Poison:
    def poison(span: Any) -> None:
        added = span.events.add(name="happened", time_unix_nano=given.get("time", time.time_ns()))
        fill(added.attributes, given.get("attributes", ()))

    return poison


VALUES: dict[str, Poison] = {
    "NaN": attributes(("score", NAN)),
    "infinity": attributes(("score", INFINITY), ("least", -INFINITY)),
    "NaN within": attributes(("scores", {"a": {"b": NAN}, "list": [1, NAN]}), ("list", [NAN, {"c": INFINITY}])),
    "nothing": attributes(("none", None), ("nones", [None, 1]), ("empty", {}), ("list", []), ("bytes", b"")),
    "name twice": attributes(("twice", "one"), ("twice", 2), ("twice", {"x": 1})),
    "name twice within": attributes(("map", Twice(k="one"))),
    "name twice in a list": attributes(("list", [Twice(k="one")])),
    "text and map": attributes(("user", "ann"), ("user.name", "ann"), ("user", {"name": "bob"})),
    "NaN without a name": attributes(("", NAN), ("m", {"": NAN})),
    "names that become one": attributes(("", INFINITY), ("\t", "x"), ("m", {"\t": NAN, "": 1})),
    "blank names": attributes(("", "x"), (" ", "y"), ("m", {"": 1, " ": 2})),
    "names of dots": attributes(
        (".", 1), ("a..b", 2), (".a", 3), ("a.", 4), ("m", {".": 1, "a..b": {".c": 1, "d.": 2}})
    ),
    "names of documents": attributes(
        ("@timestamp", "x"), ("_id", "7"), ("_source", 1), ("_index", "i"), ("body", {"x": 1})
    ),
    "names of places": attributes(("geo.location", "x"), ("geo.location.lat", 1.5), ("geo.location.lon", NAN)),
    "a place": attributes(("geo.location", "x"), ("geo.location.lat", 1.5), ("geo.location.lon", 2.5)),
    "names that are quoted": attributes(('na"me', NAN), ("back\\slash", NAN), ("com,ma:colon", NAN)),
    "long name": attributes(("n" * 3000, "x")),
    "large numbers": attributes(("most", 2**63 - 1), ("least", -(2**63)), ("huge", 1.7e308), ("tiny", 5e-324)),
    "deep": attributes(("deep", {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": {"l": 1}}}}}}}}}}}})),
    "many": attributes(*((f"k{number}", number) for number in range(100))),
    "no UTF-8": attributes((NO_TEXT, NO_TEXT), ("nested", {"x": NO_TEXT})),
    "long text": attributes(("text", "x" * 60_000)),
}
SPANS: dict[str, Poison] = {
    **VALUES,
    "no trace id": sets(trace_id=b""),
    "trace id of zeros": sets(trace_id=b"\0" * 16),
    "half a trace id": sets(trace_id=b"\1" * 8 + b"\0" * 8),
    "no span id": sets(span_id=b""),
    "span id of zeros": sets(span_id=b"\0" * 8),
    "no time": sets(start_time_unix_nano=0, end_time_unix_nano=0),
    "first time": sets(start_time_unix_nano=1, end_time_unix_nano=2),
    "last time": sets(start_time_unix_nano=LATEST, end_time_unix_nano=LATEST),
    "no start": sets(start_time_unix_nano=0),
    "no end": sets(end_time_unix_nano=0),
    "ends before it begins": sets(end_time_unix_nano=1),
    "begins too late": sets(start_time_unix_nano=2**63 + 5),
    "unknown kind": sets(kind=99),
    "event with NaN": event(attributes={"score": NAN, "m": {"x": INFINITY}}),
    "event with names that become one": event(attributes=[("", INFINITY), ("\t", "x"), ("m", {"\t": NAN, "": 1})]),
    "event with a name twice": event(attributes={"m": Twice(k=1)}),
    "event without a time": event(time=0),
    "event at the last time": event(time=LATEST),
    "odd peers": attributes(
        ("net.peer.ip", ":::"), ("net.peer.port", "99999"), ("net.host.ip", 7), ("peer.service", {"x": NAN})
    ),
}
LOGS: dict[str, Poison] = {
    **VALUES,
    "NaN for a body": body(NAN),
    "infinity for a body": body(INFINITY),
    "NaN within the body": body({"a": {"b": NAN}, "c": [INFINITY]}),
    "name twice in the body": body(Twice(k="one", m={"x": 1})),
    "list for a body": body([1, {"x": NAN}]),
    "no body": body(None),
    "empty body": body(""),
    "blank body": body("  \n"),
    "body of no bytes": body(b""),
    "body of bytes": body(b"\xff\0\x01"),
    "empty mapping for a body": body({}),
    "empty list for a body": body([]),
    "number for a body": body(7),
    "truth for a body": body(True),
    "no time at all": sets(time_unix_nano=0, observed_time_unix_nano=0),
    "last time": sets(time_unix_nano=LATEST),
    "last times": sets(time_unix_nano=LATEST, observed_time_unix_nano=LATEST),
    "unknown severity": sets(severity_number=99),
    "trace id of zeros": sets(trace_id=b"\0" * 16, span_id=b"\0" * 8),
}
METRICS: dict[str, Poison] = {
    **VALUES,
    "NaN for a value": sets(as_double=NAN),
    "infinity for a value": sets(as_double=INFINITY),
    "no time": sets(time_unix_nano=0),
    "last time": sets(time_unix_nano=LATEST),
    "two hours late": sets(time_unix_nano=time.time_ns() - 7200 * 10**9),
    "an hour ahead": sets(time_unix_nano=time.time_ns() + 3600 * 10**9),
    "names of labels": attributes(
        ("__name__", "up"), ("__address__", "x"), ("le", "x"), ("job", "x"), ("_", 1), ("!", 2)
    ),
    "no value": lambda point: point.ClearField("as_double"),
}
# Fields of the metric itself; what it is known by is an attribute then.
FIELDS: dict[str, dict[str, str]] = {
    "name of signs": {"name": "!!!"},
    "name of a line": {"name": "_"},
    "name without letters": {"name": "0"},
    "long metric name": {"name": "m" * 3000},
    "odd unit": {"unit": "{}%/!!"},
    "unit of a name": {"unit": "_total"},
}
RESOURCES: dict[str, Any] = {
    "odd resource": [
        ("host.name", 5),
        ("process.pid", {"a": NAN}),
        ("service.name", {"b": NAN}),
        ("x", NAN),
        ("none", None),
    ],
    "empty resource": [("host.name", ""), ("process.pid", ""), ("service.name", "")],
    "resource with names twice": [("twice", 1), ("twice", "x"), ("map", Twice(k="one"))],
    "long resource": [("host.name", "h" * 300), ("process.pid", "9" * 300), ("service.name", "s" * 300)],
}
POISONS: Mapping[str, Mapping[str, Poison]] = {"traces": SPANS, "logs": LOGS, "metrics": METRICS}
_marks: list[str] = []


def mark(kind: str, signal: str, name: str) -> str:
    """Return the one word that a record is known by."""
    return f"{kind}_{signal}_{''.join(c if c.isalnum() else '_' for c in name)}_x".lower()


def send(collector: Collector, signal: str, name: str) -> None:
    """Send a good record of globex, the poison of acme, and another good one, in one request."""
    request = REQUESTS[signal]()
    for kind, tenant in (("first", "globex"), ("poison", "acme"), ("second", "globex")):
        word = mark(kind, signal, name)
        _marks.append(word)
        given = RESOURCES.get(name, ()) if kind == "poison" else ()
        made = record(request, signal, word, given, FIELDS.get(name, {}) if kind == "poison" else {})
        fill(made.attributes, {"tenant.id": tenant})
        if kind == "poison" and name in POISONS[signal]:
            POISONS[signal][name](made)
    written = request.SerializeToString().replace(NO_TEXT.encode(), BROKEN)
    assert collector.post(signal, written, "svc-api.1") == 200


def names(signal: str) -> list[str]:
    """Return the poisons of a signal."""
    return [*POISONS[signal], *RESOURCES, *(FIELDS if signal == "metrics" else ())]


def record(request: Any, signal: str, word: str, resource: Any, fields: Mapping[str, str] | None = None) -> Any:
    """Add one record that is known by a word, of a resource of its own, and return it."""
    group = getattr(request, f"resource_{'spans' if signal == 'traces' else signal}").add()
    fill(group.resource.attributes, resource or {"service.name": "theodore-v2"})
    now = time.time_ns()
    if signal == "traces":
        span = group.scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=word, kind=2)
        span.start_time_unix_nano, span.end_time_unix_nano = now - 10**6, now
        return span
    if signal == "logs":
        log = group.scope_logs.add().log_records.add(
            severity_number=17, time_unix_nano=now, observed_time_unix_nano=now
        )
        log.body.string_value = word
        fill(log.attributes, {"theodore.category": "audit"})
        return log
    metric = group.scope_metrics.add().metrics.add(**{"name": word, **(fields or {})})
    point = metric.gauge.data_points.add(as_double=1.0, time_unix_nano=now)
    fill(point.attributes, {"mark": word} if fields else {})
    return point
