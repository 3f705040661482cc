"""What the captures hold is read back in the short form of case files."""

from __future__ import annotations

import json
from typing import Any

from support import otlp

from theodore_otel.otelcol.cases.capture import Captured, read
from theodore_otel.render.exporters import Exporter

STORE = Exporter("file/store", "store", ("traces", "logs", "metrics"), None)


def captured(tmp_path, *requests: dict[str, Any], labels: dict[str, str] | None = None) -> Captured:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return read({file: STORE, tmp_path / "nothing.jsonl": STORE}, labels or {})


def test_a_span_is_read_with_its_fields_events_and_labels(tmp_path):
    span = otlp.span("chat", error="no", seconds=2, parent="00f067aa0ba902b7", attributes={"n": 3, "list": ["a", 1.5]})
    span["events"] = [{"name": "exception", "attributes": otlp.attributes({"exception.message": "x"})}]
    labels = {"0af7651916cd43dd8448eb211c80319c": "t", "00f067aa0ba902b7": "root"}
    (record,) = captured(tmp_path, otlp.traces(span), labels=labels).records
    assert record.content == {
        "name": "chat", "kind": "internal", "status": "error", "status_message": "no", "duration": 2, "trace": "t",
        "id": "b7ad6b7169203331", "parent": "root", "attributes": {"n": 3, "list": ["a", 1.5]},
        "events": [{"name": "exception", "attributes": {"exception.message": "x"}}],
        "resource": {"service.name": "theodore-v2", "tenant.id": "acme"},
    }  # fmt: skip
    assert (record.tenant, record.name, record.signal) == ("acme", "chat", "traces")
    assert record.find("events.0.attributes.exception.message") == {"events.0.attributes.exception.message": "x"}
    assert record.find("events.*.exception.*") == record.find("events.0.attributes.exception.message")
    assert record.find("attributes.list.0") == {"attributes.list.0": "a"}
    assert record.find("attributes.lis") == record.find("attributes.x*") == {}


def test_a_log_record_is_read_with_a_structured_body(tmp_path):
    body = {"kvlistValue": {"values": otlp.attributes({"user.id": 7})}}
    record = otlp.record(severity=13, attributes={"a": True}) | {"body": body}
    (found,) = captured(tmp_path, otlp.logs(record)).records
    assert found.content["body"] == {"user.id": 7}
    assert found.find("body.user.id") == {"body.user.id": 7}
    assert (found.content["severity"], found.content["severity_number"]) == ("WARN", 13)
    assert found.content["scope"] == {"name": "theodore.scraper"}


def test_of_a_running_total_only_the_latest_report_counts(tmp_path):
    reports = [otlp.total(value, at) for at, value in enumerate((1, 2, 5))]
    other = otlp.total(7, 9, labels={"model": "m"})
    assert sorted(r.content["value"] for r in captured(tmp_path, *reports, other).records) == [5, 7]


def test_what_counts_from_report_to_report_is_added_up(tmp_path):
    def delta(request: dict[str, Any]) -> dict[str, Any]:
        metric = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]
        metric.get("sum", metric.get("histogram"))["aggregationTemporality"] = 1
        return request

    sums = [delta(otlp.total(value, at)) for at, value in enumerate((1, 2, 5))]
    histograms = [delta(otlp.histogram(counts, [1, 5], 2.5, at, 0)) for at, counts in enumerate(([1, 0, 1], [0, 3, 1]))]
    total, histogram = captured(tmp_path, *sums, *histograms).records
    assert total.content["value"] == 8
    assert (histogram.content["count"], histogram.content["sum"]) == (6, 5)
    assert histogram.content["buckets"] == {"1": 1, "5": 3, "inf": 2}


def test_a_line_that_is_being_written_is_left_for_later(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(otlp.logs(otlp.record("whole"))) + '\n{"resourceLogs": [{"reso')
    assert [record.name for record in read({file: STORE}, {}).records] == ["whole"]


def test_texts_hold_what_no_field_does_and_what_stands_in_bytes(tmp_path):
    request = otlp.traces(otlp.span(attributes={"key-canary": "value-canary"}))
    request["resourceSpans"][0]["schemaUrl"] = "schema-canary"
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append(
        {"key": "raw", "value": {"bytesValue": "Ynl0ZXMtY2FuYXJ5"}}
    )
    texts = captured(tmp_path, request).texts["store"]
    assert {"schema-canary", "key-canary", "value-canary", "bytes-canary"} <= set(texts)
    (record,) = captured(tmp_path, request).records
    assert {"key-canary", "value-canary", "bytes-canary"} <= set(record.texts)
