"""Nobody writes into what belongs to another: each credential forges all that a request has room for.

What must be nowhere is searched in everything that arrived: the files of both lanes, the shared one and that of
initech, which is dedicated, are read whole.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from support.collector import Collector, Span, fill, requests, running, wait_for

Pairs = Sequence[tuple[str, Any]]

STEERING = (
    "data_stream.dataset", "data_stream.namespace", "data_stream.type", "elasticsearch.index",
    "elasticsearch.document_id", "elastic.mapping.mode", "com.splunk.index", "com.splunk.source",
    "com.splunk.sourcetype", "com.splunk.hec.access_token", "datadog.host.name", "_dd.origin", "_dd.p.dm", "ddtags",
    "DDTags", "_sampling_priority_v1", "sampling.priority", "sampling.randomness", "sampling.threshold",
    "theodore.sampling.percent", "theodore.sampling.random", "theodore.severity", "kafka.topic", "awss3.prefix",
)  # fmt: skip
RESERVED = {"tenant.id", "theodore.credential", "tenant", *STEERING}
TENANTS = [
    "globex", "initech", "GLOBEX", "globex\n", " globex", "globex.1", "", "_platform", 7, 1.5, True, None, ["globex"],
    [], {"id": "globex"}, b"globex",
]  # fmt: skip
FORGERIES: list[Pairs] = [
    *([("tenant.id", value)] for value in TENANTS),
    *([("theodore.credential", value)] for value in ("globex.1", "svc-api.1", ["globex.1"], None)),
    # A key may stand in the list more than once, and the first may be empty.
    [("tenant.id", "globex")] * 3,
    [("tenant.id", None), ("tenant.id", None), ("tenant.id", "globex")],
    [("theodore.credential", "globex.1")] * 3,
    [("theodore.credential", None), ("theodore.credential", "globex.1"), ("tenant.id", "x"), ("tenant.id", "globex")],
    # A destination that opens mappings makes tenant.id of this.
    [("tenant", {"id": "globex"}), ("tenant", "globex"), ("tenant", {"id": "initech"})],
    [("service", "another"), ("service", "another")],
    [(key, "globex") for key in STEERING],
    [(key, "globex") for key in STEERING for _ in range(2)],
]
LEVELS = {
    "traces": ("resource", "scope", "span", "event", "link"),
    "logs": ("resource", "scope", "log"),
    "metrics": ("resource", "scope", "metric", "point"),
}
RECORD = {"traces": "span", "logs": "log", "metrics": "point"}
POINTS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
GROUPS = {"traces": "resourceSpans", "logs": "resourceLogs", "metrics": "resourceMetrics"}
HEADERS = [
    ("baggage", "tenant.id=globex,theodore.credential=globex.1"), ("x-scope-orgid", "globex"),
    ("x-tenant-id", "globex"), ("tenant.id", "globex"), ("theodore.credential", "globex.1"),
    ("x-elastic-mapping-mode", "bodymap"), ("dd-api-key", "globex"), ("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"),
    # A credential that is not the sender's, behind his own.
    ("authorization", "Basic " + base64.b64encode(b"globex.1:guess").decode()),
]  # fmt: skip
CREDENTIALS = ("acme.1", "initech.1", "svc-api.1", "svc-other.1")


@dataclass(frozen=True)
class Sent:
    """One forged request: a harmless resource, and one with the forgery."""

    marker: str
    """Stands in the span's name, the record's body, or the points' attribute `marker`, of the forged one."""
    signal: str
    credential: str
    forged: Pairs
    levels: Sequence[str]
    way: str
    """http, json or grpc; headers and metadata forge those as well; twice and json twice have two resources in one."""

    @property
    def tenant(self) -> str | None:
        """Return whose it is; None when it has to be refused."""
        owner = self.credential.partition(".")[0]
        if not owner.startswith("svc-"):
            return owner
        said = dict(reversed(self.forged)).get("tenant.id") if RECORD[self.signal] in self.levels else None
        word = "_platform" if said is None else said
        return word if owner == "svc-api" and word in ("acme", "globex", "_platform") else None

    def request(self) -> Any:
        """Return the OTLP request."""
        made = REQUESTS[self.signal]()
        groups = getattr(made, "resource_spans" if self.signal == "traces" else f"resource_{self.signal}")
        _fill(groups.add(), self.signal, "harmless", {})
        _fill(groups.add(), self.signal, self.marker, dict.fromkeys(self.levels, self.forged))
        return made

    def twice(self) -> bytes:
        """Return the request with one more resource behind it in the forged group: protobuf merges the two."""
        resource = Resource()
        fill(resource.attributes, self.forged)
        (_, forged) = getattr(
            self.request(), "resource_spans" if self.signal == "traces" else f"resource_{self.signal}"
        )
        return _field(forged.SerializeToString() + _field(resource.SerializeToString()))

    def json(self) -> bytes:
        """Return the request in OTLP's JSON, where ids are hexadecimal."""
        text = json.dumps(MessageToDict(self.request()))
        return re.sub(
            r'"(traceId|spanId)": "([^"]+)"', lambda m: f'"{m[1]}": "{base64.b64decode(m[2]).hex()}"', text
        ).encode()

    def json_twice(self) -> bytes:
        """Return it with another resource under the same key of every group, its names spelt with escapes."""
        resource = Resource()
        fill(resource.attributes, self.forged)
        again = json.dumps(MessageToDict(resource)).replace('"tenant.id"', '"\\u0074enant.id"')
        return self.json().replace(b'"scope', b'"resource": ' + again.encode() + b', "scope', 2)


def _field(content: bytes) -> bytes:
    """Return a length-delimited protobuf field with number 1."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return b"\x0a" + length + bytes([size]) + content


def _fill(group: Any, signal: str, marker: str, at: Mapping[str, Pairs]) -> None:
    now = time.time_ns()
    fill(group.resource.attributes, [*at.get("resource", ()), ("service.name", "theodore-v2")])
    if signal == "traces":
        scope = group.scope_spans.add()
        times = {"start_time_unix_nano": now, "end_time_unix_nano": now}
        span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=marker, **times)
        fill(span.attributes, at.get("span", ()))
        fill(span.events.add(name="event").attributes, at.get("event", ()))
        fill(span.links.add(trace_id=os.urandom(16), span_id=os.urandom(8)).attributes, at.get("link", ()))
    elif signal == "logs":
        scope = group.scope_logs.add()
        record = scope.log_records.add(severity_number=9, time_unix_nano=now)
        record.body.string_value = marker
        fill(record.attributes, at.get("log", ()))
    else:
        scope = group.scope_metrics.add()
        for kind in POINTS:
            metric = scope.metrics.add(name=f"forged.{kind}")
            fill(metric.metadata, at.get("metric", ()))
            point = getattr(metric, kind).data_points.add(time_unix_nano=now)
            fill(point.attributes, [*at.get("point", ()), ("marker", marker)])
        for metric in scope.metrics[1:4]:
            getattr(metric, metric.WhichOneof("data")).aggregation_temporality = 2
    fill(scope.scope.attributes, at.get("scope", ()))


def forgeries(credential: str) -> Iterator[Sent]:
    """Return what a credential forges: at all levels at once in every way, and over HTTP at each level alone."""
    number = itertools.count()
    for signal, levels in LEVELS.items():
        for forged in FORGERIES:
            ways = ("http", "json", "grpc", "headers", "metadata", "twice", "json twice")
            for at, way in [*((levels, way) for way in ways), *(((level,), "http") for level in levels)]:
                yield Sent(f"{credential} {next(number)}", signal, credential, forged, at, way)


def deliver(collector: Collector, sent: Sent, credential: str | None) -> Any:
    """Send it and return the answer's status."""
    headers = HEADERS if sent.way in ("headers", "metadata") else ()
    if sent.way in ("grpc", "metadata"):
        return collector.call(sent.signal, sent.request().SerializeToString(), credential, headers)
    if sent.way.startswith("json"):
        body = sent.json_twice() if sent.way == "json twice" else sent.json()
        return collector.post(sent.signal, body, credential, kind="application/json")
    body = sent.twice() if sent.way == "twice" else sent.request().SerializeToString()
    return collector.post(sent.signal, body, credential, headers)


@dataclass
class Arrived:
    """What was sent, and all that came of it."""

    sent: dict[str, Sent]
    refused: list[Any]
    """Answers to requests without a known credential."""
    groups: list[tuple[str, str, dict[str, Any]]]
    """Lane, signal and resource of each that arrived."""
    series: dict[str, float]
    own: dict[str, float]
    """The collector's own metrics."""

    def markers(self) -> set[str]:
        return {marker for _, _, group in self.groups for marker in marked(group)}


def marked(group: Any) -> set[str]:
    """Return the markers in a group."""
    return set(re.findall(r'"((?:acme|initech|svc-\w+)\.1 \d+)"', json.dumps(group)))


def all_groups(folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the groups of both lanes' files."""
    return [
        (lane, signal, group)
        for lane in ("", "initech")
        for signal, key in GROUPS.items()
        for request in requests(folder / lane, signal)
        for group in request[key]
    ]


@pytest.fixture(scope="module")
def arrived(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isolation")
    configuration = {
        "tracing": {"sampling": {"rate": 1.0, "decision_wait": "1s"}},
        "tenants": {
            "services": {"api": {"may_report": ["acme", "globex"]}},
            "list": {"initech": {"isolation": "dedicated"}},
        },
        "destinations": {
            "files": {"type": "file", "directory": str(folder / "files")},
            "scrape": {"type": "prometheus"},
        },
    }
    with running(folder, configuration, [name[:-2] for name in CREDENTIALS] + ["globex"]) as collector:
        sent = {each.marker: each for name in CREDENTIALS for each in forgeries(name)}
        for each in sent.values():
            assert deliver(collector, each, each.credential) in (200, grpc.StatusCode.OK), each
        strangers = [each for each in forgeries("acme.1") if len(each.levels) > 1 and each.way != "json twice"]
        refused = [deliver(collector, each, name) for each in strangers for name in (None, "nobody.1", "globex.2")]
        expected = {each.marker for each in sent.values() if each.tenant}
        found = Arrived(sent, refused, [], {}, {})

        def complete() -> bool:
            found.groups = all_groups(folder / "files")
            return expected <= found.markers()

        with suppress(AssertionError):  # what is missing is told by the test that asks for it
            wait_for(complete, 30)
        # Whatever else is under way has come by now, because it left before what is sent now.
        for credential, lane in (("acme.1", ""), ("initech.1", "initech")):
            collector.send_spans([Span("the last")], credential)
            wait_for(lambda lane=lane: "the last" in json.dumps(requests(folder / "files" / lane, "traces")))
        found.groups = all_groups(folder / "files")
        found.series, found.own = collector.prometheus(), collector.prometheus("telemetry")
        yield found


def attribute_lists(node: Any, level: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return every list of attributes in OTLP JSON with the name of what has it."""
    if isinstance(node, list):
        for item in node:
            yield from attribute_lists(item, level)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("attributes", "metadata", "filteredAttributes"):
                yield level, value
            else:
                yield from attribute_lists(value, key)


def test_everything_belongs_to_its_sender_and_lies_in_his_lane(arrived):
    for lane, _, group in arrived.groups:
        tenants = [item["value"] for item in group["resource"]["attributes"] if item["key"] == "tenant.id"]
        (owner,) = (value["stringValue"] for value in tenants)
        assert {arrived.sent[marker].tenant for marker in marked(group)} <= {owner}, group
        assert lane == (owner if owner == "initech" else ""), group


def test_all_that_may_arrive_does_and_nothing_else(arrived):
    assert arrived.markers() == {marker for marker, sent in arrived.sent.items() if sent.tenant}


def test_nothing_forged_is_left_at_any_level(arrived):
    for _, _, group in arrived.groups:
        for level, attributes in attribute_lists(group):
            keys = Counter(item["key"] for item in attributes)
            written = {"resource": ("tenant.id",), "dataPoints": ("tenant", "service")}.get(level, ())
            assert not RESERVED & keys.keys() - set(written), (level, attributes)
            assert [keys[key] for key in written] == [1] * len(written), (level, attributes)


def test_no_other_tenant_is_so_much_as_named(arrived):
    for _, _, group in arrived.groups:
        (owner,) = (i["value"]["stringValue"] for i in group["resource"]["attributes"] if i["key"] == "tenant.id")
        named = set(re.findall("globex|initech|" + "ab" * 16, json.dumps(group).lower()))
        assert named <= {owner}, group


def test_labels_say_the_sender_and_cannot_be_sent(arrived):
    found = set()
    for series in arrived.series:
        labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
        if labels.get("marker", "harmless") != "harmless":
            sent = arrived.sent[labels["marker"]]
            assert (labels["tenant"], labels["service"]) == (sent.tenant, "theodore-v2"), series
            assert series.count('tenant="') == 1, series
            found.add(sent.marker)
    assert found == {m for m, sent in arrived.sent.items() if sent.tenant and sent.signal == "metrics"}


def test_what_a_service_may_not_report_is_counted(arrived):
    names = {"traces": ("spans", 1), "logs": ("logs", 1), "metrics": ("datapoints", len(POINTS))}
    for signal, (unit, each) in names.items():
        refused = [sent for sent in arrived.sent.values() if sent.signal == signal and not sent.tenant]
        # One that is not configured may not report the harmless ones either; `twice` has none.
        harmless = [sent for sent in refused if sent.credential == "svc-other.1" and sent.way != "twice"]
        counted = arrived.own[f'otelcol_processor_filter_{unit}_filtered{{filter="filter/service"}}']
        assert counted == each * (len(refused) + len(harmless))


def test_requests_without_a_known_credential_are_refused_and_counted(arrived):
    answers = Counter(arrived.refused)
    assert set(answers) == {401, grpc.StatusCode.UNAUTHENTICATED}
    assert arrived.own['http_server_request_duration_count{http_response_status_code="401"}'] == answers[401]
    over_grpc = arrived.own['rpc_server_duration_count{rpc_grpc_status_code="16"}']
    assert over_grpc == answers[grpc.StatusCode.UNAUTHENTICATED]
