"""Every query of every panel, asked of real servers that hold what came through the real collector."""

from __future__ import annotations

import pytest
from destinations.kit import SERVICE, configuration
from support.collector import Span, running, wait_for
from support.dashboards import RESEARCH, ask_elasticsearch, ask_prometheus, dashboards, queries, send_everything

TENANTS = ("acme", "globex")
BOARDS = dashboards()
# They come from rules and from checks of health, which are not part of this; the tests of the stack have them.
ELSEWHERE = ("theodore_research_success_rate", "theodore_health_up", "theodore_command_last_success_seconds", "ALERTS")


@pytest.fixture(scope="module")
def filled(prometheus, elasticsearch, jaeger, tmp_path_factory):
    """Fill the servers as two tenants, and as one nobody knows, for as long as a rate needs."""
    settings = configuration(
        prometheus={"type": "prometheus", "endpoint": f"http://{prometheus.at('http')}"},
        jaeger={"type": "jaeger", "endpoint": jaeger.at("otlp")},
        es={"type": "elasticsearch", "endpoints": [f"http://{elasticsearch.at('http')}"], "signals": ["logs"]},
    )
    _put_template(elasticsearch)
    with running(tmp_path_factory.mktemp("filled"), settings, TENANTS) as collector:
        prometheus.scrape(f"127.0.0.1:{collector.ports['telemetry']}")
        _send(collector)
        wait_for(lambda: prometheus.query('theodore_ai_cost_total{tenant="globex"}'), otherwise=collector.said)
        wait_for(lambda: prometheus.query("sum(otelcol_exporter_sent_spans) > 0"), otherwise=collector.said)
        wait_for(lambda: prometheus.query("theodore_records_truncated_total"), otherwise=collector.said)
        wait_for(
            lambda: prometheus.query("count_over_time(otelcol_exporter_sent_spans[1m]) > 2"), otherwise=collector.said
        )
        yield collector
        prometheus.scrape()


def _put_template(elasticsearch) -> None:
    words = {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1024}}
    text = {"body": {"properties": {"text": {"type": "text"}}}}
    mappings = {"dynamic_templates": [{"words": words}], "properties": text}
    body = {"index_patterns": ["logs-*"], "data_stream": {}, "priority": 50, "template": {"mappings": mappings}}
    elasticsearch.send("PUT", "_index_template/dashboards", body)


def _send(collector) -> None:
    for tenant in TENANTS:
        send_everything(collector, f"{tenant}.1")
    assert collector.send_spans([Span("refused")], "nobody.1") == 401


def of(kind: str) -> pytest.MarkDecorator:
    found = list(queries(BOARDS, kind))
    return pytest.mark.parametrize("target", [each for _, each in found], ids=[where for where, _ in found])


@pytest.fixture
def ask(prometheus, elasticsearch):
    """Return what asks a panel's query for tenants."""

    def get(path, **parameters):
        return prometheus.get("http", path, **parameters)

    def search(body):
        elasticsearch.send("POST", "logs-theodore.*/_refresh")
        return elasticsearch.send("POST", "logs-theodore.*/_search", body)

    def answers(target, tenants):
        if target["datasource"]["type"] == "prometheus":
            return ask_prometheus(get, target, tenants, [SERVICE])
        return ask_elasticsearch(search, target, tenants, [SERVICE])

    return answers


@of("prometheus")
def test_a_query_of_prometheus_is_answered_with_what_was_sent(filled, ask, target):
    series = ask(target, TENANTS)
    if not any(name in target["expr"] for name in ELSEWHERE):
        values = [point[1] for each in series for point in each.get("values", [each.get("value")])]
        assert any(value not in (None, "NaN") for value in values), target["expr"]


@of("elasticsearch")
def test_a_query_of_elasticsearch_is_answered_with_what_was_sent(filled, ask, target):
    wait_for(lambda: ask(target, TENANTS), 20, otherwise=filled.said)


def test_what_was_added_is_exact_from_the_first_of_a_series_on(prometheus, filled, ask):
    """One run is counted as one, and the next one too, however long nothing happened between them."""
    (counted,) = (
        target for where, target in queries(BOARDS, "prometheus") if where == "overview / Companies researched A"
    )
    for total in (1, 2, 3):
        if total > 1:
            assert filled.send_spans([Span("research", RESEARCH)], "globex.1") == 200
        query = 'theodore_companies_researched_total{tenant="globex"}'
        wait_for(lambda: [each["value"][1] for each in prometheus.query(query)] == [str(total)], 20, filled.said)  # noqa: B023
        assert [each["value"][1] for each in ask(counted, ["globex"])] == [str(total)]


def test_no_query_shows_what_another_tenant_has(filled, ask):
    for kind in ("prometheus", "elasticsearch"):
        for where, target in queries(BOARDS, kind):
            if not where.startswith("pipeline"):
                assert [each for each in ask(target, ["nobody"]) if each.get("metric", each)] == [], where
