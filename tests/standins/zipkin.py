"""Zipkin's span API, version 2."""

from __future__ import annotations

import json
import re
from typing import Any

from standins.http import HttpStandIn, Request, WireError, expect, no_constant

_ID = re.compile(r"[0-9a-f]{16}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}")
_KINDS = {None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER"}
# Name and type of every field of a span in the API's description.
_FIELDS = {
    "traceId": str, "id": str, "parentId": str, "name": str, "kind": str, "timestamp": int, "duration": int,
    "debug": bool, "shared": bool, "localEndpoint": dict, "remoteEndpoint": dict, "annotations": list, "tags": dict,
}  # fmt: skip


class Zipkin(HttpStandIn):
    """Keeps spans."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[dict[str, Any]] = []

    def take(self, request: Request) -> tuple[int, object]:
        expect("method and path", (request.method, request.path), ("POST", "/api/v2/spans"))
        request.expect("Content-Type", "application/json")
        spans = json.loads(request.body, parse_constant=no_constant)
        for span in spans:
            _check(span)
        self.spans += spans
        return 202, {}


def _check(span: dict[str, Any]) -> None:
    for name, value in span.items():
        if not isinstance(value, _FIELDS.get(name, ())):
            raise WireError(f"{name}: not a field of a span, or not of its type: {value!r}")
    ids = [("traceId", _TRACE_ID), ("id", _ID), *([("parentId", _ID)] if "parentId" in span else [])]
    for name, shape in ids:
        if not shape.fullmatch(span.get(name, "")):
            raise WireError(f"{name}: expected lower-case hexadecimal, got {span.get(name)!r}")
    if span.get("kind") not in _KINDS:
        raise WireError(f"kind: {span['kind']!r} is none of Zipkin's")
    if not all(isinstance(value, str) for value in span.get("tags", {}).values()):
        raise WireError(f"tags: values are strings, got {span['tags']!r}")
    for annotation in span.get("annotations", []):
        types = {name: type(value) for name, value in annotation.items()}
        expect("annotation", types, {"timestamp": int, "value": str})
