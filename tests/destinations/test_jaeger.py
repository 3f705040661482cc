"""Traces in a real Jaeger."""

from __future__ import annotations

import pytest
from destinations.kit import (
    KILLED,
    OWNERS,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_survives,
    send_span,
)
from support.collector import running, wait_for


@pytest.fixture(scope="module")
def collector(jaeger, tmp_path_factory):
    destination = {"type": "jaeger", "endpoint": jaeger.at("otlp")}
    with running(tmp_path_factory.mktemp("jaeger"), configuration(jaeger=destination), OWNERS) as started:
        yield started


def test_a_span_is_readable_redacted_and_with_its_tenant(jaeger, collector):
    send_span(collector, "readable")
    (span,) = wait_for(lambda: jaeger.spans(SERVICE, "readable"), otherwise=collector.said)
    assert REDACTED.items() <= span["tags"].items()
    assert span["resource"]["tenant.id"] == "acme"
    require_no_secret(str(span))


@KILLED
def test_spans_wait_on_disk_while_it_is_down(jaeger, collector, killed):
    def arrived():
        found = jaeger.get("query", "/api/traces", service=SERVICE, limit="100")["data"]
        return [span["operationName"] for trace in found for span in trace["spans"]]

    require_survives(collector, jaeger, send_span, arrived, killed=killed)
