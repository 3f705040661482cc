"""All signals in Splunk's event collector, two destinations of the type with a token each."""

from __future__ import annotations

import pytest
from destinations.kit import (
    KILLED,
    METRIC,
    OWNERS,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_secret_stays_inside,
    require_survives,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.splunk import Splunk
from support.collector import running, wait_for

TOKEN = "11111111-aaaa-4bbb-8ccc-222222222222"
AUDIT_TOKEN = "33333333-dddd-4eee-9fff-444444444444"


@pytest.fixture(scope="module")
def splunk():
    with Splunk(TOKEN) as service:
        yield service
        assert service.wrong == []


@pytest.fixture(scope="module")
def audit():
    with Splunk(AUDIT_TOKEN) as service:
        yield service
        assert service.wrong == []


@pytest.fixture(scope="module")
def collector(splunk, audit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("splunk")
    (folder / "token").write_text(AUDIT_TOKEN + "\n")
    destinations = {
        "all": {
            "type": "splunk",
            "endpoint": f"{splunk.url}/services/collector",
            "token": {"env": "SPLUNK_TOKEN"},
            "index": "theodore",
            "source": "collector",
            "sourcetype": "otel:theodore",
        },
        "audit": {
            "type": "splunk",
            "endpoint": f"{audit.url}/services/collector",
            "token": {"file": str(folder / "token")},
            "signals": ["logs"],
            "categories": ["audit"],
        },
    }
    with running(folder, configuration(**destinations), OWNERS, {"SPLUNK_TOKEN": TOKEN}) as started:
        yield started
        require_secret_stays_inside(started, TOKEN, AUDIT_TOKEN)


def events(splunk: Splunk, text: str) -> list[dict]:
    return [event for event in splunk.events if text in str(event)]


def test_a_log_record_arrives_with_its_envelope_redacted_and_with_its_tenant(splunk, collector):
    send_log(collector, "readable log")
    (event,) = wait_for(lambda: events(splunk, "readable log"), otherwise=collector.said)
    assert event["event"] == text_of("readable log")
    assert (event["index"], event["source"], event["sourcetype"]) == ("theodore", "collector", "otel:theodore")
    assert event["host"] == "worker-1"
    assert {**REDACTED, "tenant.id": "acme", "service.name": SERVICE}.items() <= event["fields"].items()
    require_no_secret(str(event))


def test_a_span_and_a_metric_arrive_redacted_and_with_their_tenant(splunk, collector):
    send_span(collector, "readable span")
    send_gauge(collector, "readable gauge")
    (span,) = wait_for(lambda: events(splunk, "readable span"), otherwise=collector.said)
    assert REDACTED.items() <= span["event"]["attributes"].items()
    assert span["fields"]["tenant.id"] == "acme"
    (metric,) = wait_for(lambda: events(splunk, "readable gauge"), otherwise=collector.said)
    assert metric["event"] == "metric"
    assert metric["fields"][f"metric_name:{METRIC}"] == 3.0
    assert metric["fields"]["tenant"] == "acme"
    require_no_secret(str(span) + str(metric))


def test_a_destination_gets_its_categories_only(audit, collector):
    send_log(collector, "for the system", "system")
    send_log(collector, "for the audit", "audit")
    wait_for(lambda: events(audit, "for the audit"), otherwise=collector.said)
    assert {event["fields"]["theodore.category"] for event in audit.events} == {"audit"}


@KILLED
def test_log_records_wait_on_disk_while_it_is_down(splunk, collector, killed):
    def arrived():
        return [str(event["event"]).partition(" ")[0] for event in splunk.events]

    require_survives(collector, splunk, send_log, arrived, killed=killed)
