"""OTLP JSON requests, as the collector's file exporter writes them, flattened into rows of the store's tables."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from theodore_otel.conventions import names
from theodore_otel.query.model import LEVELS

Row = dict[str, Any]
_Json = Mapping[str, Any]

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_MOST = 2**63 - 1


def span_rows(request: _Json, now: int) -> Iterator[Row]:
    """Yield one row per span; `now` stands in for a missing or impossible time."""
    for shared, scope in _scopes(request, "resourceSpans", "scopeSpans"):
        for span in scope.get("spans", ()):
            yield _span(span, shared, now)


def log_rows(request: _Json, now: int) -> Iterator[Row]:
    """Yield one row per log record."""
    for shared, scope in _scopes(request, "resourceLogs", "scopeLogs"):
        for record in scope.get("logRecords", ()):
            yield _log(record, shared, now)


def metric_rows(request: _Json, now: int) -> Iterator[Row]:
    """Yield one row per data point of sums, gauges and explicit histograms."""
    for shared, scope in _scopes(request, "resourceMetrics", "scopeMetrics"):
        for metric in scope.get("metrics", ()):
            for kind in ("sum", "gauge", "histogram"):
                for point in metric.get(kind, {}).get("dataPoints", ()):
                    yield _point(point, metric, kind, shared, now)


SIGNALS: dict[str, tuple[str, Callable[[_Json, int], Iterator[Row]]]] = {
    "traces": ("spans", span_rows),
    "logs": ("logs", log_rows),
    "metrics": ("metrics", metric_rows),
}
"""Beginning of the collector's file name -> table and what makes its rows."""


def _scopes(request: _Json, resources: str, scopes: str) -> Iterator[tuple[Row, _Json]]:
    for entry in request.get(resources, ()):
        resource = _attributes(entry.get("resource", {}).get("attributes"))
        for scope in entry.get(scopes, ()):
            yield {"resource": resource, "scope": scope.get("scope", {}).get("name")}, scope


def _span(span: _Json, shared: Row, now: int) -> Row:
    attributes = _attributes(span.get("attributes"))
    start = _time(span.get("startTimeUnixNano")) or now
    end = max(_time(span.get("endTimeUnixNano")) or start, start)
    status = span.get("status", {})
    model = attributes.get(names.GEN_AI_RESPONSE_MODEL) or attributes.get(names.GEN_AI_REQUEST_MODEL)
    return {
        **_record(attributes, shared),
        "time": start,
        "end_time": end,
        "duration_ns": end - start,
        "trace_id": span.get("traceId"),
        "span_id": span.get("spanId"),
        "parent_span_id": span.get("parentSpanId") or None,
        "name": span.get("name", ""),
        "kind": _choice(_KINDS, span.get("kind", 0)),
        "status": _choice(_STATUSES, status.get("code", 0)),
        "status_message": status.get("message"),
        "operation": _text(attributes.get(names.OPERATION_TYPE)),
        "company": _text(attributes.get(names.COMPANY_NAME)),
        "model": _text(model),
        "error_type": _text(attributes.get(names.ERROR_TYPE)),
        "success": _boolean(attributes.get(names.SUCCESS)),
        "input_tokens": _integer(attributes.get(names.GEN_AI_INPUT_TOKENS)),
        "output_tokens": _integer(attributes.get(names.GEN_AI_OUTPUT_TOKENS)),
        "cost_usd": _number(attributes.get(names.AI_COST)),
        "events": [_event(event, start) for event in span.get("events", ())],
    }


def _event(event: _Json, start: int) -> Row:
    return {
        "time": _time(event.get("timeUnixNano")) or start,
        "name": event.get("name", ""),
        "attributes": _attributes(event.get("attributes")),
    }


def _log(record: _Json, shared: Row, now: int) -> Row:
    attributes = _attributes(record.get("attributes"))
    observed = _time(record.get("observedTimeUnixNano"))
    # An unspecified severity is read as INFO, so that a record is not lost to every question by level.
    severity = _integer(record.get("severityNumber")) or LEVELS["INFO"]
    return {
        **_record(attributes, shared),
        "time": _time(record.get("timeUnixNano")) or observed or now,
        "observed_time": observed or now,
        "trace_id": record.get("traceId") or None,
        "span_id": record.get("spanId") or None,
        "severity": severity,
        "level": _level(severity),
        "category": _text(attributes.get(names.CATEGORY)),
        "message": _text(_value(record.get("body", {}))) or "",
    }


def _point(point: _Json, metric: _Json, kind: str, shared: Row, now: int) -> Row:
    data = metric[kind]
    attributes = _attributes(point.get("attributes"))
    owner = _owner(attributes, shared)
    return {
        **owner,
        "time": _time(point.get("timeUnixNano")) or now,
        "start_time": _time(point.get("startTimeUnixNano")),
        "name": metric.get("name", ""),
        "unit": metric.get("unit", ""),
        "kind": kind,
        "monotonic": bool(data.get("isMonotonic")) or kind == "histogram",
        "delta": data.get("aggregationTemporality") == 1,
        "series": _series(metric.get("name"), kind, attributes, shared["resource"], shared["scope"]),
        # Labels stand in where a destination's rules have removed the resource's own attributes.
        "tenant_id": owner["tenant_id"] or _text(attributes.get("tenant")),
        "service": owner["service"] or _text(attributes.get("service")),
        "value": _number(point.get("asInt", point.get("asDouble", point.get("sum")))),
        "count": _integer(point.get("count")),
        "bounds": [_number(bound) for bound in point.get("explicitBounds", ())],
        "bucket_counts": [_integer(count) for count in point.get("bucketCounts", ())],
    }


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


def _attributes(pairs: Any) -> Row:
    return {pair.get("key", ""): _value(pair.get("value", {})) for pair in pairs or ()}


def _value(value: _Json) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            number = float(content)
            return number if math.isfinite(number) else str(number)
        if kind == "arrayValue":
            return [_value(item) for item in content.get("values", ())]
        if kind == "kvlistValue":
            return _attributes(content.get("values"))
        return content
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if -_MOST <= number <= _MOST else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


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
