"""From SDK records to OTLP bytes: upstream's encoders, with secrets taken out before the bytes exist.

Everything here is imported by the sending threads, never by the program's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from theodore_otel.instrument import encodable
from theodore_otel.instrument.scrub import Scrubber

_ENCODERS: Final = {
    "traces": "opentelemetry.exporter.otlp.proto.common.trace_encoder",
    "logs": "opentelemetry.exporter.otlp.proto.common._log_encoder",
    "metrics": "opentelemetry.exporter.otlp.proto.common.metrics_encoder",
}


class Encoder:
    """Encodes each signal with upstream's encoder and scrubs the message before it becomes bytes."""

    def __init__(self, scrubber: Scrubber) -> None:
        """Remember the scrubber; upstream's encoders are imported with the first record."""
        self._scrubber = scrubber

    def prepare(self, signal: str) -> None:
        """Import what encoding a signal needs: 100 ms that would be waited for at the end otherwise."""
        import_module(_ENCODERS[signal])
        self._scrubber.text("")

    def traces(self, spans: Sequence[Any]) -> tuple[bytes, int]:
        """Encode ended spans; returns bytes and the number of spans."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        request = _encoded(encode_spans, spans, encodable.span)
        self._scrubber.spans(request)
        return request.SerializeToString(), len(spans)

    def logs(self, records: Sequence[Any]) -> tuple[bytes, int]:
        """Encode log records; returns bytes and the number of records."""
        from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

        from theodore_otel.instrument.processors import WholeRecord

        others = [record for record in records if type(record) is not WholeRecord]
        request = _encoded(encode_logs, others, encodable.log)
        self._scrubber.logs(request)
        if len(others) < len(records):
            whole: list[Any] = [record for record in records if type(record) is WholeRecord]
            masked = _encoded(encode_logs, whole, encodable.log)
            self._scrubber.logs(masked, records=False)
            request.MergeFrom(masked)
        return request.SerializeToString(), len(records)

    def metrics(self, collected: Sequence[Any]) -> tuple[bytes, int]:
        """Encode what a metric reader collected; only the newest matters. Returns bytes and the number of metrics."""
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

        request = _encoded(lambda newest: encode_metrics(newest[0]), collected[-1:], encodable.metrics)
        self._scrubber.metrics(request)
        scopes = [scope for resource in request.resource_metrics for scope in resource.scope_metrics]
        return request.SerializeToString(), sum(len(scope.metrics) for scope in scopes)


def _encoded(encode: Callable[[Sequence[Any]], Any], records: Sequence[Any], fit: Callable[[Any], Any]) -> Any:
    """Encode records; where upstream refuses one, each becomes what OTLP can hold."""
    try:
        return encode(records)
    except Exception:  # noqa: BLE001 - one odd value must not lose its neighbours
        return encode([fit(record) for record in records])


def rejected(signal: str, body: bytes) -> tuple[int, str]:
    """Read how many records the collector's answer says it rejected, and why."""
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        spans = ExportTraceServiceResponse.FromString(body).partial_success
        return spans.rejected_spans, spans.error_message
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        logs = ExportLogsServiceResponse.FromString(body).partial_success
        return logs.rejected_log_records, logs.error_message
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    points = ExportMetricsServiceResponse.FromString(body).partial_success
    return points.rejected_data_points, points.error_message
