"""Metrics in a real Prometheus: pushed over OTLP, and scraped."""

from __future__ import annotations

import pytest
from destinations.kit import (
    KILLED,
    OWNERS,
    PASSWORD,
    SERVICE,
    configuration,
    require_no_secret,
    require_survives,
    send_gauge,
)
from support.collector import Span, running, wait_for

GAUGE = "theodore_active_operations"


@pytest.fixture(scope="module")
def pushing(prometheus, tmp_path_factory):
    destination = {"type": "prometheus", "endpoint": f"http://{prometheus.at('http')}"}
    with running(tmp_path_factory.mktemp("push"), configuration(prometheus=destination), OWNERS) as started:
        yield started


@pytest.fixture(scope="module")
def scraped(prometheus, tmp_path_factory):
    destination = {"type": "prometheus"}
    with running(tmp_path_factory.mktemp("scrape"), configuration(prometheus=destination), OWNERS) as started:
        prometheus.scrape(f"127.0.0.1:{started.ports['metrics']}")
        yield started
        prometheus.scrape()


@pytest.fixture(params=["pushing", "scraped"])
def collector(request):
    return request.getfixturevalue(request.param)


def test_a_metric_is_readable_redacted_and_with_its_tenant(prometheus, collector, request):
    operation = request.node.callspec.params["collector"]
    send_gauge(collector, operation)
    query = f'{GAUGE}{{operation="{operation}"}}'
    (series,) = wait_for(lambda: prometheus.query(query), otherwise=collector.said)
    assert series["value"][1] == "3"
    assert {"tenant": "acme", "service": SERVICE}.items() <= series["metric"].items()
    require_no_secret(str(series))


def test_commands_of_two_tenants_are_counted_under_the_final_names(prometheus, collector, request):
    command = f"research-{request.node.callspec.params['collector']}"
    attributes = {"theodore.operation.type": "command", "theodore.command": command, "password": PASSWORD}
    for tenant, runs in (("acme", 3), ("globex", 2)):
        for _ in range(runs):
            assert collector.send_spans([Span("command", attributes)], f"{tenant}.1") == 200

    def counted():
        found = prometheus.query(f'theodore_requests_total{{endpoint="{command}"}}')
        return {series["metric"]["tenant"]: series["value"][1] for series in found}

    wait_for(lambda: counted() == {"acme": "3", "globex": "2"}, 20, counted)


@KILLED
def test_metrics_wait_on_disk_while_it_is_down(prometheus, pushing, killed):
    def arrived():
        return [series["metric"]["operation"] for series in prometheus.query(GAUGE)]

    require_survives(pushing, prometheus, send_gauge, arrived, killed=killed)
