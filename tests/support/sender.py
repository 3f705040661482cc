"""Records sent as OTLP writes JSON, and taken out again as they arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from support.collector import Collector, wait_for

BASE = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "work",
    "kind": 1,
    "startTimeUnixNano": "1000",
    "endTimeUnixNano": "2000",
}


class Sender:
    """Sends records with a number each, and takes out what arrived of them."""

    def __init__(self, collector: Collector, credential: str | None = None) -> None:
        self.collector = collector
        self.credential = credential

    def span(self, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Send a span with these attributes, and return it as it arrived."""
        return self.spans([given], **more)[0]

    def spans(self, given: list[Mapping[str, Any]], **more: Any) -> list[dict[str, Any]]:
        """Send a span for each set of attributes."""
        made = [{**BASE, **more, "attributes": attributes({"n": n, **each})} for n, each in enumerate(given)]
        return self.request("traces", {"resourceSpans": [{"scopeSpans": [{"spans": made}]}]}, len(given))

    def logs(self, bodies: list[Any], **more: Any) -> list[dict[str, Any]]:
        """Send a log record for each body, an OTLP value."""
        made = [{"body": body, "attributes": attributes({"n": n}), **more} for n, body in enumerate(bodies)]
        return self.request("logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": made}]}]}, len(bodies))

    def request(self, signal: str, request: Any, count: int) -> list[dict[str, Any]]:
        have = len(self._records(signal))
        assert (
            self.collector.post(signal, json.dumps(request).encode(), self.credential, kind="application/json") == 200
        )
        wait_for(lambda: len(self._records(signal)) >= have + count)
        return sorted(self._records(signal)[have:], key=lambda record: int(plain(record)["n"]))

    def _records(self, signal: str) -> list[dict[str, Any]]:
        lists = {"traces": ("scopeSpans", "spans"), "logs": ("scopeLogs", "logRecords")}[signal]
        return [
            record
            for request in self.collector.received(signal)
            for group in next(iter(request.values()))
            for scope in group[lists[0]]
            for record in scope[lists[1]]
        ]


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": otlp_value(value)} for key, value in values.items()]


def otlp_value(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, list):
        return {"arrayValue": {"values": [otlp_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
    return {kind: str(value) if kind == "intValue" else value}


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {item.get("key", ""): value_of(item.get("value", {})) for item in record.get("attributes", [])}


def value_of(value: Mapping[str, Any]) -> Any:
    """Return an OTLP value as it would be in Python."""
    if not value:
        return None
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [value_of(item) for item in content.get("values", [])]
    if kind == "kvlistValue":
        return {item.get("key", ""): value_of(item.get("value", {})) for item in content.get("values", [])}
    return {"intValue": int, "doubleValue": float}.get(kind, lambda same: same)(content)


def without_numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain(record).items() if key != "n"}


def with_values(values: Mapping[str, Any]) -> dict[str, Any]:
    listed = [{"key": key, "value": value} for key, value in {"n": {"intValue": "0"}, **values}.items()]
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**BASE, "attributes": listed}]}]}]}
