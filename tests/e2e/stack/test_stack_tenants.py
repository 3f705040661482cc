"""Tenants stay apart in the servers, whatever is sent in whose name."""

from __future__ import annotations

import pytest
from support.collector import Span, wait_for

SPOOFED = {"tenant.id": "globex", "tenant": "globex", "data_stream.namespace": "30d"}
REFUSED = 'sum({__name__=~"otelcol_processor_filter_(spans|logs).filtered", filter="filter/service"})'


def command(name: str, **attributes: str) -> Span:
    return Span(name, {"theodore.operation.type": "command", "theodore.command": name, **attributes}, kind=1)


def test_what_a_tenant_sends_in_anothers_name_is_its_own(stack):
    spans = [command("spoofed", **SPOOFED)]
    assert stack.client.send_spans(spans, "acme.1", SPOOFED) == 200
    assert stack.client.send_logs([(13, "spoofed record", SPOOFED)], "acme.1", SPOOFED) == 200
    assert (
        stack.client.send_gauge("theodore.active_operations", 3.0, {"operation": "spoofed", **SPOOFED}, "acme.1") == 200
    )
    found = wait_for(lambda: stack.servers.spans("theodore-v2", **{"theodore.command": "spoofed"}))
    assert [(span.resource["tenant.id"], span.tags.get("tenant.id")) for span in found] == [("acme", None)]
    (hit,) = wait_for(lambda: stack.servers.logs("spoofed record"))
    assert hit["_index"].startswith(".ds-logs-theodore.system.otel-acme_90d-")
    assert hit["_source"]["resource"]["attributes"]["tenant.id"] == "acme"
    for query in ('theodore_requests_total{endpoint="spoofed"}', 'theodore_active_operations{operation="spoofed"}'):
        series = wait_for(lambda q=query: stack.servers.query(q), otherwise=lambda q=query: q)
        assert [each["metric"]["tenant"] for each in series] == ["acme"]


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_service_reports_tenants_on_its_list(stack, tenant):
    spans = [command(f"listed-{tenant}", **{"tenant.id": tenant})]
    assert stack.client.send_spans(spans, "svc-api.1") == 200
    assert stack.client.send_logs([(13, f"listed record of {tenant}", {"tenant.id": tenant})], "svc-api.1") == 200
    found = wait_for(lambda: stack.servers.spans("theodore-v2", **{"theodore.command": f"listed-{tenant}"}))
    assert [span.resource["tenant.id"] for span in found] == [tenant]
    (hit,) = wait_for(lambda: stack.servers.logs(f"listed record of {tenant}"))
    assert hit["_source"]["resource"]["attributes"]["tenant.id"] == tenant
    (series,) = wait_for(lambda: stack.servers.query(f'theodore_requests_total{{endpoint="listed-{tenant}"}}'))
    assert series["metric"]["tenant"] == tenant


def test_what_a_service_reports_of_others_is_refused_and_counted(stack):
    before = sum(stack.servers.values(REFUSED))
    for tenant in ("initech", "ACME", "acme.1"):
        assert stack.client.send_spans([command("not-listed", **{"tenant.id": tenant})], "svc-api.1") == 200
        assert stack.client.send_logs([(13, "not listed record", {"tenant.id": tenant})], "svc-api.1") == 200
    wait_for(lambda: sum(stack.servers.values(REFUSED)) >= before + 6, 60, lambda: stack.servers.query(REFUSED))
    assert stack.servers.spans("theodore-v2", **{"theodore.command": "not-listed"}) == []
    assert stack.servers.logs("not listed record") == []
    assert stack.servers.query('last_over_time(theodore_requests_total{endpoint="not-listed"}[1h])') == []


def test_a_request_to_the_service_in_a_tenants_name_that_is_not_listed_arrives_nowhere(stack):
    assert stack.ask("Foreign Body", "initech", "c-initech")["success"]
    before = sum(stack.servers.values(REFUSED))
    wait_for(lambda: sum(stack.servers.values(REFUSED)) > before, 60, lambda: stack.servers.query(REFUSED))
    assert not [
        document for document in stack.servers.documents() if "initech" in document or "Foreign Body" in document
    ]
    assert stack.servers.query('{tenant="initech"}') == []


def test_an_unknown_credential_is_refused(stack):
    assert stack.client.send_spans([command("unknown")], "nobody.1") == 401
    assert stack.client.send_spans([command("unknown")], None) == 401


def test_a_dedicated_tenants_streams_hold_its_records_only_and_all_of_them(stack):
    hits = [hit for index in ("logs-*", "traces-*") for hit in stack.servers.search(index, {"match_all": {}})]
    assert {hit["_source"]["resource"]["attributes"]["tenant.id"] for hit in hits} >= {"acme", "globex"}
    for hit in hits:
        is_own = "-acme_" in hit["_index"]
        assert is_own == (hit["_source"]["resource"]["attributes"]["tenant.id"] == "acme"), hit["_index"]


def test_a_tenant_that_is_added_is_known_once_the_collector_has_read_it(stack, composed):
    said = composed("run", "--rm", "-T", "prepare", "tenant", "add", "late")
    name, _, token = said.strip().partition("=")[2].partition(":")
    stack.client.tokens[name] = token
    assert stack.client.send_logs([(13, "too early", {})], name) == 401
    composed("kill", "--signal", "SIGHUP", "collector")
    wait_for(lambda: _sent(stack, "of the late one", name), 30)
    (hit,) = wait_for(lambda: stack.servers.logs("of the late one"))
    assert hit["_source"]["resource"]["attributes"]["tenant.id"] == "late"


def _sent(stack, text: str, credential: str) -> bool:
    try:
        return stack.client.send_logs([(13, text, {})], credential) == 200
    except OSError:
        return False
