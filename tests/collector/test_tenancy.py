"""Who sent it comes from the credential; nothing a client writes changes that."""

from __future__ import annotations

import pytest
from support.collector import Collector, Span, running, wait_for

CONFIGURATION = {
    "profile": "local",
    "tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}},
    "destinations": {"scrape": {"type": "prometheus"}},
}
FORGED = {"tenant.id": "globex"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    owners = ["acme", "globex", "svc-api", "svc-unlisted"]
    with running(tmp_path_factory.mktemp("tenancy"), CONFIGURATION, owners) as started:
        yield started


def tenants_of(collector: Collector, name: str, count: int) -> list[str]:
    found = wait_for(
        lambda: len(spans := [(r, s) for r, s in collector.spans() if s["name"] == name]) >= count and spans,
        otherwise=collector.spans,
    )
    assert all("tenant.id" not in span["attributes"] for _, span in found)
    assert all("theodore.credential" not in resource for resource, _ in found)
    return sorted(resource["tenant.id"] for resource, _ in found)


def test_a_tenants_credential_stamps_its_tenant_whatever_was_sent(collector):
    collector.send_spans([Span("forged", FORGED)], "acme.1", {**FORGED, "theodore.credential": "globex.1"})
    assert tenants_of(collector, "forged", 1) == ["acme"]


def test_a_service_reports_the_tenants_on_its_list_from_one_process(collector):
    names = ["acme", "globex", "acme"]
    collector.send_spans([Span("served", {"tenant.id": name}) for name in names], "svc-api.1", FORGED)
    assert tenants_of(collector, "served", 3) == ["acme", "acme", "globex"]


def test_what_a_service_reports_without_a_tenant_belongs_to_the_platform(collector):
    collector.send_spans([Span("start-up")], "svc-api.1", FORGED)
    assert tenants_of(collector, "start-up", 1) == ["_platform"]


def test_a_tenant_that_is_not_on_the_services_list_is_refused_and_counted(collector):
    def refused() -> float:
        series = collector.prometheus("telemetry")
        return sum(v for k, v in series.items() if "filter_spans_filtered" in k and "filter/service" in k)

    before = refused()
    collector.send_spans([Span("foreign", {"tenant.id": "initech"}), Span("own", {"tenant.id": "acme"})], "svc-api.1")
    assert tenants_of(collector, "own", 1) == ["acme"]
    wait_for(lambda: refused() == before + 1, otherwise=refused)
    assert not [span for _, span in collector.spans() if span["name"] == "foreign"]


def test_a_service_that_is_not_configured_reports_nothing(collector):
    assert collector.send_spans([Span("unlisted", {"tenant.id": "acme"})], "svc-unlisted.1") == 200
    collector.send_spans([Span("after")], "acme.1")
    tenants_of(collector, "after", 1)
    assert not [span for _, span in collector.spans() if span["name"] == "unlisted"]


@pytest.mark.parametrize("credential", [None, "acme.2", "nobody"])
def test_a_request_without_a_known_credential_is_refused(collector, credential):
    assert collector.send_spans([Span("anonymous")], credential) == 401


def test_logs_and_metrics_are_stamped_the_same_way(collector):
    collector.send_logs([(9, "forged log", FORGED)], "acme.1", FORGED)
    collector.send_logs([(9, "served log", {"tenant.id": "globex"})], "svc-api.1")
    wait_for(lambda: len(collector.logs()) >= 2, otherwise=collector.logs)
    assert {r["body"]["stringValue"]: resource["tenant.id"] for resource, r in collector.logs()} == {
        "forged log": "acme",
        "served log": "globex",
    }
    collector.send_gauge("theodore.active_operations", 3, {"operation": "x", "tenant.id": "globex"}, "acme.1")
    wanted = 'theodore_active_operations{operation="x",service="theodore-v2",tenant="acme"}'
    wait_for(lambda: collector.prometheus().get(wanted) == 3, otherwise=collector.prometheus)


def test_attributes_that_steer_an_exporter_do_not_arrive(collector):
    steering = {
        "data_stream.dataset": "x", "elasticsearch.index": "x", "com.splunk.index": "x", "sampling.priority": 1,
        "datadog.host.name": "x", "kept.attribute": "yes",
    }  # fmt: skip
    collector.send_spans([Span("steering", steering)], "acme.1", steering)
    tenants_of(collector, "steering", 1)
    ((resource, span),) = [(r, s) for r, s in collector.spans() if s["name"] == "steering"]
    assert set(steering) & set(resource) == {"kept.attribute"}
    assert set(steering) & set(span["attributes"]) == {"kept.attribute"}


def test_without_identification_everything_belongs_to_one_tenant(tmp_path):
    with running(tmp_path, {"profile": "local", "tenants": {"identify_by": "none"}}) as collector:
        assert collector.send_spans([Span("open", FORGED)], None, FORGED) == 200
        assert tenants_of(collector, "open", 1) == ["default"]
