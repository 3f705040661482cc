"""Questions about what Theodore did: one interface over the places that hold its telemetry."""

from __future__ import annotations

from theodore_otel.query.model import (
    LEVELS,
    Event,
    FailedResearch,
    LogQuery,
    LogRecord,
    MetricQuery,
    MetricValue,
    SignalStatus,
    Source,
    Span,
    Status,
    Trace,
    TraceQuery,
    TraceSummary,
)

__all__ = [
    "LEVELS",
    "Event",
    "FailedResearch",
    "LogQuery",
    "LogRecord",
    "MetricQuery",
    "MetricValue",
    "SignalStatus",
    "Source",
    "Span",
    "Status",
    "Trace",
    "TraceQuery",
    "TraceSummary",
]
