"""All signals in New Relic's OTLP endpoint."""

from __future__ import annotations

import pytest
from destinations.kit import (
    KILLED,
    METRIC,
    OWNERS,
    REDACTED,
    configuration,
    require_no_secret,
    require_secret_stays_inside,
    require_survives,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.otlp import OtlpHttp
from support.collector import running, wait_for

LICENSE_KEY = "eu01xx0123456789abcdef0123456789abcdNRAL"


@pytest.fixture(scope="module")
def newrelic():
    with OtlpHttp({"api-key": LICENSE_KEY}) as service:
        yield service
        assert service.wrong == []


@pytest.fixture(scope="module")
def collector(newrelic, tmp_path_factory):
    destination = {"type": "newrelic", "region": "eu", "license_key": {"env": "NR_KEY"}, "endpoint": newrelic.url}
    folder = tmp_path_factory.mktemp("newrelic")
    with running(folder, configuration(newrelic=destination), OWNERS, {"NR_KEY": LICENSE_KEY}) as started:
        yield started
        require_secret_stays_inside(started, LICENSE_KEY)


def test_what_a_tenant_sends_arrives_redacted_and_with_its_tenant(newrelic, collector):
    for send in (send_span, send_log, send_gauge):
        send(collector, "readable")

    def of(signal, key, value):
        return wait_for(
            lambda: [record for record in newrelic.records(signal) if record[key] == value],
            otherwise=collector.said,
        )

    (span,) = of("traces", "name", "readable")
    (log,) = of("logs", "body", text_of("readable"))
    (metric,) = of("metrics", "name", METRIC)
    assert REDACTED.items() <= span["attributes"].items()
    assert REDACTED.items() <= log["attributes"].items()
    assert (metric["value"], metric["attributes"]["tenant"]) == (3.0, "acme")
    assert [record["resource"]["tenant.id"] for record in (span, log, metric)] == ["acme"] * 3
    require_no_secret(str(newrelic.requests))


@KILLED
def test_log_records_wait_on_disk_while_it_is_down(newrelic, collector, killed):
    def arrived():
        return [str(record["body"]).partition(" ")[0] for record in newrelic.records("logs")]

    require_survives(collector, newrelic, send_log, arrived, killed=killed)


def test_nothing_is_kept_that_comes_with_another_key(newrelic, tmp_path):
    """What New Relic refuses for good is dropped and counted, and holds up nothing."""
    destination = {"type": "newrelic", "license_key": {"env": "NR_KEY"}, "endpoint": newrelic.url}
    before = len(newrelic.records("logs"))
    with running(tmp_path, configuration(newrelic=destination), OWNERS, {"NR_KEY": "f" * 40}) as collector:
        send_log(collector, "with a wrong key")
        failed = 'otelcol_exporter_send_failed_log_records{exporter="otlphttp/newrelic"'
        wait_for(lambda: any(name.startswith(failed) for name in collector.prometheus("telemetry")), 20)
    assert len(newrelic.records("logs")) == before
    assert newrelic.wrong
    newrelic.wrong.clear()
