"""OTLP JSON requests, as the collector's file exporter writes them, flattened into rows of the store's tables."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from theodore_otel.conventions import names
from theodore_otel.query.model import LEVELS

Row = dict[str, Any]
_Json = Mapping[str, Any]

_Part = Iterator[Row | None]
"""Rows, and None for each part of a request that cannot be read."""

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_MOST = 2**63 - 2  # one more is DuckDB's infinite time
# So many numbers of this size can be added up before the sum is infinite.
_LARGEST = 1e300
# A value nested deeper is kept as JSON text: what reads it may recurse.
_DEEPEST = 32
_MOST_SEVERE = 24
_ODD = (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)


def span_rows(request: Any, now: int) -> _Part:
    """Yield one row per span; `now` stands in for a missing or impossible time."""
    for span, shared in _records(request, "resourceSpans", "scopeSpans", "spans"):
        yield _row(_span, span, shared, now)


def log_rows(request: Any, now: int) -> _Part:
    """Yield one row per log record."""
    for record, shared in _records(request, "resourceLogs", "scopeLogs", "logRecords"):
        yield _row(_log, record, shared, now)


def metric_rows(request: Any, now: int) -> _Part:
    """Yield one row per data point of sums, gauges and explicit histograms."""
    for metric, shared in _records(request, "resourceMetrics", "scopeMetrics", "metrics"):
        if metric is None:
            yield None
            continue
        for kind in ("sum", "gauge", "histogram"):
            for point in _each(_mapping(metric.get(kind)).get("dataPoints")):
                yield _row(partial(_point, metric, kind), point, shared, now)


SIGNALS: dict[str, tuple[str, Callable[[Any, int], _Part]]] = {
    "traces": ("spans", span_rows),
    "logs": ("logs", log_rows),
    "metrics": ("metrics", metric_rows),
}
"""Beginning of the collector's file name -> table and what makes its rows."""


def _records(request: Any, resources: str, scopes: str, records: str) -> Iterator[tuple[_Json | None, Row]]:
    """Yield each record with what it shares with its neighbours; None in place of a part that is no mapping."""
    if not isinstance(request, dict) or (request and resources not in request):
        yield None, {}
        return
    for entry in _each(request.get(resources)):
        resource = _attributes(_mapping(_mapping(entry).get("resource")).get("attributes"))
        for scope in _each(entry.get(scopes)) if entry is not None else (None,):
            shared = {"resource": resource, "scope": _text(_mapping(_mapping(scope).get("scope")).get("name"))}
            for record in _each(scope.get(records)) if scope is not None else (None,):
                yield record, shared


def _each(items: Any) -> Iterator[_Json | None]:
    """Yield the mappings of a list, None for an item that is none and for what is no list at all."""
    for item in items if isinstance(items, list) else () if items is None else (None,):
        yield item if isinstance(item, dict) else None


def _mapping(value: Any) -> _Json:
    return value if isinstance(value, dict) else {}


def _row(make: Callable[[_Json, Row, int], Row], record: _Json | None, shared: Row, now: int) -> Row | None:
    """Return a record's row; a record that cannot be read takes none of its neighbours with it."""
    try:
        return None if record is None else make(record, shared, now)
    except _ODD:
        return None


def _span(span: _Json, shared: Row, now: int) -> Row:
    attributes = _attributes(span.get("attributes"))
    start = _time(span.get("startTimeUnixNano")) or now
    end = max(_time(span.get("endTimeUnixNano")) or start, start)
    status = _mapping(span.get("status"))
    model = attributes.get(names.GEN_AI_RESPONSE_MODEL) or attributes.get(names.GEN_AI_REQUEST_MODEL)
    return {
        **_record(attributes, shared),
        "time": start,
        "end_time": end,
        "duration_ns": end - start,
        "trace_id": _text(span.get("traceId")) or "",
        "span_id": _text(span.get("spanId")) or "",
        "parent_span_id": _text(span.get("parentSpanId")) or None,
        "name": _text(span.get("name")) or "",
        "kind": _choice(_KINDS, span.get("kind", 0)),
        "status": _choice(_STATUSES, status.get("code", 0)),
        "status_message": _text(status.get("message")),
        "operation": _text(attributes.get(names.OPERATION_TYPE)),
        "company": _text(attributes.get(names.COMPANY_NAME)),
        "model": _text(model),
        "error_type": _text(attributes.get(names.ERROR_TYPE)),
        "success": _boolean(attributes.get(names.SUCCESS)),
        "input_tokens": _integer(attributes.get(names.GEN_AI_INPUT_TOKENS)),
        "output_tokens": _integer(attributes.get(names.GEN_AI_OUTPUT_TOKENS)),
        "cost_usd": _number(attributes.get(names.AI_COST)),
        "events": [_event(event, start) for event in _each(span.get("events")) if event is not None],
    }


def _event(event: _Json, start: int) -> Row:
    return {
        "time": _time(event.get("timeUnixNano")) or start,
        "name": _text(event.get("name")) or "",
        "attributes": _attributes(event.get("attributes")),
    }


def _log(record: _Json, shared: Row, now: int) -> Row:
    attributes = _attributes(record.get("attributes"))
    happened, observed = _time(record.get("timeUnixNano")), _time(record.get("observedTimeUnixNano"))
    # An unspecified severity is read as INFO, so that a record is not lost to every question by level.
    severity = _integer(record.get("severityNumber"), _MOST_SEVERE) or LEVELS["INFO"]
    return {
        **_record(attributes, shared),
        "time": happened or observed or now,
        "observed_time": observed or happened or now,
        "trace_id": _text(record.get("traceId")) or None,
        "span_id": _text(record.get("spanId")) or None,
        "severity": severity,
        "level": _level(severity),
        "category": _text(attributes.get(names.CATEGORY)),
        "message": _text(_value(record.get("body"))) or "",
    }


def _point(metric: _Json, kind: str, point: _Json, shared: Row, now: int) -> Row:
    data = metric[kind]
    attributes = _attributes(point.get("attributes"))
    owner = _owner(attributes, shared)
    bounds, counts = _buckets(point)
    return {
        **owner,
        "time": _time(point.get("timeUnixNano")) or now,
        "start_time": _time(point.get("startTimeUnixNano")),
        "name": _text(metric.get("name")) or "",
        "unit": _text(metric.get("unit")) or "",
        "kind": kind,
        "monotonic": bool(data.get("isMonotonic")) or kind == "histogram",
        "delta": data.get("aggregationTemporality") == 1,
        "series": _series(metric.get("name"), kind, attributes, shared["resource"], shared["scope"]),
        # Labels stand in where a destination's rules have removed the resource's own attributes.
        "tenant_id": owner["tenant_id"] or _text(attributes.get("tenant")),
        "service": owner["service"] or _text(attributes.get("service")),
        "value": _number(point.get("asInt", point.get("asDouble", point.get("sum")))),
        "count": _integer(point.get("count")),
        "bounds": bounds,
        "bucket_counts": counts,
    }


def _buckets(point: _Json) -> tuple[list[float | None], list[int | None]]:
    """Return the bounds and counts of a histogram's buckets; none where they do not fit each other."""
    bounds = [_number(bound) for bound in point.get("explicitBounds") or ()]
    counts = [_integer(count) for count in point.get("bucketCounts") or ()]
    fit = len(counts) == len(bounds) + 1 and None not in bounds and None not in counts
    return (bounds, counts) if fit else ([], [])


def _record(attributes: Row, shared: Row) -> Row:
    context = {
        column: _text(attributes.get(name, shared["resource"].get(name)))
        for column, name in (
            ("correlation_id", names.CORRELATION_ID),
            ("user_id", names.USER_ID),
            ("component", names.COMPONENT),
        )
    }
    return _owner(attributes, shared) | context


def _owner(attributes: Row, shared: Row) -> Row:
    resource = shared["resource"]
    return {
        # The collector has checked what stands on the resource; an attribute counts only where it stamped none.
        "tenant_id": _text(resource.get(names.TENANT_ID, attributes.get(names.TENANT_ID))),
        "service": _text(resource.get(names.SERVICE_NAME)),
        "attributes": attributes,
        "resource": resource,
        "scope": shared["scope"],
    }


def _series(*identity: Any) -> str:
    canonical = json.dumps(identity, sort_keys=True).encode()
    return hashlib.blake2b(canonical, digest_size=12).hexdigest()


def _attributes(pairs: Any, depth: int = 0) -> Row:
    return {_text(pair.get("key")) or "": _value(pair.get("value"), depth) for pair in _each(pairs) if pair is not None}


def _value(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return _text(value)
    for kind, content in _mapping(value).items():
        if kind == "arrayValue":
            items = _mapping(content).get("values")
            return [_value(item, depth + 1) for item in items] if isinstance(items, list) else []
        if kind == "kvlistValue":
            return _attributes(_mapping(content).get("values"), depth + 1)
        if kind == "intValue":
            return _whole(content)
        if kind == "doubleValue":
            return _real(content)
        return content if isinstance(content, bool) else _text(content)
    return None


def _whole(content: Any) -> Any:
    number = _integer(content)
    return _text(content) if number is None else number


def _real(content: Any) -> Any:
    try:
        number = float(content)
    except (TypeError, ValueError, OverflowError):
        return _text(content)
    return number if math.isfinite(number) else str(number)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any, most: int = _MOST) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -most <= number <= most else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None


def _time(value: Any) -> int | None:
    number = _integer(value)
    return number if number is not None and number > 0 else None


def _choice(choices: tuple[str, ...], index: Any) -> str:
    return choices[index] if isinstance(index, int) and 0 <= index < len(choices) else choices[0]


def _level(severity: int) -> str:
    level = "TRACE"
    for name, least in LEVELS.items():
        if severity >= least:
            level = name
    return level
