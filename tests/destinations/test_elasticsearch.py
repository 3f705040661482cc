"""Logs and traces in data streams of a real Elasticsearch."""

from __future__ import annotations

import pytest
from destinations.applied import ALLOWED, API_KEY, apply
from destinations.kit import (
    KILLED,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_secret_stays_inside,
    require_survives,
    send_log,
    send_span,
    text_of,
)
from support.collector import running, wait_for

from theodore_otel.config.merge import merge

OWNERS = ("acme", "globex", "initech")
ANYTHING = {"match_all": {}}

STREAM = "logs-theodore.system.otel-30d"


@pytest.fixture(scope="module")
def streams(elasticsearch, tmp_path_factory):
    """Put our templates; what the server lacks is lifecycles."""
    for mapping in ("otel", "ecs"):
        done = apply(tmp_path_factory.mktemp("streams"), configured(elasticsearch, mapping), ALLOWED)
        assert done.returncode == 0, done.stderr
    return elasticsearch


def configured(elasticsearch, mapping: str) -> dict:
    destination = {
        "type": "elasticsearch",
        "endpoints": [f"http://{elasticsearch.at('http')}"],
        "api_key": {"env": "ES_API_KEY"},
        "mapping": mapping,
        "signals": ["logs", "traces"],
    }
    tenants = {"list": {"globex": {"isolation": "dedicated"}, "initech": {"retention": {"logs": "90d"}}}}
    return merge(configuration(elasticsearch=destination), {"tenants": tenants})


@pytest.fixture(scope="module")
def collector(streams, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elasticsearch")
    with running(folder, configured(streams, "otel"), OWNERS, {"ES_API_KEY": API_KEY}) as started:
        yield started
        require_secret_stays_inside(started, API_KEY)


def test_a_log_record_is_readable_redacted_and_with_its_tenant(elasticsearch, collector):
    send_log(collector, "readable")
    (hit,) = wait_for(
        lambda: elasticsearch.search(STREAM, {"match_phrase": {"body.text": "readable"}}),
        otherwise=collector.said,
    )
    document = hit["_source"]
    assert document["body"]["text"] == text_of("readable")
    assert document["resource"]["attributes"]["tenant.id"] == "acme"
    assert document["severity_text"] == "WARN"
    assert REDACTED.items() <= document["attributes"].items()
    require_no_secret(str(hit))


def test_a_span_is_readable_redacted_and_with_its_tenant(elasticsearch, collector):
    send_span(collector, "readable span")
    (hit,) = wait_for(
        lambda: elasticsearch.search("traces-theodore.otel-7d", {"match_phrase": {"name": "readable span"}}),
        otherwise=collector.said,
    )
    document = hit["_source"]
    assert document["resource"]["attributes"]["tenant.id"] == "acme"
    assert document["resource"]["attributes"]["service.name"] == SERVICE
    assert REDACTED.items() <= document["attributes"].items()
    require_no_secret(str(hit))


@pytest.mark.parametrize(
    ("tenant", "category", "stream"),
    [
        ("acme", "audit", "logs-theodore.audit.otel-400d"),
        ("acme", "ai_operations", "logs-theodore.ai_operations.otel-30d"),
        ("initech", "system", "logs-theodore.system.otel-90d"),
        ("initech", "security", "logs-theodore.security.otel-400d"),
        ("globex", "system", "logs-theodore.system.otel-globex_30d"),
        ("globex", "audit", "logs-theodore.audit.otel-globex_400d"),
    ],
)
def test_tenant_and_category_choose_the_data_stream(elasticsearch, collector, tenant, category, stream):
    """Shared tenants share a stream for each retention class; a dedicated one has its own."""
    body = f"stream of {tenant} {category}"
    assert collector.send_logs([(13, body, {"theodore.category": category})], f"{tenant}.1") == 200
    query = {"match_phrase": {"body.text": body}}
    (hit,) = wait_for(lambda: elasticsearch.search("logs-*", query), otherwise=collector.said)
    # A backing index: .ds-STREAM-DATE-GENERATION.
    assert hit["_index"].startswith(f".ds-{stream}-")


def test_attributes_cannot_choose_another_data_stream(elasticsearch, collector):
    steering = {
        "data_stream.dataset": "theodore.audit",
        "data_stream.namespace": "globex_400d",
        "elasticsearch.index": "logs-theodore.audit.otel-globex_400d",
        "elasticsearch.document_id": "1",
    }
    assert collector.send_logs([(13, "steered away", steering)], "acme.1", steering) == 200
    query = {"match_phrase": {"body.text": "steered away"}}
    (hit,) = wait_for(lambda: elasticsearch.search("logs-*", query), otherwise=collector.said)
    assert hit["_index"].startswith(".ds-logs-theodore.system.otel-30d-")
    assert hit["_id"] != "1"


@KILLED
def test_records_wait_on_disk_while_it_is_down_and_arrive_once(elasticsearch, collector, killed):
    def arrived():
        return [hit["_source"]["body"]["text"].partition(" ")[0] for hit in elasticsearch.search(STREAM, ANYTHING)]

    require_survives(collector, elasticsearch, send_log, arrived, killed=killed)


def test_ecs_documents_are_readable_redacted_and_with_their_tenant(streams, tmp_path):
    with running(tmp_path, configured(streams, "ecs"), OWNERS, {"ES_API_KEY": API_KEY}) as collector:
        send_log(collector, "in ecs")
        query = {"match_phrase": {"message": "in ecs"}}
        (hit,) = wait_for(lambda: streams.search("logs-*", query), otherwise=collector.said)
    assert hit["_index"].startswith(".ds-logs-theodore.system-30d-")
    assert hit["_source"]["message"] == text_of("in ecs")
    assert hit["_source"]["service"]["name"] == SERVICE
    assert hit["_source"]["tenant"]["id"] == "acme"
    require_no_secret(str(hit))
