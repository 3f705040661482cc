"""A control character hides no name from what removes it, on no level, and makes no text unreadable."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import fill, running, wait_for

# Everything of Unicode's category Cc but what a text is laid out with.
CONTROL = [c for c in map(chr, range(256)) if unicodedata.category(c) == "Cc" and c not in "\t\n\r"]
STEERING = [
    "elasticsearch.index", "data_stream.dataset", "data_stream.namespace", "data_stream.type",
    "elasticsearch.document_id", "com.splunk.index", "com.splunk.source", "com.splunk.sourcetype",
    "com.splunk.hec.access_token", "tenant.id", "theodore.credential", "ddtags", "datadog.host.name",
    "_dd.tags.container", "tenant", "elastic.mapping.mode", "sampling.priority", "kafka.topic",
]  # fmt: skip


def spellings() -> list[tuple[str, str]]:
    """Return every name that steers with a control character in another place, and the plain name."""
    characters = itertools.cycle(CONTROL)
    return [
        (name[:place] + next(characters) + name[place:], name)
        for name in STEERING
        for place in (0, 1, len(name) // 2, len(name))
    ]


ODD: list[tuple[str, Any]] = [
    *((spelt, f"forged {number}") for number, (spelt, _) in enumerate(spellings())),
    # Names that become equal, and one that becomes empty.
    ("sa\x01me", "first"), ("same\x02", "second"), ("same", "third"), ("\x01\x02", "empty"),
    ("values", "".join(CONTROL)),
    ("kept", "a\tb\nc\rd"),
    ("nested", {"elasticsearch": {"in\x02dex": "forged"}, "list": ["a\x03b", {"x\x1f": "y\x1e"}]}),
    ("list", ["a\x7fb", "c\x9bd"]),
]  # fmt: skip


def sent(requests: list[dict[str, Any]]) -> bool:
    """Say whether what was sent is there, and not only what the collector counts and checks itself."""
    return any(f': "{word}"' in json.dumps(requests) for word in ("name", "body", "good"))


@pytest.fixture(scope="module")
def arrived(tmp_path_factory):
    configuration = {"profile": "local", "destinations": {"scrape": {"type": "prometheus"}}}
    with running(tmp_path_factory.mktemp("control"), configuration, ["acme", "globex"]) as collector:
        traces, logs, metrics = ExportTraceServiceRequest(), ExportLogsServiceRequest(), ExportMetricsServiceRequest()
        for request, groups, scopes in (
            (traces, "resource_spans", "scope_spans"),
            (logs, "resource_logs", "scope_logs"),
            (metrics, "resource_metrics", "scope_metrics"),
        ):
            group = getattr(request, groups).add()
            fill(group.resource.attributes, [*ODD, ("service.name", "theo\x00dore")])
            scope = getattr(group, scopes).add()
            scope.scope.name, scope.scope.version = "sco\x04pe", "1\x7f"
            fill(scope.scope.attributes, ODD)
            now = 1_000_000_000 * 1_700_000_000
            if request is traces:
                span = scope.spans.add(trace_id=b"1" * 16, span_id=b"1" * 8, name="na\x02me", trace_state="a=b\x1f")
                span.start_time_unix_nano, span.end_time_unix_nano = now, now
                span.status.message = "sta\x02tus"
                fill(span.attributes, ODD)
                event = span.events.add(name="ev\x02ent")
                fill(event.attributes, ODD)
            elif request is logs:
                for body in ("bo\x02dy", {"na\x02me": "va\x03lue", "elasticsearch\x02.index": ["x\x05"]}):
                    record = scope.log_records.add(severity_number=9, time_unix_nano=now, event_name="ev\x02ent")
                    fill(record.attributes, ODD)
                    if isinstance(body, str):
                        record.body.string_value = body
                    else:
                        fill(record.body.kvlist_value.values, body)
            else:
                for name in ("go\x02od", "theo\x02dore.ai.cost", "theodore.ai.\x9ftokens"):
                    metric = scope.metrics.add(name=name, description="des\x02cription", unit="{\x02x}")
                    for start in range(0, len(ODD), 40):
                        point = metric.gauge.data_points.add(as_double=start, time_unix_nano=now)
                        fill(point.attributes, ODD[start : start + 40])
        for signal, request in (("traces", traces), ("logs", logs), ("metrics", metrics)):
            assert collector.post(signal, request.SerializeToString(), "acme.1") == 200
        found = {}
        for signal, group in (("traces", "resourceSpans"), ("logs", "resourceLogs"), ("metrics", "resourceMetrics")):
            wait_for(lambda signal=signal: sent(collector.received(signal)), otherwise=collector.said)
            every = [each for request in collector.received(signal) for each in request[group]]
            found[signal] = [each for each in every if "theodore-otel" not in json.dumps(each["resource"])]
        yield found


def lists(node: Any) -> list[list[dict[str, Any]]]:
    """Return every list of attributes, also those within values."""
    if isinstance(node, list):
        own = [node] if node and all(isinstance(item, dict) and "key" in item for item in node) else []
        return own + [found for item in node for found in lists(item)]
    return [found for item in node.values() for found in lists(item)] if isinstance(node, dict) else []


@pytest.mark.case("smuggled_names")
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_no_name_that_steers_stands_again(arrived, signal):
    assert arrived[signal]
    for group in arrived[signal]:
        tenants = [item["value"] for item in group["resource"]["attributes"] if item["key"] == "tenant.id"]
        assert tenants == [{"stringValue": "acme"}]
        found = {item["key"] for attributes in lists(group) for item in attributes}
        labels = {"tenant"} if signal == "metrics" else set()
        assert found & {*STEERING} == {"tenant.id"} | labels


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_no_control_character_is_left_and_nothing_else_is_lost(arrived, signal):
    text = json.dumps(arrived[signal], ensure_ascii=False)
    assert [c for c in CONTROL if c in text or f"\\u{ord(c):04x}" in text] == []
    records = {"traces": "name", "logs": "body", "metrics": "good"}
    assert records[signal] in text
    for wanted in ('"a\\tb\\nc\\rd"', '"ab"', '"cd"', "theodore", "scope"):
        assert wanted in text, wanted
    # Laid-out text keeps its shape; what is nested is opened only where it was touched.
    assert re.search(r'"key": "nested[.]list[.]0", "value": {"stringValue": "ab"}', text)


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_names_that_become_equal_are_one_and_none_is_empty(arrived, signal):
    for attributes in (found for group in arrived[signal] for found in lists(group)):
        keys = [item["key"] for item in attributes]
        assert len(keys) == len(set(keys)), keys
        assert "" not in keys


@pytest.mark.case("smuggled_names")
def test_no_metric_of_ours_can_be_sent_by_a_hidden_name(arrived):
    names = [m["name"] for g in arrived["metrics"] for s in g["scopeMetrics"] for m in s["metrics"]]
    assert [name for name in names if not name.startswith("theodore.log")] == ["good"]
