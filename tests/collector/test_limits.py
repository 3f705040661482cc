"""What one record or request holds is bounded: it is cut and says so, and takes nobody else's with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Span, fill, running, wait_for

LIMITS = {"attributes": 64, "value": "4KiB", "record": "64KiB", "depth": 8, "request": "1MiB"}
CONFIGURATION = {
    "profile": "local",
    "collector": {"limits": LIMITS},
    "destinations": {"scrape": {"type": "prometheus"}},
}
CUT = "theodore.truncated"


def nested(levels: int, value: Any = 1) -> Any:
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


def bush(levels: int) -> Any:
    """Return lists that are never opened twice without one being closed."""
    return [[], bush(levels - 1), []] if levels else []


KNOWN = {"theodore.command": "research", "error.type": "timeout"}
# What is sent beside the known attributes, and the limit it is cut to.
SPANS: dict[str, tuple[dict[str, Any], str | None]] = {
    "plain": ({"a": 1, "b": [1, 2], "c": {"d": ["e"]}}, None),
    "as many as allowed": ({f"k{n}": n for n in range(62)}, None),
    "many": ({f"k{n}": n for n in range(30_000)}, "attributes"),
    "a long text": ({"v": "é" * 3000, "w": "x"}, "value"),
    "many long texts": ({f"v{n}": "x" * 3000 for n in range(40)}, "record"),
    "long names": ({"n" * 70_000: 1}, "record"),
    "bytes": ({"v": b"x" * 70_000}, "record"),
    "as deep as allowed": ({"v": nested(8)}, None),
    "deep": ({"v": nested(9)}, "depth"),
    "very deep": ({"v": nested(80)}, "depth"),
    "in a bush": ({"v": bush(12)}, "depth"),
    "brackets in texts": ({"v": [{"t": '[[[[[[[[[[{{{{{{"[\\"[\\\\'}]}, None),
    "brackets in names": ({'"]]]]]]]]': 1, "v": nested(30), 'x"\r\n\t[': ""}, "depth"),
    "wide": ({"v": [1] * 20_000}, "members"),
    "not a number within": ({"v": [float("nan"), nested(3)], "e": "", "w": "x"}, "nan"),
    "an empty text": ({"e": "", "v": {"e": ""}, "w": "x"}, None),
    "what the registry knows is too much": ({**dict.fromkeys(KNOWN, nested(30)), "x": 1}, "depth"),
    "a mark of its own": ({CUT: "forged"}, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with running(tmp_path_factory.mktemp("limits"), CONFIGURATION, ["acme", "globex"]) as started:
        yield started


@pytest.fixture(scope="module")
def spans(collector):
    for name, (attributes, _) in SPANS.items():
        assert collector.send_spans([Span(name, {**KNOWN, **attributes}), Span(f"beside {name}")], "acme.1") == 200
        assert collector.send_spans([Span(f"neighbour of {name}", {"k": name})], "globex.1") == 200
    wanted = {f"{who}{name}" for name in SPANS for who in ("", "beside ", "neighbour of ")}

    def complete() -> Any:
        found = {span["name"]: span["attributes"] for _, span in collector.spans()}
        return found if wanted <= found.keys() else None

    return wait_for(complete, otherwise=collector.said)


@pytest.mark.case("oversized_records")
@pytest.mark.parametrize("name", SPANS)
def test_a_span_is_cut_to_the_limit_and_says_which(spans, name):
    sent, limit = SPANS[name]
    assert spans[name].get(CUT) == limit
    assert len(spans[name]) <= LIMITS["attributes"] + 1
    assert len(json.dumps(spans[name])) < 70_000
    if limit is None:
        assert {*sent} - {CUT} <= spans[name].keys()
    assert spans[f"beside {name}"] == {}
    assert spans[f"neighbour of {name}"] == {"k": name}


def test_what_the_registry_knows_outlives_what_is_too_much(spans):
    for name, (sent, limit) in SPANS.items():
        if not KNOWN.keys() & sent.keys():
            assert {key: spans[name].get(key) for key in KNOWN} == KNOWN, name
        if limit in ("value", "nan"):
            assert spans[name]["w"] == "x"
    assert spans["a long text"]["v"] == "é" * 2048


def test_what_was_cut_is_counted(collector, spans):
    def counted() -> dict[str, float]:
        series = collector.prometheus()
        return {k.partition('limit="')[2].partition('"')[0]: v for k, v in series.items() if "truncated" in k}

    limits = [limit for _, limit in SPANS.values() if limit]
    wait_for(lambda: counted().items() >= {each: limits.count(each) for each in limits}.items(), 20, counted)


def spanned(events: list[dict[str, Any]]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=b"12345678")
    span.name, span.start_time_unix_nano, span.end_time_unix_nano = "events", time.time_ns(), time.time_ns()
    for attributes in events:
        fill(span.events.add(name="event", time_unix_nano=time.time_ns()).attributes, attributes)
    return request


@pytest.mark.parametrize(
    ("events", "limit", "left"),
    [
        ([{"a": "x" * 100}] * 60, None, 60),
        ([{"a": 1}] * 65, "events", 0),
        ([{"a": "x" * 4000}] * 20, "events", 0),
        ([{"a": "x" * 9000}] * 8, "value", 8),
        ([{"a": nested(20)}], "depth", 1),
    ],
    ids=["few", "many", "much", "long", "deep"],
)
def test_a_spans_events_are_bounded_together(collector, events, limit, left):
    before = len([span for _, span in collector.spans() if span["name"] == "events"])
    assert collector.post("traces", spanned(events).SerializeToString(), "acme.1") == 200
    found = wait_for(lambda: [s for _, s in collector.spans() if s["name"] == "events"][before:])
    assert (found[0]["attributes"].get(CUT), len(found[0].get("events", []))) == (limit, left)
    assert found[0].get("droppedEventsCount", 0) == len(events) - left


def logged(records: list[tuple[Any, dict[str, Any]]]) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for body, attributes in records:
        record = scope.log_records.add(severity_number=9, time_unix_nano=time.time_ns())
        fill(record.attributes, attributes)
        if isinstance(body, str):
            record.body.string_value = body
        else:
            fill(record.body.kvlist_value.values, body)
    return request


@pytest.mark.case("oversized_records")
def test_audit_records_are_whole_or_refused_and_counted_and_those_behind_them_arrive(collector):
    audit = {"theodore.category": "audit"}
    whole = {"x": "y" * 60_000, "list": nested(8)}
    refused = [{"x": "y" * 66_000}, {"x": nested(9)}, {f"k{n}": n for n in range(70)}, {"x": [float("nan")]}]
    records: list[tuple[Any, dict[str, Any]]] = [("audit whole", {**audit, **whole})]
    for number, attributes in enumerate(refused):
        records += [("audit refused", {**audit, **attributes}), (f"audit behind {number}", audit)]
    records += [("system long" * 1000, {}), ({"body": nested(30)}, {"which": "deep body"})]
    for chunk in (records[:4], records[4:]):
        assert collector.post("logs", logged(chunk).SerializeToString(), "acme.1") == 200

    def found() -> dict[str, Any]:
        return {record["body"].get("stringValue", "?")[:11]: record for _, record in collector.logs()}

    bodies = {"audit whole", "audit behin", "system long", ""}
    wait_for(lambda: bodies <= found().keys(), otherwise=collector.said)
    texts = [record["body"].get("stringValue") for _, record in collector.logs()]
    assert "audit refused" not in texts
    assert [f"audit behind {n}" in texts for n in range(len(refused))] == [True] * len(refused)
    assert found()["audit whole"]["attributes"]["x"] == whole["x"]
    assert CUT not in found()["audit whole"]["attributes"]
    assert found()["system long"]["attributes"][CUT] == "value"
    assert found()[""]["attributes"][CUT] == "depth"
    series = collector.prometheus("telemetry")
    assert series['otelcol_processor_filter_logs_filtered{filter="filter/limit"}'] == len(refused)


def deep_value(levels: int) -> bytes:
    """Return an OTLP value of lists within lists: what a library would not write so deep."""
    parts, size = [], 3
    for tag in b"\x0a\x2a" * levels:
        head = bytes([tag]) + varint(size)
        size += len(head)
        parts.append(head)
    return b"".join(reversed(parts)) + b"\x0a\x01x"


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made, number = made + bytes([number & 127 | 128]), number >> 7
    return made + bytes([number])


def field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varint(len(content)) + content


def with_body(value: bytes) -> bytes:
    return field(0x0A, field(0x12, field(0x12, b"\x10\x09" + field(0x2A, value))))


def resident(collector: Any) -> int:
    """Return the process's memory at its highest, in bytes."""
    with open(f"/proc/{collector._process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.case("deep_values")
@pytest.mark.parametrize("way", ["http", "grpc", "json"])
def test_the_deepest_value_that_a_request_holds_costs_little_and_ends_nothing(collector, way):
    levels = 110_000
    senders: dict[str, Callable[[], Any]] = {
        "http": lambda: collector.post("logs", with_body(deep_value(levels)), "acme.1"),
        "grpc": lambda: collector.call("logs", with_body(deep_value(levels)), "acme.1"),
        "json": lambda: collector.post("logs", deep_json(30_000), "acme.1", kind="application/json"),
    }
    before = len(collector.logs())
    assert senders[way]() in (200, grpc.StatusCode.OK)
    wait_for(lambda: len(collector.logs()) > before, otherwise=collector.said)
    assert resident(collector) < 900 * 2**20


def deep_json(levels: int) -> bytes:
    value = '{"arrayValue":{"values":[' * levels + '{"stringValue":"x"}' + "]}}" * levels
    return f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}'.encode()


@pytest.mark.case("deep_values")
def test_a_request_above_the_limit_is_refused_before_it_is_read(collector):
    request = logged([("x" * 2**20, {})])
    assert collector.post("logs", request.SerializeToString(), "acme.1") in (400, 413)
    text = json.dumps(MessageToDict(request)).encode()
    assert collector.post("logs", text, "acme.1", kind="application/json") in (400, 413)
    assert collector.call("logs", request.SerializeToString(), "acme.1") is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert collector.send_logs([(9, "after", {})], "globex.1") == 200


def test_what_a_request_shares_is_bounded_because_each_trace_has_a_copy(collector):
    resource = {"service.name": "theodore-v2", "long": "x" * 5000, **{f"k{n}": "y" * 1000 for n in range(40)}}
    assert collector.send_spans([Span("shared")], "acme.1", resource) == 200
    found = wait_for(lambda: [r for r, s in collector.spans() if s["name"] == "shared"])
    assert found == [{"service.name": "theodore-v2", "tenant.id": "acme", CUT: "record"}]
