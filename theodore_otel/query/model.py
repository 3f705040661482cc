"""What can be asked about Theodore, and what the answers look like, whichever program holds the telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# All times are nanoseconds since 1970 in UTC: what OTLP says, without loss.

LEVELS = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "CRITICAL": 21}
"""Log levels and the least OpenTelemetry severity number of each."""


@dataclass(frozen=True)
class TraceQuery:
    """Which traces are wanted; the newest come first."""

    since: int | None = None
    until: int | None = None
    tenant: str | None = None
    status: str | None = None
    """`ok`, `error` or `incomplete`."""
    company: str | None = None
    """Part of a company's name, whatever its case."""
    limit: int = 20


@dataclass(frozen=True)
class TraceSummary:
    """One trace in a list."""

    trace_id: str
    time: int
    tenant: str | None
    service: str | None
    name: str
    company: str | None
    status: str
    """`error` when the root or a research in it failed, `incomplete` when its root never came, else `ok`."""
    error: str | None
    """That of the outermost operation that failed."""
    reason: str | None
    """Why it is incomplete."""
    duration_ns: int
    spans: int
    errors: int
    """Spans with status error, wherever they stand."""
    tokens: int
    cost_usd: float | None
    """None when a model call's cost is not known."""
    correlation_id: str | None


@dataclass(frozen=True)
class Event:
    """Something that happened within a span, such as an exception."""

    time: int
    name: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One operation."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    time: int
    duration_ns: int
    status: str
    """unset, ok or error."""
    status_message: str | None
    tenant: str | None
    service: str | None
    component: str | None
    correlation_id: str | None
    operation: str | None
    """`theodore.operation.type`: command, research, phase, ai ..."""
    company: str | None
    model: str | None
    error_type: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Event] = ()

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None when it did not."""
        if self.status != "error":
            return None
        for event in reversed(self.events):
            kind, message = (event.attributes.get(f"exception.{part}") for part in ("type", "message"))
            if kind:
                return f"{kind}: {message}" if message else str(kind)
        return self.status_message or self.error_type or "failed"


@dataclass(frozen=True)
class Trace:
    """All spans of one trace, in the order in which they began."""

    trace_id: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class LogQuery:
    """Which log records are wanted; the newest `limit` of them, oldest first."""

    since: int | None = None
    until: int | None = None
    level: str | None = None
    """The least severe level wanted, one of LEVELS."""
    component: str | None = None
    tenant: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    search: str | None = None
    """Text that stands in the message or in an attribute, whatever its case."""
    limit: int | None = 200


@dataclass(frozen=True)
class LogRecord:
    """One log record."""

    time: int
    level: str
    tenant: str | None
    service: str | None
    component: str | None
    category: str | None
    message: str
    trace_id: str | None
    span_id: str | None
    correlation_id: str | None
    user_id: str | None
    logger: str | None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricQuery:
    """Which metrics are wanted over which time, and by which labels they are told apart."""

    since: int
    until: int
    names: Sequence[str] = ()
    """Instrument names such as `theodore.ai.tokens`; all when empty."""
    tenant: str | None = None
    component: str | None = None
    by: Sequence[str] | None = ("tenant",)
    """Labels; series that differ in others are added up. None keeps every label."""


@dataclass(frozen=True)
class MetricValue:
    """A metric over the time asked for: what was added to a counter, where a gauge stands, how a histogram grew."""

    name: str
    kind: str
    """counter, updowncounter, gauge or histogram."""
    unit: str
    labels: Mapping[str, str]
    value: float
    """Increase of a counter, last value of a gauge or up-down counter, count of a histogram."""
    sum: float | None = None
    """Of a histogram: the sum of what it measured."""
    buckets: Sequence[tuple[float, float]] = ()
    """Of a histogram: (upper bound, count at or below it), the last bound being infinite."""

    def quantile(self, share: float) -> float | None:
        """Return the value below which `share` (0 to 1) lie, linear within its bucket; None without data."""
        if not self.buckets or not self.value:
            return None
        wanted, below, low = share * self.buckets[-1][1], 0.0, 0.0
        for bound, count in self.buckets:
            if count >= wanted and count > below:
                # Nothing is known above the last finite bound: it is the most that can honestly be said.
                return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
            below, low = count, bound
        return low


@dataclass(frozen=True)
class SignalStatus:
    """What is held of one signal."""

    records: int
    """Records in the time asked for."""
    last: int | None
    """When the newest one of all happened."""


@dataclass(frozen=True)
class FailedResearch:
    """A research that did not achieve what it was for."""

    time: int
    tenant: str | None
    company: str | None
    error: str | None
    trace_id: str


@dataclass(frozen=True)
class Status:
    """What is held, and how Theodore fared in the time asked for."""

    signals: Mapping[str, SignalStatus]
    """By `traces`, `logs`, `metrics`."""
    tenants: Sequence[str]
    researches: int
    failed: Sequence[FailedResearch]
    """The newest ones first, at most twenty."""
    failures: int
    """How many researches failed in all."""


class Source(Protocol):
    """A place that holds telemetry and answers questions about it.

    Every method raises DownError when the place does not answer and InputError when it cannot be used as configured.
    """

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        """Return the newest traces that match, newest first."""

    def trace(self, trace_id: str) -> Trace | None:
        """Return one trace by its id or an unambiguous beginning of it; None when there is none.

        Raises InputError when several traces begin so.
        """

    def logs(self, query: LogQuery) -> list[LogRecord]:
        """Return the newest log records that match, oldest first."""

    def arrivals(self, query: LogQuery, mark: int | None = None) -> tuple[list[LogRecord], int]:
        """Return what `logs` does, and a mark; given a mark, what arrived since then, whatever time it tells."""

    def metrics(self, query: MetricQuery) -> list[MetricValue]:
        """Return what the metrics did over the time asked for, by name and labels."""

    def status(self, since: int) -> Status:
        """Return what is held, and what happened since then."""
