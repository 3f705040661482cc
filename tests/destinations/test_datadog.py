"""All signals in Datadog's intake, and statistics counted before sampling."""

from __future__ import annotations

import json

import pytest
from destinations.kit import (
    EMAIL,
    MASK,
    METRIC,
    OWNERS,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_secret_stays_inside,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.datadog import Datadog
from support.collector import Span, running, wait_for

from theodore_otel.config.merge import merge

API_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def datadog():
    with Datadog(API_KEY) as service:
        yield service
        assert service.wrong == []


def configured(datadog: Datadog, **more) -> dict:
    destination = {"type": "datadog", "api_key": {"env": "DD_API_KEY"}, "endpoint": datadog.url}
    return merge(configuration(datadog=destination), more)


@pytest.fixture(scope="module")
def collector(datadog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("datadog")
    with running(folder, configured(datadog), OWNERS, {"DD_API_KEY": API_KEY}) as started:
        yield started
        require_secret_stays_inside(started, API_KEY)


def test_a_span_arrives_redacted_and_with_its_tenant(datadog, collector):
    send_span(collector, "readable span")
    (span,) = wait_for(
        lambda: [each for each in datadog.spans if each["resource"] == "readable span"],
        otherwise=collector.said,
    )
    assert (span["service"], span["type"]) == (SERVICE, "web")
    assert {**REDACTED, "tenant.id": "acme"}.items() <= span["meta"].items()
    require_no_secret(str(span))


def test_a_log_record_arrives_redacted_and_with_its_tenant(datadog, collector):
    send_log(collector, "readable log")
    (record,) = wait_for(
        lambda: [each for each in datadog.logs if "readable log" in each["message"]], otherwise=collector.said
    )
    assert (record["service"], record["status"]) == (SERVICE, "WARN")
    message = json.loads(record["message"])
    assert {**REDACTED, "tenant.id": "acme", "message": text_of("readable log")}.items() <= message.items()
    require_no_secret(str(record))


def test_a_metric_arrives_redacted_and_with_its_tenant(datadog, collector):
    send_gauge(collector, "readable_gauge")
    (series,) = wait_for(
        lambda: [each for each in datadog.series if each["metric"] == METRIC], otherwise=collector.said
    )
    assert [point["value"] for point in series["points"]] == [3.0]
    assert {"operation:readable_gauge", "tenant:acme", f"service:{SERVICE}"} <= set(series["tags"])
    require_no_secret(str(series))


def test_what_is_sent_while_it_is_down_arrives_once_it_is_back(datadog, collector):
    """Datadog's own senders hold it in memory: it outlives an outage, not a kill of the collector."""
    datadog.stop()
    send_log(collector, "held log")
    send_span(collector, "held span")
    datadog.start()
    wait_for(lambda: [each for each in datadog.logs if "held log" in each["message"]], 60, collector.said)
    wait_for(lambda: [each for each in datadog.spans if each["resource"] == "held span"], 60, collector.said)


def test_statistics_count_every_span_before_sampling_and_hold_no_secret(datadog, tmp_path):
    """Of a hundred ordinary traces none is kept, and the statistics count a hundred."""
    before = len(datadog.spans)
    rate = {"tracing": {"sampling": {"rate": 0.0}}}
    with running(tmp_path, configured(datadog, **rate), OWNERS, {"DD_API_KEY": API_KEY}) as collector:
        spans = [Span(f"counted for {EMAIL}", {"password": EMAIL, "peer.service": EMAIL}, kind=2) for _ in range(100)]
        assert collector.send_spans(spans, "acme.1") == 200
        wait_for(lambda: _decided(collector) == 100, otherwise=collector.said)
        # What the interval has counted is queued when the collector stops, and sent when it starts again.
        collector.stop()
        collector.start()
        counted = wait_for(
            lambda: [each for each in datadog.stats if each["Resource"] == f"counted for {MASK}"], 60, collector.said
        )
    assert sum(group["Hits"] for group in counted) == 100
    require_no_secret(str(datadog.stats))
    assert len(datadog.spans) == before


def _decided(collector) -> float:
    series = collector.prometheus("telemetry")
    return sum(value for name, value in series.items() if "tail_sampling_global_count_traces_sampled" in name)
