"""OTLP JSON requests as the collector's file exporter writes them, in short forms."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from theodore_otel.conventions import names

SECOND = 10**9
HOUR = 3600 * SECOND
RESOURCE = {"service.name": "theodore-v2", "tenant.id": "acme"}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP JSON: integers are strings there."""
    return [{"key": key, "value": value(content)} for key, content in values.items()]


def value(content: Any) -> dict[str, Any]:
    """Return one value as OTLP JSON."""
    if isinstance(content, bool):
        return {"boolValue": content}
    if isinstance(content, int):
        return {"intValue": str(content)}
    if isinstance(content, float):
        return {"doubleValue": content}
    if isinstance(content, list):
        return {"arrayValue": {"values": [value(item) for item in content]}}
    return {"stringValue": content}


def span(name: str = "work", **given: Any) -> dict[str, Any]:
    """Return a span; `start` (ns), `seconds`, `trace`, `id`, `parent`, `error`, `attributes`, `events` may be given."""
    start = given.get("start", time.time_ns() - SECOND)
    made = {
        "traceId": given.get("trace", "0af7651916cd43dd8448eb211c80319c"),
        "spanId": given.get("id", "b7ad6b7169203331"),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + int(given.get("seconds", 0.5) * SECOND)),
        "attributes": attributes(given.get("attributes", {})),
        "status": {"code": 2, "message": given["error"]} if given.get("error") else {},
    }
    if given.get("parent"):
        made["parentSpanId"] = given["parent"]
    if given.get("events"):
        made["events"] = given["events"]
    return made


def traces(*spans: Mapping[str, Any], **resource: str) -> dict[str, Any]:
    """Return a request with spans; resource attributes are written with `_` for `.`."""
    return {"resourceSpans": [{"resource": _resource(resource), "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


def record(message: Any = "hello", severity: int = 9, **given: Any) -> dict[str, Any]:
    """Return a log record; `time` (ns), `trace` and `attributes` may be given."""
    made = {
        "timeUnixNano": str(given.get("time", time.time_ns() - SECOND)),
        "severityNumber": severity,
        "body": value(message),
        "attributes": attributes(given.get("attributes", {})),
    }
    if given.get("trace"):
        made["traceId"] = given["trace"]
    return made


def logs(*records: Mapping[str, Any], scope: str = "theodore.scraper", **resource: str) -> dict[str, Any]:
    """Return a request with log records."""
    group = {"scope": {"name": scope}, "logRecords": list(records)}
    return {"resourceLogs": [{"resource": _resource(resource), "scopeLogs": [group]}]}


def total(
    amount: float,
    at: int,
    *,
    name: str = names.METRIC_AI_TOKENS,
    start: int | None = None,
    labels: Mapping[str, Any] | None = None,
    **resource: str,
) -> dict[str, Any]:
    """Return a request with one point of a running total."""
    point = {"timeUnixNano": str(at), "asDouble": amount, "attributes": attributes(labels or {})}
    if start is not None:
        point["startTimeUnixNano"] = str(start)
    data = {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": True}
    return metrics({"name": name, "unit": "{token}", "sum": data}, **resource)


def histogram(counts: Sequence[int], bounds: Sequence[float], summed: float, at: int, start: int) -> dict[str, Any]:
    """Return a request with one point of theodore.request.duration."""
    point = {
        "timeUnixNano": str(at),
        "startTimeUnixNano": str(start),
        "count": str(sum(counts)),
        "sum": summed,
        "bucketCounts": [str(count) for count in counts],
        "explicitBounds": list(bounds),
    }
    data = {"dataPoints": [point], "aggregationTemporality": 2}
    return metrics({"name": names.METRIC_REQUEST_DURATION, "unit": "s", "histogram": data})


def metrics(metric: Mapping[str, Any], **resource: str) -> dict[str, Any]:
    """Return a request with one metric."""
    group = {"scope": {}, "metrics": [metric]}
    return {"resourceMetrics": [{"resource": _resource(resource), "scopeMetrics": [group]}]}


def _resource(given: Mapping[str, str]) -> dict[str, Any]:
    return {"attributes": attributes(RESOURCE | {key.replace("_", "."): text for key, text in given.items()})}


def write(home: Path, signal: str, *requests: Mapping[str, Any], file: str | None = None) -> Path:
    """Append requests to one of the collector's files below `home`."""
    path = home / "otlp" / (file or f"{signal}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as output:
        output.writelines(json.dumps(request, separators=(",", ":")) + "\n" for request in requests)
    return path
