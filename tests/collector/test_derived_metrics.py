"""What commands and requests count is derived from their spans, before sampling, under the registry's names."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Collector, Span, fill, running, wait_for

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
    business = {names.BUSINESS_METRIC: "companies", names.BUSINESS_VALUE: 3.0, names.BUSINESS_UNIT: "count"}
    collector.send_logs([(9, "x", {}), (21, "y", {names.CATEGORY: "security"}), (9, "b", business)], "acme.1")
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
    assert series[f'theodore_business_value_sum{{metric="companies",{OWN},tenant="acme",unit="count"}}'] == 3
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


def counted_series(collector: Collector) -> set[str]:
    """Return every series but those of what the collector watches."""
    return {name for name in collector.prometheus() if not name.startswith("theodore_health_up")}


def dropped(collector: Collector) -> dict[str, float]:
    """Return the points that were not added up, by the reason."""
    series = collector.prometheus("telemetry")
    return {name: v for name, v in series.items() if name.startswith("otelcol_deltatocumulative") and "error=" in name}


@pytest.mark.parametrize("together", [20, 200])
def test_short_runs_at_once_add_up_every_time_and_make_no_new_series(tmp_path, together):
    rounds, tokens, tenants = 8, "theodore_ai_tokens_total", ("acme", "globex", "initech")
    configuration = {**CONFIGURATION, "tenants": {"list": {"initech": {"isolation": "dedicated"}}}}
    start = threading.Barrier(together)

    def run(number: int) -> None:
        start.wait()
        resource = {"service.instance.id": str(number), "process.pid": number}
        spans = [Span("research", COMMAND), Span("chat m", AI, kind=3)]
        assert collector.send_spans(spans, f"{tenants[number % 3]}.1", resource) == 200

    def counted() -> tuple[float, ...]:
        series = collector.prometheus()
        names_of = (
            tokens,
            "theodore_ai_cost_total",
            "theodore_requests_total",
            "theodore_ai_operation_duration_seconds_count",
        )
        return tuple(sum(v for name, v in series.items() if name.startswith(each + "{")) for each in names_of)

    def told() -> object:
        return counted(), wanted, dropped(collector)

    with running(tmp_path, configuration, tenants) as collector, ThreadPoolExecutor(together) as pool:
        known: set[str] = set()
        for done in range(1, rounds + 1):
            list(pool.map(run, range(together)))
            runs = done * together
            wanted = (runs * 107, runs * 0.25, runs, runs)
            wait_for(lambda wanted=wanted: counted() == wanted, otherwise=told)
            known = known or counted_series(collector)
        # What is counted now comes after everything that was under way.
        collector.send_spans([Span("chat m", AI, kind=3)], "acme.1")
        wait_for(lambda: counted()[0] > wanted[0])
        assert counted() == (wanted[0] + 107, wanted[1] + 0.25, wanted[2], wanted[3] + 1)
        assert counted_series(collector) == known
        assert not dropped(collector)


def test_the_limit_of_series_holds_back_new_ones_and_leaves_the_others_alone(tmp_path):
    def command(name: str, tenant: str) -> None:
        collector.send_spans([Span("c", {**COMMAND, names.COMMAND: name})], f"{tenant}.1")

    def count(name: str, tenant: str) -> float:
        wanted = f'theodore_requests_total{{endpoint="{name}",method="CLI",{OWN},status_code="ok",tenant="{tenant}"}}'
        return collector.prometheus().get(wanted, 0)

    with running(tmp_path, {**CONFIGURATION, "collector": {"max_series": 100}}, ["acme", "globex"]) as collector:
        command("steady", "acme")
        command("steady", "globex")
        wait_for(lambda: count("steady", "acme") == count("steady", "globex") == 1)
        collector.send_spans([Span("c", {**COMMAND, names.COMMAND: f"flood {n}"}) for n in range(300)], "acme.1")
        wait_for(lambda: dropped(collector), otherwise=collector.prometheus)
        for _ in range(5):
            command("steady", "acme")
            command("steady", "globex")
            command("new", "globex")
        wait_for(lambda: count("steady", "acme") == count("steady", "globex") == 6, otherwise=collector.prometheus)
        assert count("new", "globex") == 0
        # A command is two series: a counter and a histogram.
        series = [name for name in collector.prometheus() if name.startswith("theodore_requests_total{")]
        durations = [n for n in collector.prometheus() if n.startswith("theodore_request_duration_seconds_count{")]
        assert len(series) + len(durations) == 100
        # The new one was sent five times; what was counted together is one point for each of its series.
        least = 2 * (300 + 2) - 100 + 2
        wait_for(
            lambda: least <= sum(dropped(collector).values()) <= least + 2 * 4, otherwise=lambda: dropped(collector)
        )
        assert ['error="limit"' in name for name in dropped(collector)] == [True]


def test_only_listed_attributes_become_labels(collector):
    more = {f"attribute.{number}": os.urandom(8).hex() for number in range(20)}
    more |= {
        "endpoint": "forged",
        "le": "1",
        "job": "forged",
        "instance": "forged",
        "__name__": "forged",
        "tenant": "x",
    }
    for attributes in (COMMAND, AI, RESEARCH, STORAGE, HTTP):
        collector.send_spans([Span("s", {**attributes, **more}, kind=2)] * 3, "acme.1", {"customer": "x", "job": "y"})
    collector.send_logs([(9, "x", more)] * 3, "acme.1", more)
    for series in ("theodore_log_records_total", "theodore_requests_total", "theodore_storage_operations_total"):
        wait_for(lambda name=series: sum(values(collector, name).values()) >= 3)
    known = {label for metric in metrics().values() for label in metric.labels} | {"tenant", "service", "le"}
    for series in collector.prometheus():
        if series.startswith("theodore_"):
            labels = {part.split("=")[0] for part in series.partition("{")[2].rstrip("}").split('",')}
            assert labels <= known, series
            assert "forged" not in series


ODD = {
    "newline": "a\nb", "quote": 'a"b', "backslash": "a\\", "long": "x" * 10_240, "empty": "", "control": "a\x00\x07b",
    "unicode": "\u202e\U0001f680 \u6f22", "number": 7, "boolean": True, "list": ["a", "b"], "mapping": {"a": 1},
    "bytes": b"\xff", "braces": '{le="1"} 5',
}  # fmt: skip


def test_odd_values_of_labels_do_not_break_what_is_scraped(collector):
    for value in ODD.values():
        collector.send_spans([Span("c", {**COMMAND, names.COMMAND: value})], "acme.1")
    broken = ExportTraceServiceRequest()
    group = broken.resource_spans.add()
    fill(group.resource.attributes, {"service.name": "theodore-v2"})
    fill(group.scope_spans.add().spans.add(name="c").attributes, {**COMMAND, names.COMMAND: "QQQQ"})
    # Not UTF-8: no library writes that, but a client can. It is counted under a mended label.
    assert collector.post("traces", broken.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xc3("), "acme.1") == 200
    collector.send_spans([Span("c", COMMAND)], "globex.1")
    wanted = f'theodore_requests_total{{endpoint="research",method="CLI",{OWN},status_code="ok",tenant="globex"}}'
    wait_for(lambda: collector.prometheus().get(wanted) == 1, otherwise=collector.prometheus)
    wait_for(lambda: sum(values(collector, "theodore_requests_total").values()) == len(ODD) + 2)


def test_a_number_that_would_spoil_a_total_is_not_added_up(collector):
    spoiled = [
        *({names.AI_COST: cost} for cost in (-1.0, math.nan, math.inf, -math.inf, 1e300)),
        *({names.GEN_AI_INPUT_TOKENS: number} for number in (-5, 2**63 - 1, -(2**63))),
    ]
    collector.send_spans([Span("chat", {**AI, **attributes}) for attributes in spoiled], "acme.1")
    collector.send_spans(
        [Span("r", {**RESEARCH, names.RESEARCH_PAGES: -10}), Span("c", COMMAND, seconds=-60)], "acme.1"
    )
    collector.send_spans([Span("r", RESEARCH), Span("c", COMMAND)], "acme.1")
    totals = {
        "theodore_ai_cost_total": 3 * 0.25,
        "theodore_ai_tokens_total": 5 * 107,
        "theodore_scraping_pages_total": 10,
    }
    for name, total in totals.items():
        wait_for(lambda n=name, t=total: sum(values(collector, n).values()) == t, otherwise=collector.prometheus)
    wait_for(lambda: sum(values(collector, "theodore_requests_total").values()) == 2)
    (took,) = values(collector, "theodore_request_duration_seconds_sum").values()
    assert took >= 0


def spellings() -> Iterator[tuple[str, str]]:
    """Return names and units of which Prometheus makes the name of a metric that is counted here, or one below it."""
    for metric in metrics().values():
        if metric.source == "process":
            continue
        words = metric.name.replace("_", ".").split(".")
        yield metric.name, metric.unit
        yield metric.name, "By"
        yield metric.prometheus, ""
        yield metric.prometheus.removesuffix("_total"), ""
        yield metric.prometheus + "_bucket", ""
        yield metric.prometheus + "_sum", ""
        yield "/".join(words), ""
        yield "__" + "..".join(words) + "--", "{x}"
        yield ".".join(words[:-1]), words[-1]
        yield words[0], "_".join(words[1:])
        yield "total." + ".total.".join(words), ""


def test_what_is_counted_here_cannot_be_sent_under_any_spelling_or_type(collector):
    def send(name: str, unit: str, kind: str, marker: str) -> None:
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        fill(group.resource.attributes, {"service.name": "theodore-v2"})
        metric = group.scope_metrics.add().metrics.add(name=name, unit=unit)
        made = getattr(metric, kind)
        fill(made.data_points.add(time_unix_nano=time.time_ns()).attributes, {"marker": marker})
        if kind != "gauge":
            made.aggregation_temporality = 2
        if kind == "sum":
            made.is_monotonic = True
        assert collector.post("metrics", request.SerializeToString(), "acme.1") == 200

    for name, unit in spellings():
        for kind in ("gauge", "sum", "histogram"):
            send(name, unit, kind, "forged")
    # Of a metric that the process reports, the first to send it would decide the type for all tenants.
    for name in ("theodore.active_operations", "theodore_active_operations"):
        send(name, "{operation}", "histogram", "forged")
    allowed = (
        "theodore.requester",
        "theodore.active_operations",
        "theodores.requests",
        "own.theodore.requests",
        "requests",
    )
    for name in allowed:
        send(name, "", "gauge", f"allowed {name}")
    collector.send_spans([Span("c", COMMAND)], "globex.1")
    found = wait_for(lambda: [s for name in allowed for s in collector.prometheus() if f"allowed {name}" in s], 20)
    wait_for(lambda: all(any(f"allowed {name}" in s for s in collector.prometheus()) for name in allowed), 20)
    wait_for(lambda: sum(values(collector, "theodore_requests_total").values()) == 1, otherwise=collector.prometheus)
    assert found
    assert "forged" not in str(collector.prometheus())
    assert "forged" not in str(collector.received("metrics"))


def test_points_that_no_library_makes_do_not_end_the_collector(collector):
    def send(build: str, temporality: int, **point: object) -> None:
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add()
        fill(group.resource.attributes, {"service.name": "theodore-v2"})
        metric = group.scope_metrics.add().metrics.add(name="evil")
        kind = getattr(metric, build)
        kind.aggregation_temporality = temporality
        made = kind.data_points.add(count=3, sum=2, time_unix_nano=time.time_ns(), **point)
        # A series of its own, or adding up with the one before.
        fill(made.attributes, {"number": os.urandom(4).hex()} if temporality == 2 else {})
        if build == "exponential_histogram":
            made.positive.bucket_counts.extend([1, 2])
        assert collector.post("metrics", request.SerializeToString(), "acme.1") == 200

    for temporality in (1, 2):
        for bounds, counts in (([1, 2], []), ([1, 2], [1]), ([], [1, 2]), ([1], [1, 2, 3]), ([2, 1], [1, 1, 1])):
            send("histogram", temporality, explicit_bounds=bounds, bucket_counts=counts)
        for scale in (2**31 - 1, -(2**31), 20, -11, 0):
            send("exponential_histogram", temporality, scale=scale)
    collector.send_spans([Span("c", COMMAND)], "globex.1")
    wait_for(lambda: sum(values(collector, "theodore_requests_total").values()) == 1)


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
