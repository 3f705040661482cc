"""An OTLP endpoint over HTTP that wants a key in a header, as New Relic does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.receiver import attributes, plain

from standins.http import HttpStandIn, Request, WireError, expect

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


class OtlpHttp(HttpStandIn):
    """Keeps OTLP requests by signal."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.headers = headers
        self.requests: dict[str, list[Any]] = {signal: [] for signal in REQUESTS}

    def take(self, request: Request) -> tuple[int, object]:
        expect("method", request.method, "POST")
        request.expect("Content-Type", "application/x-protobuf")
        for name, value in self.headers.items():
            request.expect(name, value)
        signal = request.path.removeprefix("/v1/")
        if request.path != f"/v1/{signal}" or signal not in REQUESTS:
            raise WireError(f"no such path: {request.path}")
        try:
            self.requests[signal].append(REQUESTS[signal].FromString(request.body))
        except DecodeError as error:
            raise WireError(f"no OTLP request: {error}") from error
        return 200, {}

    def records(self, signal: str) -> list[dict[str, Any]]:
        """Return every record of a signal in short form."""
        return [record for request in self.requests[signal] for record in records(signal, request)]


def records(signal: str, request: Any) -> list[dict[str, Any]]:
    """Return what an OTLP request holds: name or body, value, attributes, and the resource's under `resource`."""
    return [
        {"resource": attributes(group.resource), **record}
        for group in (getattr(request, f"resource_{'spans' if signal == 'traces' else signal}"))
        for record in _of_group(signal, group)
    ]


def _of_group(signal: str, group: Any) -> list[dict[str, Any]]:
    if signal == "traces":
        spans = [span for scope in group.scope_spans for span in scope.spans]
        return [{"name": span.name, "attributes": attributes(span)} for span in spans]
    if signal == "logs":
        items = [item for scope in group.scope_logs for item in scope.log_records]
        return [{"body": plain(item.body), "attributes": attributes(item)} for item in items]
    metrics = [metric for scope in group.scope_metrics for metric in scope.metrics]
    return [
        {"name": metric.name, "value": point.as_double or point.as_int, "attributes": attributes(point)}
        for metric in metrics
        for point in (*metric.gauge.data_points, *metric.sum.data_points)
    ]
