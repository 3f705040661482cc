"""OTLP requests at a steady rate, made once and sent again and again under new trace ids."""

from __future__ import annotations

import base64
import http.client
import os
import time
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import fill

TRACES, SPANS = 50, 10
_SHAPES: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "research company_research",
        {
            "theodore.operation.type": "research",
            "theodore.research.type": "company_research",
            "theodore.research.pages": 9,
            "theodore.success": True,
        },
    ),
    (
        "chat gpt-4o",
        {
            "theodore.operation.type": "ai",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openrouter",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 200,
            "theodore.ai.cost_usd": 0.0045,
        },
    ),
    (
        "GET",
        {
            "url.full": "https://www.example.com/about/company",
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "server.address": "www.example.com",
        },
    ),
    (
        "storage upsert",
        {
            "theodore.operation.type": "storage",
            "theodore.storage.operation": "upsert",
            "theodore.storage.type": "vector_storage",
        },
    ),
)
_SECRETS = {
    "url.full": "https://example.com/a/b/c?token=abcdef0123456789&q=1",
    "app.contact": "someone@example.com",
}


@dataclass
class Template:
    """One request, and where in it the ids stand."""

    body: bytearray
    traces: list[list[int]]
    """Offsets of the trace id of each span of a trace."""


def template(dirty: float) -> Template:
    """Return a request of 50 traces with 10 spans of about 20 attributes; a share of the spans holds two secrets."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    fill(group.resource.attributes, {"service.name": "theodore-v2", "service.version": "2.0.0", "host.name": "h1"})
    scope = group.scope_spans.add()
    scope.scope.name = "theodore"
    now = time.time_ns()
    ids = [[os.urandom(16) for _ in range(SPANS)] for _ in range(TRACES)]
    for number in range(TRACES * SPANS):
        name, own = _SHAPES[number % len(_SHAPES)]
        span = scope.spans.add(trace_id=ids[number // SPANS][number % SPANS], span_id=os.urandom(8), name=name)
        span.kind = 3 if number % 2 else 1
        span.start_time_unix_nano, span.end_time_unix_nano = now - 10**9, now
        rest = {f"app.value.{i}": f"value number {i} of the span" for i in range(18 - len(own))}
        common = {"correlation.id": "0b0f4f0e-58cc-4372-a567-0e02b2c3d479", "user.id": "u-17"}
        secrets = _SECRETS if number * dirty % 1 + dirty >= 1 else {}
        fill(span.attributes, {**own, **common, **rest, **secrets})
    body = bytearray(request.SerializeToString())
    return Template(body, [[body.index(span) for span in trace] for trace in ids])


def send(port: int, seconds: float, rate: float, credential: str, made: Template) -> int:
    """Send spans at a rate a second for some seconds; return how many. Raises AssertionError when one is refused."""
    headers = {"Content-Type": "application/x-protobuf"}
    if credential:
        headers["Authorization"] = "Basic " + base64.b64encode(credential.encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for offsets in made.traces:
            trace = os.urandom(16)
            for offset in offsets:
                made.body[offset : offset + 16] = trace
        connection.request("POST", "/v1/traces", bytes(made.body), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        sent += TRACES * SPANS
        time.sleep(max(0.0, sent / rate - (time.monotonic() - began)))
    connection.close()
    return sent
