"""The short forms as OTLP requests (JSON), with ids that are the same in every run."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from theodore_otel.config.base import Signal
from theodore_otel.otelcol.cases.model import LogRecord, Metric, Request, Span

MOST_ITEMS = 1000
"""Spans, records or points in one request."""

_HEX_TRACE = re.compile(r"^[0-9a-f]{32}$")
_HEX_SPAN = re.compile(r"^[0-9a-f]{16}$")
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"unset": 0, "ok": 1, "error": 2}
_TEMPORALITY = {"delta": 1, "cumulative": 2}
_RAW: dict[str, Signal] = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}


class Body(NamedTuple):
    """One OTLP request."""

    signal: Signal
    content: dict[str, Any]


@dataclass
class Ids:
    """Trace and span ids made from labels, so that what depends on an id goes the same way in every run."""

    seed: str
    labels: dict[str, str] = field(default_factory=dict)
    """The label of each id that was made."""

    def trace(self, label: str, repetition: int) -> str:
        """Return a trace id."""
        return label if _HEX_TRACE.match(label) else self._make("trace", label, repetition, 32)

    def span(self, label: str, repetition: int) -> str:
        """Return a span id."""
        return label if _HEX_SPAN.match(label) else self._make("span", label, repetition, 16)

    def _make(self, kind: str, label: str, repetition: int, digits: int) -> str:
        text = "\0".join((self.seed, kind, label, str(repetition)))
        made = hashlib.sha256(text.encode()).hexdigest()[:digits]
        self.labels[made] = f"{label}#{repetition + 1}" if repetition else label
        return made


def bodies(request: Request, number: int, ids: Ids, service: str, now: int, start: int) -> Iterator[Body]:
    """Return the OTLP requests that a request of a case stands for.

    `number` is its place in the case, `service` the service.name it has unless it says otherwise, `now` the time and
    `start` the time at which cumulative metrics began, both in Unix nanoseconds.
    """
    make = _Maker(ids, now, start)
    items: dict[Signal, list[dict[str, Any]]] = {"traces": [], "logs": [], "metrics": []}
    for repetition in range(request.repeat):
        for place, span in enumerate(request.spans):
            items["traces"] += make.spans(span, f"send.{number}.spans.{place}", None, None, repetition)
        items["logs"] += [make.record(record, repetition) for record in request.logs]
        items["metrics"] += [make.metric(metric) for metric in request.metrics]
    for signal, made in items.items():
        for first in range(0, len(made), MOST_ITEMS):
            yield Body(signal, _wrapped(signal, made[first : first + MOST_ITEMS], request, service))
    if request.otlp:
        yield from [Body(_RAW[next(iter(request.otlp))], request.otlp)] * request.repeat


@dataclass
class _Maker:
    ids: Ids
    now: int
    start: int

    def spans(
        self, span: Span, place: str, trace: str | None, parent: str | None, repetition: int
    ) -> Iterator[dict[str, Any]]:
        """Return a span and all within it; a span without label is called by its key path, `send.0.spans.1`."""
        own = span.id or place
        trace = span.trace or trace or own
        parent = span.parent or parent
        end = self.now - _nanoseconds(span.ago)
        yield {
            "traceId": self.ids.trace(trace, repetition),
            "spanId": self.ids.span(own, repetition),
            **({"parentSpanId": self.ids.span(parent, repetition)} if parent else {}),
            "name": span.name,
            "kind": _KINDS[span.kind],
            "startTimeUnixNano": str(end - _nanoseconds(span.duration)),
            "endTimeUnixNano": str(end),
            "attributes": attributes(span.attributes),
            "status": {"code": _STATUS[span.status], "message": span.status_message},
            "events": [
                {"timeUnixNano": str(end), "name": event.name, "attributes": attributes(event.attributes)}
                for event in span.events
            ],
        }
        for index, child in enumerate(span.children):
            yield from self.spans(child, f"{place}.children.{index}", trace, own, repetition)

    def record(self, record: LogRecord, repetition: int) -> dict[str, Any]:
        made = {
            "timeUnixNano": str(self.now - _nanoseconds(record.ago)),
            "severityNumber": record.severity,
            "severityText": record.severity_text,
            "eventName": record.event_name,
            "body": value(record.body),
            "attributes": attributes(record.attributes),
            "traceId": self.ids.trace(record.trace, repetition) if record.trace else None,
            "spanId": self.ids.span(record.span, repetition) if record.span else None,
        }
        return {key: item for key, item in made.items() if item is not None}

    def metric(self, metric: Metric) -> dict[str, Any]:
        point: dict[str, Any] = {
            "timeUnixNano": str(self.now),
            "startTimeUnixNano": str(self.start),
            "attributes": attributes(metric.attributes),
        }
        made = {"name": metric.name, "unit": metric.unit, "description": metric.description}
        if metric.gauge is not None:
            return made | {"gauge": {"dataPoints": [point | {"asDouble": _double(metric.gauge)}]}}
        data: dict[str, Any] = {"aggregationTemporality": _TEMPORALITY[metric.temporality]}
        if metric.sum is not None:
            data |= {"isMonotonic": metric.monotonic, "dataPoints": [point | {"asDouble": _double(metric.sum)}]}
            return made | {"sum": data}
        return made | {"histogram": data | {"dataPoints": [point | _distribution(metric)]}}


def _distribution(metric: Metric) -> dict[str, Any]:
    observed, bounds = metric.histogram or [], metric.buckets
    # A bucket holds what is above its lower and not above its upper bound.
    edges = [-math.inf, *bounds, math.inf]
    counts = [sum(low < item <= high for item in observed) for low, high in pairwise(edges)]
    return {
        "count": str(len(observed)),
        "sum": sum(observed),
        "explicitBounds": bounds,
        "bucketCounts": [str(count) for count in counts],
    }


def _wrapped(signal: Signal, items: list[dict[str, Any]], request: Request, service: str) -> dict[str, Any]:
    group, scope, key = {
        "traces": ("resourceSpans", "scopeSpans", "spans"),
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
        "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    }[signal]
    own = request.scope
    described = {"name": own.name, "version": own.version, "attributes": attributes(own.attributes)}
    resource = {key: item for key, item in {"service.name": service, **request.resource}.items() if item is not None}
    return {
        group: [{"resource": {"attributes": attributes(resource)}, scope: [{"scope": described, key: items}]}],
    }


def attributes(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP JSON."""
    return [{"key": key, "value": value(item)} for key, item in given.items()]


def value(given: Any) -> dict[str, Any]:
    """Return one value as OTLP JSON."""
    if given is None:
        return {}
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": _double(given)}
    if isinstance(given, bytes):
        return {"bytesValue": base64.b64encode(given).decode()}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(item) for item in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": attributes(given)}}
    return {"stringValue": given}


def _double(number: float) -> float | str:
    """Return a number as JSON can hold it."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _nanoseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1) * 1000
