"""What left the collector: the captures' OTLP JSON as records in the short form of case files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from theodore_otel.config.base import Signal
from theodore_otel.otelcol.cases.fields import glob, leaves
from theodore_otel.render.exporters import Exporter

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUS = ("unset", "ok", "error")
_TEMPORALITY = ("unspecified", "delta", "cumulative")
_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL")
_POINTS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
_COUNTED = ("value", "count", "sum")


@dataclass(frozen=True)
class Record:
    """A span, a log record, or the latest state of one series, as it reached a destination."""

    exporter: Exporter
    signal: Signal
    content: dict[str, Any]
    """Its fields, named as in case files; what is empty is left out."""

    @property
    def tenant(self) -> Any:
        """Return the tenant on its resource."""
        return self.content.get("resource", {}).get("tenant.id")

    @property
    def name(self) -> Any:
        """Return the span's or metric's name, or the log record's body."""
        return self.content.get("body" if self.signal == "logs" else "name")

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Return every field by its path; what is within one has a path of its own too."""
        return dict(leaves(self.content))

    def find(self, path: str) -> dict[str, Any]:
        """Return the fields a path names; `*` in it stands for any text."""
        if path in self.fields or "*" not in path:
            return {path: self.fields[path]} if path in self.fields else {}
        return {each: value for each, value in self.fields.items() if glob(path).fullmatch(each)}

    @cached_property
    def texts(self) -> list[str]:
        """Return all that can be read in its fields: keys, and values as text."""
        return [text for field in self.content.values() for text in _texts(field)]


@dataclass(frozen=True)
class Captured:
    """Everything that left the collector."""

    records: list[Record]
    texts: dict[str, list[str]]
    """By destination all that can be read in the requests, what records have no field for as well."""


def read(files: Mapping[Path, Exporter], labels: Mapping[str, str]) -> Captured:
    """Return what the capture files hold; `labels` are the names of trace and span ids that are known."""
    captured = Captured([], {})
    for file, exporter in files.items():
        requests = [json.loads(line) for line in _lines(file)]
        by_signal: tuple[tuple[Signal, Iterable[dict[str, Any]]], ...] = (
            ("traces", _spans(requests, labels)),
            ("logs", _logs(requests, labels)),
            ("metrics", _latest(_points(requests))),
        )
        for signal, found in by_signal:
            captured.records.extend(Record(exporter, signal, content) for content in found)
        captured.texts.setdefault(exporter.destination, []).extend(_wire_texts(requests))
    return captured


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # While the collector runs, the last line may not be all there yet.
    return text[: text.rfind("\n") + 1].splitlines()


def _spans(requests: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for around, span in _items(requests, "resourceSpans", "scopeSpans", "spans"):
        status = span.get("status", {})
        yield _filled(
            name=span.get("name", ""),
            kind=_KINDS[span.get("kind", 0)],
            status=_STATUS[status.get("code", 0)],
            status_message=status.get("message"),
            duration=_seconds(span),
            trace=_label(span.get("traceId"), labels),
            id=_label(span.get("spanId"), labels),
            parent=_label(span.get("parentSpanId"), labels),
            trace_state=span.get("traceState"),
            attributes=plain(span.get("attributes", [])),
            events=[
                _filled(name=event.get("name", ""), attributes=plain(event.get("attributes", [])))
                for event in span.get("events", [])
            ],
            links=[
                _filled(trace=_label(link.get("traceId"), labels), attributes=plain(link.get("attributes", [])))
                for link in span.get("links", [])
            ],
            **around,
        )


def _logs(requests: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for around, record in _items(requests, "resourceLogs", "scopeLogs", "logRecords"):
        number = record.get("severityNumber", 0)
        yield _filled(
            body=value(record.get("body", {})),
            severity=_LEVELS[(number - 1) // 4] if number else None,
            severity_number=number,
            severity_text=record.get("severityText"),
            event_name=record.get("eventName"),
            trace=_label(record.get("traceId"), labels),
            span=_label(record.get("spanId"), labels),
            attributes=plain(record.get("attributes", [])),
            **around,
        )


def _points(requests: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for around, metric in _items(requests, "resourceMetrics", "scopeMetrics", "metrics"):
        kind = next((kind for kind in _POINTS if kind in metric), "")
        data = metric.get(kind, {})
        for point in data.get("dataPoints", []):
            number = point.get("asDouble", point.get("asInt"))
            yield _filled(
                name=metric.get("name", ""),
                type=kind,
                unit=metric.get("unit"),
                description=metric.get("description"),
                temporality=_TEMPORALITY[data.get("aggregationTemporality", 0)] if kind != "gauge" else None,
                monotonic=data.get("isMonotonic"),
                value=_number(number) if number is not None else None,
                count=int(point["count"]) if "count" in point else None,
                sum=_number(point["sum"]) if "sum" in point else None,
                buckets=_buckets(point),
                attributes=plain(point.get("attributes", [])),
                **around,
            )


def _latest(points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each series once, as it stands after the last report; what counts from report to report is added up."""
    series: dict[str, dict[str, Any]] = {}
    for point in points:
        of_series = {key: item for key, item in point.items() if key not in (*_COUNTED, "buckets")}
        key = json.dumps(of_series, sort_keys=True, default=repr)
        before = series.get(key)
        series[key] = _added(before, point) if before and point.get("temporality") == "delta" else point
    return list(series.values())


def _added(before: Mapping[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    total = {key: before[key] + point[key] for key in _COUNTED if key in before and key in point}
    if "buckets" in point:
        earlier = before.get("buckets", {})
        bounds = sorted(earlier | point["buckets"], key=float)
        total["buckets"] = {bound: earlier.get(bound, 0) + point["buckets"].get(bound, 0) for bound in bounds}
    return point | total


def _buckets(point: Mapping[str, Any]) -> dict[str, int]:
    """Return the buckets that are not empty by their upper bounds."""
    bounds = [f"{float(bound):g}" for bound in point.get("explicitBounds", [])]
    counts = [int(count) for count in point.get("bucketCounts", [])]
    return {bound: count for bound, count in zip([*bounds, "inf"], counts, strict=False) if count}


def _items(
    requests: Iterable[Mapping[str, Any]], group: str, scope: str, key: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each record with the fields it has from what it stands in."""
    for request in requests:
        for resource in request.get(group, []):
            of_resource = plain(resource.get("resource", {}).get("attributes", []))
            for scoped in resource.get(scope, []):
                own = scoped.get("scope", {})
                described = _filled(
                    name=own.get("name"),
                    version=own.get("version"),
                    attributes=plain(own.get("attributes", [])),
                )
                for item in scoped.get(key, []):
                    yield {"resource": of_resource, "scope": described}, item


def plain(given: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes of OTLP JSON."""
    return {item.get("key", ""): value(item.get("value", {})) for item in given}


def value(given: Mapping[str, Any]) -> Any:
    """Return a value of OTLP JSON."""
    content: Any
    kind, content = next(iter(given.items()), ("", None))
    if kind == "intValue":
        return int(content)
    if kind == "doubleValue":
        return float(content)
    if kind == "bytesValue":
        return base64.b64decode(content)
    if kind == "arrayValue":
        return [value(item) for item in content.get("values", [])]
    if kind == "kvlistValue":
        return plain(content.get("values", []))
    return content


def _filled(**fields: Any) -> dict[str, Any]:
    """Return the fields that are there: nothing, an empty text, list or mapping is not."""
    return {key: item for key, item in fields.items() if item is not None and item not in ("", [], {})}


def _label(known: str | None, labels: Mapping[str, str]) -> str | None:
    return labels.get(known, known) if known else None


def _seconds(span: Mapping[str, Any]) -> float:
    return _number((int(span.get("endTimeUnixNano", 0)) - int(span.get("startTimeUnixNano", 0))) / 1e9)


def _number(given: Any) -> float:
    """Return a number without a fraction that is none."""
    number = float(given)
    return int(number) if number.is_integer() else number


def _wire_texts(content: Any) -> Iterator[str]:
    """Return every value of OTLP JSON as text; keys of attributes are values there."""
    if isinstance(content, dict):
        for key, item in content.items():
            yield from [_bytes(item)] if key == "bytesValue" else _wire_texts(item)
    elif isinstance(content, list):
        for item in content:
            yield from _wire_texts(item)
    else:
        yield str(content)


def _bytes(content: str) -> str:
    return base64.b64decode(content).decode("utf-8", "replace")


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, item in content.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(content, list):
        for item in content:
            yield from _texts(item)
    else:
        yield content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
