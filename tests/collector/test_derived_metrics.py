"""What commands and requests count is derived from their spans, before sampling, under the registry's names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.collector import Collector, Span, running, wait_for

from theodore_otel.conventions import names
from theodore_otel.conventions.registry import metrics

CONFIGURATION = {
    "profile": "local",
    "tracing": {"sampling": {"rate": 0.0}},
    "tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}},
    "destinations": {"scrape": {"type": "prometheus"}},
}
AI = {
    names.OPERATION_TYPE: "ai", names.GEN_AI_PROVIDER: "openrouter", names.GEN_AI_REQUEST_MODEL: "m",
    names.GEN_AI_OPERATION: "chat", names.GEN_AI_INPUT_TOKENS: 100, names.GEN_AI_OUTPUT_TOKENS: 7,
    names.AI_COST: 0.25, names.SUCCESS: True,
}  # fmt: skip
COMMAND = {names.OPERATION_TYPE: "command", names.COMMAND: "research", names.SUCCESS: True}
RESEARCH = {
    names.OPERATION_TYPE: "research", names.RESEARCH_TYPE: "company_research", names.RESEARCH_PAGES: 10,
    names.COMPANY_NAME: "ACME", names.SUCCESS: True,
}  # fmt: skip
STORAGE = {
    names.OPERATION_TYPE: "storage", names.STORAGE_TYPE: "vector_storage", names.STORAGE_OPERATION: "upsert",
    names.SUCCESS: True,
}  # fmt: skip
HTTP = {names.HTTP_METHOD: "GET", names.HTTP_ROUTE: "/companies/{id}", names.HTTP_STATUS: 503}
OWN = 'service="theodore-v2"'


@pytest.fixture
def collector(tmp_path):
    with running(tmp_path, CONFIGURATION, ["acme", "globex", "svc-api"]) as started:
        yield started


def values(collector: Collector, name: str) -> dict[str, float]:
    return {series: value for series, value in collector.prometheus().items() if series.startswith(name + "{")}


def test_every_metric_derived_from_spans_or_logs_arrives_under_its_registered_name_and_labels(collector):
    failed = {names.SUCCESS: False}
    spans = [
        Span("research", COMMAND), Span("research", {**COMMAND, **failed}, error=True),
        Span("GET", HTTP, kind=2, error=True), Span("chat m", AI, kind=3), Span("chat m", {**AI, **failed}, error=True),
        Span("r", RESEARCH), Span("r", {**RESEARCH, **failed}, error=True), Span("s", STORAGE),
        Span("s", {**STORAGE, **failed}, error=True), Span("sim", {names.OPERATION_TYPE: "similarity"}),
    ]  # fmt: skip
    collector.send_spans(spans, "acme.1")
    collector.send_logs([(9, "x", {}), (21, "y", {names.CATEGORY: "security"})], "acme.1")
    derived = [metric for metric in metrics().values() if metric.source in ("spans", "logs")]

    def missing() -> list[str]:
        series = collector.prometheus()
        heads = [m.prometheus + ("_count" if m.type == "histogram" else "") for m in derived]
        return [head for head in heads if not any(s.startswith(head + "{") for s in series)]

    wait_for(lambda: not missing(), otherwise=missing)
    series = collector.prometheus()
    for metric in derived:
        for name in (s for s in series if s.startswith(metric.prometheus + "{")):
            labels = {part.split("=")[0] for part in name.partition("{")[2].rstrip("}").split('",')}
            assert labels == {*metric.labels, "tenant", "service"}, name
    assert (
        series[f'theodore_requests_total{{endpoint="research",method="CLI",{OWN},status_code="error",tenant="acme"}}']
        == 1
    )
    assert (
        series[
            f'theodore_requests_total{{endpoint="/companies/{{id}}",method="GET",{OWN},status_code="503",tenant="acme"}}'
        ]
        == 1
    )
    assert series[f'theodore_scraping_pages_total{{research_type="company_research",{OWN},tenant="acme"}}'] == 20
    kinds = {s.partition('error_type="')[2].partition('"')[0] for s in values(collector, "theodore_errors_total")}
    assert kinds == {"http_error", "ai_operation_failure", "storage_failure", "operation_failure"}
    assert not [name for name in series if "ACME" in name]


def test_twenty_short_runs_at_once_add_up_and_make_no_new_series(collector):
    def run(number: int) -> None:
        collector.send_spans(
            [Span("research", COMMAND), Span("chat m", AI, kind=3)], "acme.1", {"service.instance.id": str(number)}
        )

    tokens = "theodore_ai_tokens_total"
    run(0)
    wait_for(lambda: len(values(collector, tokens)) == 1, otherwise=collector.prometheus)
    before = set(collector.prometheus())
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(run, range(1, 21)))
    wait_for(lambda: sum(values(collector, tokens).values()) == 21 * 107, otherwise=lambda: values(collector, tokens))
    assert sum(values(collector, "theodore_ai_cost_total").values()) == pytest.approx(21 * 0.25)
    assert set(collector.prometheus()) == before


def test_one_service_process_counts_for_each_of_its_tenants(collector):
    collector.send_spans(
        [Span("chat m", {**AI, "tenant.id": name}) for name in ("acme", "acme", "globex")], "svc-api.1"
    )
    series = "theodore_ai_tokens_total"
    wait_for(lambda: len(values(collector, series)) == 2, otherwise=collector.prometheus)
    by_tenant = {"acme" if 'tenant="acme"' in name else "globex": v for name, v in values(collector, series).items()}
    assert by_tenant == {"acme": 214, "globex": 107}


def test_counting_does_not_depend_on_sampling(collector):
    collector.send_spans([Span("chat m", AI, kind=3) for _ in range(50)], "acme.1")
    wait_for(lambda: sum(values(collector, "theodore_ai_tokens_total").values()) == 50 * 107)
    assert collector.spans() == []


def test_a_span_with_half_its_usage_or_wrong_types_does_not_stop_the_batch(collector):
    odd = [{**AI, names.GEN_AI_INPUT_TOKENS: "many"}, {names.OPERATION_TYPE: "ai", names.GEN_AI_INPUT_TOKENS: 5}]
    odd += [{**RESEARCH, names.RESEARCH_PAGES: "ten"}, {names.OPERATION_TYPE: 7}, {**COMMAND, names.SUCCESS: "maybe"}]
    assert collector.send_spans([*(Span("odd", attributes) for attributes in odd), Span("chat", AI)], "acme.1") == 200
    wait_for(lambda: sum(values(collector, "theodore_ai_tokens_total").values()) == 107)
