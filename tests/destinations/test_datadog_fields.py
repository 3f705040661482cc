"""What Datadog is given of odd records: tags, hosts, names it takes for its own; and what the collector counts."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from destinations.kit import OWNERS, configuration
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standins.datadog import Datadog
from support.collector import Collector, fill, running, wait_for

KEY = "0123456789abcdef0123456789abcdef"
FORGED = "prod,tenant.id:globex,tenant:globex,host:victim,dd.internal.resource:host:victim"
# Resource attributes that Datadog makes tags, an environment, a host, a service or a container of.
RESOURCES = [
    "app.kubernetes.io/name",
    "aws.ecs.cluster.arn",
    "aws.ecs.task.arn",
    "cloud.availability_zone",
    "cloud.provider",
    "cloud.region",
    "container.id",
    "container.image.name",
    "container.image.tag",
    "container.name",
    "datadog.container.tag.tenant",
    "datadog.env",
    "datadog.host.name",
    "ddtags",
    "deployment.environment",
    "deployment.environment.name",
    "env",
    "git.commit.sha",
    "host",
    "host.id",
    "host.name",
    "image_tag",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.pod.name",
    "os.type",
    "process.executable.name",
    "service",
    "service.name",
    "service.version",
    "tags.datadoghq.com/env",
    "telemetry.sdk.language",
    "version",
]
# Attributes of log records and spans that Datadog, or its exporter, takes for a field of the record.
RECORDS = [
    "@timestamp",
    "DDTAGS",
    "Status",
    "_dd.hostname",
    "_dd.origin",
    "_sampling_priority_v1",
    "_top_level",
    "date",
    "dd.service",
    "ddsource",
    "ddtags",
    "host",
    "hostname",
    "level",
    "message",
    "msg",
    "service",
    "source",
    "spanid",
    "syslog.hostname",
    "tenant",
    "tenant.id",
    "timestamp",
    "trace_id",
]
# Labels of metrics, which are tags whatever they are called.
LABELS = [
    "TENANT",
    "Tenant_Id",
    "_tenant",
    "a,tenant",
    "dd.internal.resource",
    "dd.internal.resource:host",
    "device",
    "host",
    "host ",
    "tenant",
    "tenant.id",
    "tenant:globex,x",
]


@pytest.fixture(scope="module")
def datadog():
    with Datadog(KEY) as service:
        yield service
        assert service.wrong == []


@pytest.fixture(scope="module")
def collector(datadog, tmp_path_factory):
    destination = {"type": "datadog", "api_key": {"env": "DD_API_KEY"}, "endpoint": datadog.url}
    folder = tmp_path_factory.mktemp("datadog")
    with running(folder, configuration(datadog=destination), OWNERS, {"DD_API_KEY": KEY}) as started:
        yield started


def send(collector: Collector, name: str, attributes: Any = (), resource: Any = (), metric: Any = None) -> None:
    """Send a span, a log record and a point of that name."""
    resource = {"service.name": "real", **dict(resource)}
    now = time.time_ns()
    spans, logs, metrics = ExportTraceServiceRequest(), ExportLogsServiceRequest(), ExportMetricsServiceRequest()
    group = spans.resource_spans.add()
    fill(group.resource.attributes, resource)
    span = group.scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=name, kind=2)
    span.start_time_unix_nano, span.end_time_unix_nano = now - 10**6, now
    fill(span.attributes, attributes)
    group = logs.resource_logs.add()
    fill(group.resource.attributes, resource)
    record = group.scope_logs.add().log_records.add(severity_number=13, time_unix_nano=now)
    record.body.string_value = name
    fill(record.attributes, attributes)
    group = metrics.resource_metrics.add()
    fill(group.resource.attributes, resource)
    point = group.scope_metrics.add().metrics.add(name=metric or name).gauge.data_points.add(as_double=1)
    point.time_unix_nano = now
    fill(point.attributes, attributes)
    for signal, request in (("traces", spans), ("logs", logs), ("metrics", metrics)):
        assert collector.post(signal, request.SerializeToString(), "acme.1") == 200


def found(datadog: Datadog, collector: Collector, name: str) -> tuple[dict, dict, dict]:
    """Return what came of a name: the span, the log record and the series."""

    def all_three() -> tuple[list[dict], list[dict], list[dict]] | None:
        spans = [span for span in datadog.spans if span["resource"] == name]
        logs = [log for log in datadog.logs if json.loads(log["message"])["message"] == name]
        series = [each for each in datadog.series if each["metric"] == name]
        return (spans, logs, series) if spans and logs and series else None

    ([span], [log], [series]) = wait_for(all_three, 30, collector.said)
    return span, log, series


def tags_of(span: dict, log: dict, series: dict) -> list[str]:
    """Return every tag, as Datadog reads them: between commas, and without case."""
    container = span["envelope"].get("tags", {}).get("_dd.tags.container", "")
    listed = [container, log["ddtags"], *series["tags"]]
    return [tag.strip().lower() for text in listed for tag in text.split(",") if tag.strip()]


def require_nobody_elses(span: dict, log: dict, series: dict) -> None:
    """Require the true tenant, and neither another one nor a host that was made up."""
    tags = tags_of(span, log, series)
    names = ("tenant:", "tenant.id:", "tenant_id:")
    assert {tag for tag in tags if tag.lstrip("_0123456789").startswith(names)} <= {"tenant:acme", "tenant.id:acme"}
    assert "tenant:acme" in log["ddtags"].split(",")
    assert "tenant.id:acme" in log["ddtags"].split(",")
    assert "tenant:acme" in series["tags"]
    assert (span["meta"]["tenant.id"], span["meta"]["tenant"]) == ("acme", "acme")
    assert [tag for tag in tags if tag.startswith(("host:", "device:", "dd.internal"))] == []
    hosts = [span["envelope"].get("hostname", ""), log.get("hostname", "")]
    hosts += [each["name"] for each in series.get("resources", [])]
    assert [host for host in hosts if "," in host or host in ("victim", "globex")] == []


@pytest.mark.case("datadog_tags")
def test_no_resource_attribute_forges_a_tag_or_a_host(datadog, collector):
    for number, key in enumerate(RESOURCES):
        send(collector, f"resource_{number}", {}, {key: FORGED})
    for number, _ in enumerate(RESOURCES):
        require_nobody_elses(*found(datadog, collector, f"resource_{number}"))


@pytest.mark.case("datadog_tags")
def test_no_attribute_takes_the_place_of_a_records_field(datadog, collector):
    for number, key in enumerate(RECORDS):
        send(collector, f"record_{number}", {key: "globex"})
    for number, key in enumerate(RECORDS):
        span, log, series = found(datadog, collector, f"record_{number}")
        require_nobody_elses(span, log, series)
        content = json.loads(log["message"])
        assert (log["service"], log["status"].upper(), span["service"]) == ("real", "WARN", "real"), key
        ours = ("host", "hostname", "service", "source", "ddsource", "ddtags", "status", "message", "@timestamp")
        assert "globex" not in str([content.get(each) for each in ours]), key


@pytest.mark.case("datadog_tags")
def test_no_label_forges_a_tag_or_a_resource(datadog, collector):
    for number, key in enumerate(LABELS):
        send(collector, f"label_{number}", {key: "globex,tenant:globex", "list": ["x,tenant:globex"]})
    for number, _ in enumerate(LABELS):
        span, log, series = found(datadog, collector, f"label_{number}")
        require_nobody_elses(span, log, series)
        assert all("," not in tag for tag in series["tags"])


@pytest.mark.case("datadog_tags")
def test_nobody_sends_statistics_in_the_place_of_the_collectors(datadog, collector):
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    metric = group.scope_metrics.add().metrics.add(name="dd.internal.stats.payload")
    metric.sum.aggregation_temporality = 1
    point = metric.sum.data_points.add(as_int=1, time_unix_nano=time.time_ns())
    fill(point.attributes, {"dd.internal.stats.payload": b"\x0a\x06forged"})
    assert collector.post("metrics", request.SerializeToString(), "acme.1") == 200
    series = 'otelcol_processor_filter_datapoints_filtered{filter="filter/datadog"}'
    wait_for(lambda: collector.prometheus("telemetry").get(series) == 1, 20, lambda: collector.prometheus("telemetry"))
    assert "forged" not in str(datadog.stats)


@pytest.mark.case("datadog_series")
def test_names_of_services_make_no_series_of_the_collectors_own(datadog, collector):
    for number in range(50):
        send(
            collector,
            f"service_{number}",
            {},
            {"service.name": f"secret-{number}", "telemetry.sdk.language": f"l{number}"},
        )
    for number in range(50):
        found(datadog, collector, f"service_{number}")
    wait_for(lambda: "datadog_trace_agent" in str(collector.prometheus("telemetry")), 30)
    # The agent tells every ten seconds.
    end = time.monotonic() + 11
    while time.monotonic() < end:
        own = collector.prometheus("telemetry")
        time.sleep(0.5)
    assert [name for name in own if "secret-" in name or "target_service" in name or 'lang="' in name] == []
