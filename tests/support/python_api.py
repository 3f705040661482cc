"""Everything the Python API can record, and what has to be counted of it."""

from __future__ import annotations

import time

from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.performance import PerformanceMonitor
from theodore_otel.telemetry.tracing import TheodoreTracer

AI = ("openrouter", "m", "chat")
OF_AI = {"provider": "openrouter", "model": "m", "operation": "chat", "success": "true"}
OF_RESEARCH = {"research_type": "company_research", "success": "true"}
OF_STORAGE = {"storage_type": "vector_storage", "operation": "upsert", "success": "true"}


def use(metrics: MetricsManager) -> None:
    """Do each thing in every way in which a program may tell of it."""
    tracer, monitor = TheodoreTracer(metrics.tracing), PerformanceMonitor(metrics)
    metrics.record_ai_operation(*AI, 100, 1.0, 0.5, True)
    with tracer.trace_ai_operation(*AI) as call:
        call.set_usage(70, 30, cost_usd=0.5)
        metrics.record_ai_operation(*AI, 100, 1.0, 0.5, True)
    start = time.time()
    with monitor.monitor_ai_performance(*AI), tracer.trace_ai_operation(*AI):
        time.sleep(0.001)
    metrics.record_ai_operation(*AI, 100, time.time() - start, 0.5, True)

    metrics.record_company_research("ACME", "company_research", True, 60.0, 10)
    start = time.time()
    with tracer.trace_research_operation("Globex"):
        time.sleep(0.001)
    metrics.record_company_research("Globex", "company_research", True, time.time() - start, 10)
    with tracer.trace_research_operation("Initech") as research:
        research.set_pages(10)
        metrics.record_company_research("Initech", "company_research", True, 0.1, 10)

    metrics.record_storage_operation("vector_storage", "upsert", True, 0.1, 10)
    with tracer.trace_storage_operation("upsert"):
        metrics.record_storage_operation("vector_storage", "upsert", True, 0.1, 10)

    metrics.record_request("/companies/{id}", "GET", 200, 0.1)
    metrics.record_request("research", "CLI", 0, 0.1)
    metrics.record_similarity_calculation()
    metrics.record_request("/companies/{id}", "GET", 500, 0.1)
    metrics.record_ai_operation(*AI, 0, 1.0, 0.0, False)
    metrics.record_storage_operation("vector_storage", "upsert", False, 0.1)
    with metrics.track_operation("nightly") as nightly:
        nightly.fail("no time")


WANTED = [
    ("theodore_requests_total", {"endpoint": "/companies/{id}", "method": "GET", "status_code": "200"}, 1),
    ("theodore_requests_total", {"endpoint": "/companies/{id}", "method": "GET", "status_code": "500"}, 1),
    ("theodore_requests_total", {"endpoint": "research", "method": "CLI", "status_code": "ok"}, 1),
    ("theodore_request_duration_seconds_count", {"endpoint": "/companies/{id}", "method": "GET"}, 2),
    ("theodore_errors_total", {"error_type": "http_error"}, 1),
    ("theodore_errors_total", {"error_type": "ai_operation_failure"}, 1),
    ("theodore_errors_total", {"error_type": "storage_failure"}, 1),
    ("theodore_errors_total", {"error_type": "operation_failure"}, 1),
    ("theodore_ai_tokens_total", OF_AI, 300),
    ("theodore_ai_cost_total", OF_AI, 1.5),
    ("theodore_ai_operation_duration_seconds_count", OF_AI, 3),
    ("theodore_ai_operation_duration_seconds_count", {**OF_AI, "success": "false"}, 1),
    ("theodore_companies_researched_total", OF_RESEARCH, 3),
    ("theodore_scraping_pages_total", {"research_type": "company_research"}, 30),
    ("theodore_storage_operations_total", OF_STORAGE, 2),
    ("theodore_storage_operations_total", {**OF_STORAGE, "success": "false"}, 1),
    ("theodore_similarity_calculations_total", {}, 1),
]
