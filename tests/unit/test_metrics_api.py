"""What `MetricsManager` records goes onto the span of the operation, or makes the one that is missing."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind, StatusCode
from watching import Observed, attributes

from theodore_otel.conventions import names
from theodore_otel.conventions.registry import metrics as registry
from theodore_otel.instrument import active, finished
from theodore_otel.telemetry.config import MetricsConfig
from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.performance import PerformanceMonitor
from theodore_otel.telemetry.tracing import TheodoreTracer, TracingManager

AI = ("openrouter", "m", "chat")


@pytest.fixture(autouse=True)
def nothing_ended_before(monkeypatch):
    monkeypatch.setattr(finished, "_latest", ContextVar("test", default=()))


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
def manager(observed) -> MetricsManager:
    return MetricsManager(tracing=TracingManager(tracer_provider=observed.provider))


@pytest.fixture
def tracer(manager) -> TheodoreTracer:
    return TheodoreTracer(manager.tracing)


def types(observed: Observed) -> list[str]:
    return [attributes(span)[names.OPERATION_TYPE] for span in observed.spans]


def test_what_no_span_covers_gets_one_with_the_measured_times(observed, manager):
    manager.record_ai_operation(*AI, 150, 2.5, 0.25, True)
    span = observed.only()
    assert (span.name, span.kind) == ("chat m", SpanKind.CLIENT)
    assert span.end_time - span.start_time == 2_500_000_000
    assert abs(span.end_time - time.time_ns()) < 60e9
    assert attributes(span) == {
        names.OPERATION_TYPE: "ai", names.GEN_AI_PROVIDER: "openrouter", names.GEN_AI_REQUEST_MODEL: "m",
        names.GEN_AI_OPERATION: "chat", names.AI_TOTAL_TOKENS: 150, names.AI_COST: 0.25, names.SUCCESS: True,
    }  # fmt: skip


def test_what_is_recorded_inside_the_operation_goes_onto_its_span(observed, manager, tracer):
    with tracer.trace_ai_operation(*AI):
        manager.record_ai_operation(*AI, 150, 2.5, 0.25, True, input_tokens=100, output_tokens=50)
    with tracer.trace_storage_operation("upsert"):
        manager.record_storage_operation("vector_storage", "upsert", False, 0.1, 2048)
    with tracer.trace_research_operation("ACME"):
        manager.record_company_research("ACME", "company_research", True, 9.0, 14)
    call, storage, research = observed.spans
    assert (attributes(call)[names.GEN_AI_INPUT_TOKENS], attributes(call)[names.AI_COST]) == (100, 0.25)
    assert (attributes(storage)[names.STORAGE_SIZE], storage.status.status_code) == (2048, StatusCode.ERROR)
    assert attributes(research)[names.RESEARCH_PAGES] == 14


def test_what_is_recorded_behind_the_operation_adds_what_is_new_and_nothing_else(observed, manager, tracer):
    start = time.time()
    with tracer.trace_ai_operation(*AI):
        time.sleep(0.01)
    manager.record_ai_operation(*AI, 150, time.time() - start, 0.25, True)
    assert types(observed) == ["ai", "addition"]
    added = attributes(observed.spans[1])
    assert (added[names.AI_TOTAL_TOKENS], added[names.AI_COST]) == (150, 0.25)

    start = time.time()
    with tracer.trace_ai_operation(*AI) as call:
        call.set_usage(100, 50, cost_usd=0.25)
    manager.record_ai_operation(*AI, 150, time.time() - start, 0.25, True)
    assert types(observed) == ["ai", "addition", "ai"]

    start = time.time()
    with tracer.trace_storage_operation("upsert"):
        pass
    manager.record_storage_operation("vector_storage", "upsert", True, time.time() - start, 10)
    with tracer.trace_research_operation("ACME"):
        pass
    manager.record_company_research("ACME", "company_research", True, time.time() - start, 14)
    assert types(observed)[3:] == ["storage", "research", "addition"]
    assert names.AI_COST not in attributes(observed.spans[-1])


def test_each_operation_is_taken_for_one_record_only(observed, manager, tracer):
    start = time.time()
    with tracer.trace_storage_operation("upsert"):
        pass
    for _ in range(2):
        manager.record_storage_operation("vector_storage", "upsert", True, time.time() - start)
    manager.record_storage_operation("vector_storage", "query", True, time.time() - start)
    assert types(observed) == ["storage"] * 3


def test_an_operation_that_ended_before_the_measured_time_is_another_one(observed, manager, tracer):
    with tracer.trace_storage_operation("upsert"):
        pass
    time.sleep(0.1)
    manager.record_storage_operation("vector_storage", "upsert", True, 0.01)
    assert types(observed) == ["storage", "storage"]


def test_failures_are_failed_spans(observed, manager):
    manager.record_ai_operation(*AI, 0, 1.0, 0.0, False)
    manager.record_company_research("ACME", "market", False, 1.0)
    manager.record_storage_operation("vector_storage", "upsert", False, 1.0)
    assert [attributes(span)[names.ERROR_TYPE] for span in observed.spans] == [
        "ai_failed", "research_failed", "storage_failed",
    ]  # fmt: skip
    assert {span.status.status_code for span in observed.spans} == {StatusCode.ERROR}


@pytest.mark.parametrize(
    ("request_", "failed"),
    [(("/companies/{id}", "get", 200), False), (("/x", "POST", 404), False), (("/x", "GET", 503), True)],
)
def test_a_request_is_a_server_span_by_its_route(observed, manager, request_, failed):
    endpoint, method, status = request_
    manager.record_request(*request_, 0.5)
    span = observed.only()
    assert (span.kind, span.status.status_code is StatusCode.ERROR) == (SpanKind.SERVER, failed)
    assert attributes(span).items() >= {
        names.HTTP_METHOD: method.upper(), names.HTTP_ROUTE: endpoint, names.HTTP_STATUS: status,
    }.items()  # fmt: skip


@pytest.mark.parametrize(("status", "success"), [(0, True), ("ok", True), (2, False), ("error", False)])
def test_a_command_is_a_span_of_its_own_kind(observed, manager, status, success):
    manager.record_request("research", "CLI", status, 0.5)
    found = attributes(observed.only())
    assert (found[names.COMMAND], found[names.SUCCESS]) == ("research", success)


def test_a_request_or_command_that_is_observed_already_is_not_counted_again(observed, manager):
    served = {names.HTTP_METHOD: "GET", names.HTTP_ROUTE: "/x"}
    with (
        observed.tracer.start_as_current_span("GET /x", kind=SpanKind.SERVER, attributes=served),
        observed.tracer.start_as_current_span("inside"),
    ):
        manager.record_request("/x", "GET", 200, 0.1)
    with observed.tracer.start_as_current_span("research", attributes={names.OPERATION_TYPE: "command"}):
        manager.record_request("research", "CLI", 0, 0.1)
    assert sorted(span.name for span in observed.spans) == ["GET /x", "inside", "research"]


def test_odd_numbers_do_not_raise(observed, manager):
    for odd in (None, "x", float("nan"), float("inf"), -1, 10**400, object()):
        manager.record_ai_operation(*AI, odd, odd, odd, True)  # type: ignore[arg-type]
        manager.record_request("/x", "GET", odd, odd)  # type: ignore[arg-type]
        manager.record_storage_operation("s", "o", True, odd, odd)  # type: ignore[arg-type]
        manager.record_company_research("c", "r", True, odd, odd)  # type: ignore[arg-type]
    assert len(observed.spans) == 28


def test_running_operations_are_reported_by_their_names_and_failures_counted(observed, manager, monkeypatch):
    monkeypatch.setattr(active, "_reported", False)
    reader = InMemoryMetricReader()
    manager.initialize(MeterProvider([reader]).get_meter("test"))

    def running() -> dict[str, float]:
        data = reader.get_metrics_data()
        (metric,) = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        wanted = registry()[names.METRIC_ACTIVE_OPERATIONS]
        assert (metric.name, metric.unit) == (wanted.name, wanted.unit)
        return {point.attributes["operation"]: point.value for point in metric.data.data_points}

    with pytest.raises(ValueError), manager.track_operation("nightly", region="eu"):
        with manager.track_operation("nightly"):
            assert running()["nightly"] == 2
        raise ValueError("x")
    assert running()["nightly"] == 0
    failed = observed.spans[1]
    assert attributes(failed).items() >= {names.OPERATION_TYPE: "operation", "region": "eu"}.items()
    assert failed.status.status_code is StatusCode.ERROR


def test_what_is_switched_off_records_nothing(observed):
    manager = MetricsManager(MetricsConfig(enabled=False), TracingManager(tracer_provider=observed.provider))
    manager.record_ai_operation(*AI, 1, 1.0, 1.0, True)
    manager.record_request("/x", "GET", 200, 0.1)
    with manager.track_operation("x"):
        pass
    assert [attributes(span) for span in observed.spans] == [{names.SUCCESS: True}]


MONITORED = {
    "ai": lambda monitor: monitor.monitor_ai_performance("openrouter", "m", "chat", 100),
    "scraping": lambda monitor: monitor.monitor_scraping_performance("https://acme.example/"),
    "storage": lambda monitor: monitor.monitor_storage_performance("upsert"),
    "research": lambda monitor: monitor.monitor_research_performance("ACME"),
}


@pytest.mark.parametrize("kind", MONITORED)
def test_an_operation_above_its_threshold_is_told_as_a_warning(observed, manager, caplog, kind):
    with caplog.at_level(logging.INFO):
        with MONITORED[kind](PerformanceMonitor(manager)):
            pass
        with MONITORED[kind](PerformanceMonitor(manager, {kind: 0.0})):
            pass
    records = [record for record in caplog.records if "took" in record.getMessage()]
    assert [record.levelno for record in records] == [logging.INFO, logging.WARNING]
    assert types(observed) == [kind, kind]


def test_the_thresholds_are_those_that_are_documented(manager):
    monitor = PerformanceMonitor(manager)
    assert monitor._thresholds == {"ai": 30.0, "scraping": 60.0, "storage": 5.0, "research": 120.0}
    with pytest.raises(ValueError, match="expected thresholds of ai, scraping, storage, research, got 'disk'"):
        PerformanceMonitor(manager, {"disk": 1.0})


def test_a_monitored_operation_around_a_traced_one_is_one(observed, manager, tracer):
    with PerformanceMonitor(manager).monitor_ai_performance(*AI):
        with tracer.trace_ai_operation(*AI) as call:
            call.set_usage(1, 2)
        manager.record_ai_operation(*AI, 3, 0.1, 0.5, True)
    found = attributes(observed.only())
    assert (found[names.GEN_AI_INPUT_TOKENS], found[names.AI_COST]) == (1, 0.5)
    assert names.AI_TOTAL_TOKENS not in found
