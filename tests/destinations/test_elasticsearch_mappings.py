"""What the real collector's exporter writes into data streams made from our templates: nothing is refused, and all of
it can be searched.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from destinations.applied import ALLOWED, API_KEY, apply
from destinations.test_audit_documents import written
from destinations.test_elasticsearch import OWNERS, configured, streams
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Span, fill, running, wait_for

from theodore_otel.config.merge import merge
from theodore_otel.journal.audit_otlp import request

__all__ = ["streams"]

SHAPES: list[Any] = [
    "text",
    7,
    1.5,
    True,
    {"x": 1},
    {"x": {"y": "deep"}},
    ["a", 1, None],
    [{"x": 1}, "b"],
    {},
    [],
    b"bytes",
    "2026-01-01",
    "long " * 10_000,
    10**18,
]
# Unknown; a word, a number, a truth and a text of the registry; a part of another name; what documents have themselves.
NAMES = [
    "odd",
    "theodore.component",
    "http.response.status_code",
    "theodore.success",
    "theodore.ai.cost_usd",
    "exception.message",
    "theodore",
    "body",
    "trace.id",
    "attributes",
    "@timestamp",
    "",
    " \t",
    "service.name",
]
MODES = pytest.mark.parametrize("mapping", ["otel", "ecs"])


@pytest.fixture(scope="module")
def metrics_too(streams, tmp_path_factory):
    """Put templates for metrics besides."""
    signals = ["logs", "traces", "metrics"]
    both = merge(configured(streams, "otel"), {"destinations": {"elasticsearch": {"signals": signals}}})
    assert apply(tmp_path_factory.mktemp("metrics"), both, ALLOWED).returncode == 0
    return both


@pytest.fixture(scope="module")
def collectors(streams, metrics_too, tmp_path_factory):
    """Run a collector for each mapping."""
    found = {"otel": metrics_too, "ecs": configured(streams, "ecs")}
    secrets = {"ES_API_KEY": API_KEY}
    with (
        running(tmp_path_factory.mktemp("otel"), found["otel"], OWNERS, secrets) as otel,
        running(tmp_path_factory.mktemp("ecs"), found["ecs"], OWNERS, secrets) as ecs,
    ):
        yield {"otel": otel, "ecs": ecs}


def message(hit: dict[str, Any]) -> str:
    source = hit["_source"]
    return source["message"] if "message" in source else source.get("body", {}).get("text", "")


def hits(elasticsearch, index: str, field: str, value: object) -> list[dict[str, Any]]:
    return elasticsearch.search(index, {"term": {field: value}})


def stream_of(mapping: str, category: str, kept: str = "30d") -> str:
    return f"logs-theodore.{category}{'.otel' if mapping == 'otel' else ''}-{kept}"


@MODES
@pytest.mark.parametrize("name", NAMES)
def test_no_record_is_refused_for_the_shape_of_an_attribute(streams, collectors, mapping, name):
    """Whatever one client sends under a name, and others under the same, in any order."""
    collector, index = collectors[mapping], stream_of(mapping, "data_processing")
    mark = f"shape{NAMES.index(name)}"
    for number, shape in enumerate([*SHAPES, *reversed(SHAPES)]):
        record = (13, f"{mark} {number}", {name: shape, "theodore.category": "data_processing"})
        # In ecs mode the exporter writes a name twice that is both here and there and a part of another name.
        resource = {name: shape} if mapping == "otel" else {}
        assert collector.send_logs([record], "acme.1", resource) == 200
    wanted = {f"{mark} {number}" for number in range(2 * len(SHAPES))}
    text = "body.text" if mapping == "otel" else "message"

    def arrived() -> set[str]:
        return {message(hit) for hit in with_word(streams, index, text, mark)}

    wait_for(lambda: arrived() == wanted, 60, lambda: f"{sorted(wanted - arrived())} {collector.said()}")


def with_word(elasticsearch, index: str, field: str, word: str) -> list[dict[str, Any]]:
    return elasticsearch.search(index, {"match": {field: word}})


@MODES
def test_no_span_is_refused_for_the_shape_of_an_attribute(streams, collectors, mapping):
    collector = collectors[mapping]
    sent = ExportTraceServiceRequest()
    resource = sent.resource_spans.add()
    fill(resource.resource.attributes, {"service.name": "theodore-v2", " ": "blank"})
    scope = resource.scope_spans.add()
    fill(scope.scope.attributes, {"": "blank", "odd": 1})
    pairs = list(itertools.product(("odd", "theodore.success", "http.response.status_code", " "), SHAPES))
    now = time.time_ns()
    for number, (name, shape) in enumerate(pairs):
        span = scope.spans.add(
            trace_id=number.to_bytes(16, "big") if number else b"\x09" * 16,
            span_id=b"\x01" * 8,
            name=f"{mapping} shaped",
            kind=2,
            start_time_unix_nano=now - 10**6,
            end_time_unix_nano=now,
        )
        fill(span.attributes, {name: shape})
        event = span.events.add(name="happened", time_unix_nano=now)
        fill(event.attributes, {name: shape})
    assert collector.post("traces", sent.SerializeToString(), "acme.1") == 200
    index, field = ("traces-theodore.otel-7d", "name") if mapping == "otel" else ("traces-theodore-7d", "span.name")
    wait_for(lambda: len(hits(streams, index, field, f"{mapping} shaped")) == len(pairs), 60, collector.said)
    if mapping == "otel":
        events = "logs-theodore.otel-7d"
        wait_for(lambda: len(hits(streams, events, "event_name", "happened")) == len(pairs), 60, collector.said)


def test_no_metric_is_refused_for_its_kind(streams, collectors):
    collector = collectors["otel"]
    for value in (3, 2.5):
        assert collector.send_gauge("odd.metric", value, {"operation": "x"}, "acme.1") == 200
    sent = ExportMetricsServiceRequest()
    resource = sent.resource_metrics.add()
    fill(resource.resource.attributes, {"service.name": "theodore-v2"})
    metric = resource.scope_metrics.add().metrics.add(name="odd.metric")
    metric.summary.data_points.add(count=2, sum=3, time_unix_nano=time.time_ns())
    assert collector.post("metrics", sent.SerializeToString(), "acme.1") == 200
    assert collector.send_gauge("odd.metric", 4.25, {"operation": "y"}, "acme.1") == 200
    index = "metrics-theodore.otel-30d"

    def values() -> list[Any]:
        found = streams.search(index, {"match_all": {}})
        return [hit["_source"]["metrics"]["odd.metric"] for hit in found if "odd.metric" in hit["_source"]["metrics"]]

    wait_for(lambda: len(values()) == 4, 60, lambda: f"{values()} {collector.said()}")
    assert len([value for value in values() if isinstance(value, dict)]) == 1
    total = {"size": 0, "aggs": {"most": {"max": {"field": "metrics.odd.metric"}}}}
    assert streams.send("POST", f"{index}/_search", total)["aggregations"]["most"]["value"] == 4.25


@MODES
def test_records_are_found_by_correlation_id_tenant_and_known_attributes(streams, collectors, mapping):
    collector, index = collectors[mapping], stream_of(mapping, "performance")
    attributes = {
        "theodore.category": "performance",
        "correlation.id": f"c-{mapping}",
        "theodore.performance.duration_ms": 12.5,
        "unknown.word": f"w-{mapping}",
    }
    assert collector.send_logs([(13, "findable", attributes)], "acme.1") == 200
    before, resource = ("attributes.", "resource.attributes.") if mapping == "otel" else ("", "")
    wait_for(lambda: hits(streams, index, f"{before}correlation.id", f"c-{mapping}"), 60, collector.said)
    for field, value in (
        (f"{before}unknown.word", f"w-{mapping}"),
        (f"{resource}tenant.id", "acme"),
        # Without what stands before it, as in Kibana.
        ("correlation.id", f"c-{mapping}"),
        ("tenant.id", "acme"),
        ("log.level", "WARN"),
    ):
        (hit,) = hits(streams, index, field, value)
        assert message(hit) == "findable"
    slow = {"range": {f"{before}theodore.performance.duration_ms": {"gt": 9, "lt": 100}}}
    assert len(streams.search(index, slow)) == 1


@MODES
def test_spans_are_found_by_their_trace_and_added_up(streams, collectors, mapping):
    collector = collectors[mapping]
    trace = bytes([7 if mapping == "otel" else 8]) * 16
    for cost in (0.5, 0.25):
        span = Span(f"costly {mapping}", {"theodore.ai.cost_usd": cost}, trace=trace)
        assert collector.send_spans([span], "acme.1") == 200
    index = "traces-theodore.otel-7d" if mapping == "otel" else "traces-theodore-7d"
    wait_for(lambda: len(hits(streams, index, "trace.id", trace.hex())) == 2, 60, collector.said)
    cost = "theodore.ai.cost_usd"
    query = {"size": 0, "query": {"term": {"trace.id": trace.hex()}}, "aggs": {"sum": {"sum": {"field": cost}}}}
    assert streams.send("POST", f"{index}/_search", query)["aggregations"]["sum"]["value"] == 0.75


def test_one_client_cannot_use_up_the_fields_of_all(streams, collectors):
    """Beyond the limit an attribute is kept and not indexed; what the registry knows is always indexed."""
    collector, index = collectors["otel"], stream_of("otel", "integration")
    many = {f"a{number}": number for number in range(2500)}
    assert collector.send_logs([(13, "many", {**many, "theodore.category": "integration"})], "acme.1") == 200
    wait_for(lambda: with_word(streams, index, "body.text", "many"), 60, collector.said)
    other = {"theodore.category": "integration", "theodore.component": "later", "brand.new": "word"}
    assert collector.send_logs([(13, "after", other)], "initech.1") == 200
    found = "logs-theodore.integration.otel-90d"
    wait_for(lambda: with_word(streams, found, "body.text", "after"), 60, collector.said)
    assert collector.send_logs([(13, "after", other)], "acme.1") == 200
    (hit,) = wait_for(lambda: hits(streams, index, "attributes.theodore.component", "later"), 60, collector.said)
    assert hit["_source"]["attributes"]["brand.new"] == "word"


@MODES
def test_everything_that_was_written_stands_in_our_data_streams(streams, collectors, mapping):
    """What this and the other tests wrote, in any stream: no index was made without a template of ours."""
    assert collectors[mapping].send_logs([(13, "anywhere", {})], "globex.1") == 200
    stream = stream_of(mapping, "system", "globex_30d")
    wait_for(lambda: streams.search(stream, {"match_all": {}}), 60, collectors[mapping].said)
    found = streams.send("GET", "_resolve/index/*theodore*")
    backing = [index for each in found["data_streams"] for index in each["backing_indices"]]
    assert [each["name"] for each in found["indices"] if each["name"] not in backing] == []
    mappings = streams.send("GET", f"{','.join(backing)}/_mapping?filter_path=*.mappings._meta")
    assert sorted(mappings) == sorted(backing)


def test_an_audit_record_stands_once_in_each_backing_index(streams, collectors, tmp_path):
    """An id is unique in an index: sent again after a rollover it is there twice, equal; readers take it for one."""
    collector, stream = collectors["otel"], "logs-theodore.audit.otel-400d"
    records = written(tmp_path / "journal", 2)
    body = request({"service.name": "theodore-v2"}, records)

    def found() -> list[dict[str, Any]]:
        every = streams.search(stream, {"match_all": {}})
        return [hit for hit in every if records[0].writer in hit["_id"]]

    for _ in range(2):
        assert collector.post("logs", body, "acme.1") == 200
    wait_for(lambda: len(found()) == 2, 60, collector.said)
    streams.send("POST", f"{stream}/_rollover")
    assert collector.post("logs", body, "acme.1") == 200
    wait_for(lambda: len(found()) == 4, 60, collector.said)
    assert len({hit["_id"] for hit in found()}) == 2
    assert len({hit["_source"]["attributes"]["audit.hash"] for hit in found()}) == 2
