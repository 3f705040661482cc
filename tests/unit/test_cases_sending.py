"""Short forms of telemetry become OTLP requests, with ids that are the same in every run."""

from __future__ import annotations

import json
import math
from typing import Any

from theodore_otel.otelcol.cases.capture import plain
from theodore_otel.otelcol.cases.model import Request
from theodore_otel.otelcol.cases.sending import MOST_ITEMS, Body, Ids, bodies

NOW, START = 2_000_000_000_000_000_000, 1_900_000_000_000_000_000


def made(number: int = 0, ids: Ids | None = None, **request: Any) -> list[Body]:
    return list(bodies(Request.model_validate(request), number, ids or Ids("case"), "theodore-v2", NOW, START))


def spans(**request: Any) -> list[dict[str, Any]]:
    return [
        span
        for body in made(**request)
        for group in body.content["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_span_has_times_status_and_values_of_every_type():
    given = {"text": "x", "flag": True, "whole": 3, "half": 0.5, "list": [1, "a"], "map": {"k": None}, "raw": b"\x01"}
    (span,) = spans(spans=[{"name": "chat", "status": "error", "duration": "2s", "ago": "1m", "attributes": given}])
    assert int(span["endTimeUnixNano"]) == NOW - 60 * 10**9
    assert int(span["startTimeUnixNano"]) == NOW - 62 * 10**9
    assert span["status"]["code"] == 2
    assert span["kind"] == 1
    assert [next(iter(item["value"]), None) for item in span["attributes"]] == [
        "stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue",
    ]  # fmt: skip
    assert plain(span["attributes"]) == given


def test_children_are_in_the_trace_of_their_parent_and_other_spans_are_not():
    root, child, grandchild, other = spans(
        spans=[{"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}, {"name": "d"}]
    )
    assert root["traceId"] == child["traceId"] == grandchild["traceId"] != other["traceId"]
    assert "parentSpanId" not in root
    assert (child["parentSpanId"], grandchild["parentSpanId"]) == (root["spanId"], child["spanId"])


def test_labels_join_spans_and_records_of_several_requests():
    ids = Ids("case")
    (root,) = spans(ids=ids, spans=[{"name": "a", "trace": "t", "id": "root"}])
    (late,) = spans(number=1, ids=ids, spans=[{"name": "b", "trace": "t", "parent": "root"}])
    (body,) = made(number=2, ids=ids, logs=[{"body": "x", "trace": "t", "span": "root"}])
    record = body.content["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    assert root["traceId"] == late["traceId"] == record["traceId"]
    assert root["spanId"] == late["parentSpanId"] == record["spanId"]
    assert ids.labels[root["traceId"]] == "t"
    assert ids.labels[root["spanId"]] == "root"


def test_ids_are_the_same_in_every_run_and_others_in_another_case():
    def one(case: str) -> dict[str, Any]:
        return spans(ids=Ids(case), spans=[{"name": "a"}])[0]

    assert one("case")["traceId"] == one("case")["traceId"] != one("other")["traceId"]
    assert len(one("case")["traceId"]) == 32
    assert len(one("case")["spanId"]) == 16


def test_ids_in_hexadecimal_are_sent_as_they_are():
    (span,) = spans(spans=[{"name": "a", "trace": "0" * 31 + "1", "id": "0" * 15 + "2"}])
    assert (span["traceId"], span["spanId"]) == ("0" * 31 + "1", "0" * 15 + "2")


def test_a_repetition_has_ids_of_its_own_and_the_structure_of_the_first():
    made_spans = spans(repeat=3, spans=[{"name": "a", "children": [{"name": "b"}]}])
    traces = [span["traceId"] for span in made_spans]
    assert len(set(traces)) == 3
    assert traces[0::2] == traces[1::2]
    assert len({span["spanId"] for span in made_spans}) == 6


def test_many_repetitions_are_sent_in_several_requests():
    sent = made(repeat=MOST_ITEMS + 1, spans=[{"name": "a"}], logs=[{"body": "x"}])
    assert [body.signal for body in sent] == ["traces", "traces", "logs", "logs"]
    counts = [len(body.content["resourceSpans"][0]["scopeSpans"][0]["spans"]) for body in sent[:2]]
    assert counts == [MOST_ITEMS, 1]


def test_the_resource_has_the_services_name_unless_told_otherwise():
    def resource(**given: Any) -> dict[str, Any]:
        (body,) = made(spans=[{"name": "a"}], resource=given)
        return plain(body.content["resourceSpans"][0]["resource"]["attributes"])

    assert resource(**{"tenant.id": "x"}) == {"service.name": "theodore-v2", "tenant.id": "x"}
    assert resource(**{"service.name": "mine"}) == {"service.name": "mine"}
    assert resource(**{"service.name": None}) == {}


def test_a_record_has_only_what_was_given():
    (body,) = made(logs=[{"body": {"user": "x"}, "severity": "WARN"}, {"body": "t", "severity_text": "hm"}])
    first, second = body.content["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert set(first) == {"timeUnixNano", "severityNumber", "body", "attributes"}
    assert first["severityNumber"] == 13
    assert second["severityText"] == "hm"


def test_metrics_have_their_kind_and_their_start():
    (body,) = made(
        metrics=[
            {"name": "g", "gauge": 1.5, "attributes": {"a": "b"}},
            {"name": "s", "sum": 3, "monotonic": False, "temporality": "delta"},
            {"name": "h", "histogram": [0.5, 1, 7, 7], "buckets": [1, 5]},
        ]
    )
    gauge, total, histogram = body.content["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert gauge["gauge"]["dataPoints"][0]["asDouble"] == 1.5
    assert (total["sum"]["isMonotonic"], total["sum"]["aggregationTemporality"]) == (False, 1)
    (point,) = histogram["histogram"]["dataPoints"]
    assert point["startTimeUnixNano"] == str(START)
    assert (point["count"], point["sum"], point["bucketCounts"]) == ("4", 15.5, ["2", "0", "2"])


def test_raw_otlp_is_sent_as_it_is():
    raw = {"resourceLogs": [{"scopeLogs": []}]}
    assert made(otlp=raw, repeat=2) == [Body("logs", raw)] * 2


def test_numbers_that_json_lacks_are_written_as_otlp_writes_them():
    (body,) = made(metrics=[{"name": "g", "gauge": math.nan, "attributes": {"x": -math.inf}}])
    text = json.dumps(body.content, allow_nan=False)
    assert '"NaN"' in text
    assert '"-Infinity"' in text
