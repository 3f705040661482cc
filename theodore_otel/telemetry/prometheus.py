"""An endpoint in this process that a Prometheus fetches, for long-lived services without a collector in between.

It counts from the spans of this process as the collector does, under the same names and labels. Fetch one of the two: a
Prometheus that fetches both sees everything twice. Needs `theodore-otel[prometheus]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from theodore_otel.conventions import names
from theodore_otel.instrument import active

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

Measured = tuple[str, dict[str, str], float]
"""A metric, its labels and what is added."""

_ERRORS: Final = {
    "ai": "ai_operation_failure",
    "storage": "storage_failure",
    "research": "operation_failure",
    "operation": "operation_failure",
}
_LABELS: Final = {
    "ai": {"provider": names.GEN_AI_PROVIDER, "model": names.GEN_AI_REQUEST_MODEL, "operation": names.GEN_AI_OPERATION},
    "research": {"research_type": names.RESEARCH_TYPE},
    "storage": {"storage_type": names.STORAGE_TYPE, "operation": names.STORAGE_OPERATION},
}
_COUNTED: Final = {
    "research": names.METRIC_COMPANIES_RESEARCHED,
    "storage": names.METRIC_STORAGE_OPERATIONS,
}
_REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OPERATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)


class Endpoint:
    """The endpoint while it runs."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, service: str = "theodore-v2") -> None:
        """Listen on a port of this host, 0 for any. Raises ImportError without the extra, OSError when it is taken."""
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
        self._provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
        meter = self._provider.get_meter("theodore_otel")
        self.processor = SpanMetrics(meter, service)
        active.show(meter, {"service": service})
        self._server, self._thread = start_http_server(port, host, registry)
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._provider.shutdown()


class SpanMetrics(SpanProcessor):
    """Counts ended spans."""

    def __init__(self, meter: Meter, service: str) -> None:
        """Make the instruments; `service` is a label of each."""
        self._service = service
        counters = {
            names.METRIC_REQUESTS: "{request}",
            names.METRIC_ERRORS: "{error}",
            names.METRIC_AI_TOKENS: "{token}",
            names.METRIC_AI_COST: "{USD}",
            names.METRIC_COMPANIES_RESEARCHED: "{company}",
            names.METRIC_STORAGE_OPERATIONS: "{operation}",
            names.METRIC_SCRAPING_PAGES: "{page}",
            names.METRIC_SIMILARITY_CALCULATIONS: "{calculation}",
        }
        self._counters = {name: meter.create_counter(name, unit) for name, unit in counters.items()}
        buckets = {
            names.METRIC_REQUEST_DURATION: _REQUEST_BUCKETS,
            names.METRIC_AI_OPERATION_DURATION: _OPERATION_BUCKETS,
        }
        self._histograms = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=bounds)
            for name, bounds in buckets.items()
        }

    def on_end(self, span: ReadableSpan) -> None:
        """Count one span."""
        with suppress(Exception):  # counting must never break what is counted
            attributes = span.attributes or {}
            always = {"service": self._service}
            if tenant := attributes.get(names.TENANT_ID):
                always["tenant"] = str(tenant)
            for name, labels, value in measured(span, attributes):
                if name in self._counters:
                    self._counters[name].add(value, {**labels, **always})
                else:
                    self._histograms[name].record(value, {**labels, **always})


def measured(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[Measured]:
    """Give what one span counts, as templates/collector/_derived.yaml.j2 has it."""
    kind = attributes.get(names.OPERATION_TYPE)
    failed = span.status.status_code is StatusCode.ERROR
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    if kind == "command":
        labels = {"endpoint": str(attributes.get(names.COMMAND)), "method": "CLI"}
        status = "ok" if attributes.get(names.SUCCESS, True) else "error"
        yield from _request(labels, status, seconds)
    elif span.kind is SpanKind.SERVER and names.HTTP_METHOD in attributes:
        endpoint = str(attributes.get(names.HTTP_ROUTE, "unknown"))
        labels = {"endpoint": endpoint, "method": str(attributes[names.HTTP_METHOD])}
        yield from _request(labels, str(attributes.get(names.HTTP_STATUS, 0)), seconds)
        if failed:
            yield names.METRIC_ERRORS, {"error_type": "http_error"}, 1
    if failed and kind in _ERRORS:
        yield names.METRIC_ERRORS, {"error_type": _ERRORS[kind]}, 1
    yield from _operation(str(kind), attributes, seconds)


def _request(labels: dict[str, str], status: str, seconds: float) -> Iterator[Measured]:
    yield names.METRIC_REQUESTS, {**labels, "status_code": status}, 1
    yield names.METRIC_REQUEST_DURATION, labels, max(0.0, seconds)


def _operation(kind: str, attributes: Mapping[str, Any], seconds: float) -> Iterator[Measured]:
    if kind == "similarity":
        yield names.METRIC_SIMILARITY_CALCULATIONS, {}, 1
    if kind in _COUNTED:
        yield _COUNTED[kind], _labels(kind, attributes), 1
    if kind in ("research", "addition") and (pages := _number(attributes, names.RESEARCH_PAGES)):
        labels = _labels("research", attributes)
        yield names.METRIC_SCRAPING_PAGES, {"research_type": labels["research_type"]}, pages
    if kind in ("ai", "addition") and names.GEN_AI_OPERATION in attributes:
        labels = _labels("ai", attributes)
        parts = [_number(attributes, name) for name in (names.GEN_AI_INPUT_TOKENS, names.GEN_AI_OUTPUT_TOKENS)]
        if tokens := sum(parts) or _number(attributes, names.AI_TOTAL_TOKENS):
            yield names.METRIC_AI_TOKENS, labels, tokens
        if cost := _number(attributes, names.AI_COST):
            yield names.METRIC_AI_COST, labels, cost
        if kind == "ai":
            yield names.METRIC_AI_OPERATION_DURATION, labels, max(0.0, seconds)


def _labels(kind: str, attributes: Mapping[str, Any]) -> dict[str, str]:
    found = {label: str(attributes.get(name, "unknown")) for label, name in _LABELS[kind].items()}
    return {**found, "success": str(bool(attributes.get(names.SUCCESS, True))).lower()}


def _number(attributes: Mapping[str, Any], name: str) -> float:
    """Return what can be added up; 0 where there is nothing, or what would spoil a total."""
    value = attributes.get(name)
    return value if isinstance(value, int | float) and 0 <= value < 1e9 else 0
