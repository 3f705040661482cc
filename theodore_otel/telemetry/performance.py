"""Operations that are told of when they are slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theodore_otel.telemetry.levels import LogCategory
from theodore_otel.telemetry.logger import TheodoreLogger
from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.operations import After, Helper
from theodore_otel.telemetry.thresholds import SECONDS
from theodore_otel.telemetry.tracing import TheodoreTracer


class PerformanceMonitor:
    """The operations of `TheodoreTracer`, each with a performance record when it ends: WARN above its threshold.

    The thresholds in seconds are 30 for model calls, 60 for scraping, 5 for storage and 120 for research;
    `thresholds` changes single ones, such as `{"ai": 10.0}`. Inside an operation that is the same, no second span is
    made. Raises ValueError for a threshold of what is none of these.
    """

    def __init__(self, manager: MetricsManager | None = None, thresholds: Mapping[str, float] | None = None) -> None:
        """`manager` makes the spans that are counted."""
        unknown = sorted(set(thresholds or {}) - set(SECONDS))
        if unknown:
            raise ValueError(f"expected thresholds of {', '.join(SECONDS)}, got {unknown[0]!r}")
        manager = manager or MetricsManager()
        self._tracer = TheodoreTracer(manager.tracing)
        self._thresholds = {**SECONDS, **(thresholds or {})}
        self._logger = TheodoreLogger("performance", LogCategory.PERFORMANCE)

    def monitor_ai_performance(
        self, provider: str, model: str, operation: str, estimated_tokens: int | None = None
    ) -> Helper:
        """Return one call of a language model."""
        after = self._after("ai", operation, provider=provider, model=model, estimated_tokens=estimated_tokens)
        return self._tracer.trace_ai_operation(provider, model, operation, estimated_tokens, after=after)

    def monitor_scraping_performance(self, url: str, scraper_type: str = "intelligent_scraper") -> Helper:
        """Return the scraping of one URL."""
        after = self._after("scraping", scraper_type, url=url)
        return self._tracer.trace_scraping_operation(url, scraper_type, after=after)

    def monitor_storage_performance(self, operation: str, storage_type: str = "vector_storage") -> Helper:
        """Return one operation of a store."""
        after = self._after("storage", operation, storage_type=storage_type)
        return self._tracer.trace_storage_operation(operation, storage_type, after=after)

    def monitor_research_performance(self, company_name: str, operation_type: str = "company_research") -> Helper:
        """Return the research of one company."""
        after = self._after("research", operation_type, company=company_name)
        return self._tracer.trace_research_operation(company_name, operation_type, after=after)

    def _after(self, kind: str, operation: str, **context: Any) -> After:
        limit = self._thresholds[kind] * 1000
        told = {key: value for key, value in context.items() if value is not None}

        def tell(seconds: float) -> None:
            self._logger.performance(f"{kind}.{operation}", round(seconds * 1000, 3), threshold_ms=limit, **told)

        return tell
