"""Splunk's HTTP event collector."""

from __future__ import annotations

import json
from typing import Any

from standins.http import HttpStandIn, Request, WireError, expect, no_constant

# Keys of the envelope and their types; `fields` holds no nested objects.
_ENVELOPE = {
    "time": (int, float), "host": str, "source": str, "sourcetype": str, "index": str, "event": object, "fields": dict,
}  # fmt: skip


class Splunk(HttpStandIn):
    """Keeps events sent with its token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.events: list[dict[str, Any]] = []

    def take(self, request: Request) -> tuple[int, object]:
        expect("method and path", (request.method, request.path), ("POST", "/services/collector"))
        request.expect("Authorization", f"Splunk {self.token}")
        request.expect("Content-Type", "application/json")
        events = _objects(request.body.decode())
        for event in events:
            _check(event)
        self.events += events
        return 200, {"text": "Success", "code": 0}


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a body; they follow each other without commas."""
    decoder, found, position = json.JSONDecoder(parse_constant=no_constant), [], 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError as error:
            raise WireError(f"no JSON: {error}") from error
        found.append(value)
    return found


def _check(event: dict[str, Any]) -> None:
    for key, value in event.items():
        if key not in _ENVELOPE or not isinstance(value, _ENVELOPE[key]):
            raise WireError(f"{key}: not a key of the envelope, or not of its type: {value!r}")
    text = event.get("event")
    if text in (None, {}, []) or (isinstance(text, str) and not text.strip()):
        raise WireError("event: may not be empty")
    if event.get("time", 0) < 0:
        raise WireError(f"time: got {event['time']!r}")
    for key, value in event.get("fields", {}).items():
        each = value if isinstance(value, list) else [value]
        if not key or not all(isinstance(item, str | int | float) for item in each):
            raise WireError(f"fields: values and lists of values, got {key!r}: {value!r}")
