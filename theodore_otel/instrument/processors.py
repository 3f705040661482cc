"""SDK processors: baggage onto records, and the way from the SDK into a pipeline.

Baggage: upstream's opentelemetry-processor-baggage reads the current context only. In a thread that inherited no
context a record would carry no correlation id, so its processors are given the process's root context there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.baggage import get_all
from opentelemetry.context import Context
from opentelemetry.processor.baggage import BaggageLogProcessor, BaggageSpanProcessor
from opentelemetry.sdk._logs import Logger, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import Span as ApiSpan

from theodore_otel.conventions import names
from theodore_otel.instrument import context, encodable, entry
from theodore_otel.instrument.pipeline import Pipeline

_SEVERITY_NUMBERS: Final = {number.value: number for number in SeverityNumber}


class WholeRecord(ReadWriteLogRecord):
    """A log record that has its baggage, and is masked and checked already: TheodoreLogger made it so."""


def whole_record(
    logger: Logger, moment: int, text: str, severity: int, body: str, attributes: dict[str, Any]
) -> WholeRecord | None:
    """Return a record for `logger`, `moment` in nanoseconds; None where the SDK's limits are for the SDK to keep: then
    it has emitted it.
    """
    made = LogRecord(
        timestamp=moment,
        observed_timestamp=moment,
        severity_text=text,
        severity_number=_SEVERITY_NUMBERS[severity],
        body=body,
        attributes=attributes,
    )
    limits = logger._log_record_limits
    if limits.max_log_record_attribute_length is not None or len(attributes) > (limits.max_log_record_attributes or 0):
        logger.emit(made)
        return None
    whole = object.__new__(WholeRecord)  # its constructor would copy and check every attribute again
    whole.log_record, whole.limits = made, limits
    whole.resource, whole.instrumentation_scope = logger.resource, logger.instrumentation_scope
    return whole


class RootedBaggageSpanProcessor(BaggageSpanProcessor):
    """Copies allow-listed baggage onto spans as they start."""

    def on_start(self, span: ApiSpan, parent_context: Context | None = None) -> None:
        """Use the process's baggage where the span's own context has none."""
        super().on_start(span, parent_context if get_all(parent_context) else context.root())


class RootedBaggageLogProcessor(BaggageLogProcessor):
    """Copies allow-listed baggage onto log records as they are emitted."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Use the process's baggage where the current context has none."""
        if type(log_record) is WholeRecord:
            return
        if get_all():
            super().on_emit(log_record)
            return
        token = context_api.attach(context.root())
        try:
            super().on_emit(log_record)
        finally:
            context_api.detach(token)


class EntrySpanProcessor(SpanProcessor):
    """Keeps track of which command or request every open span belongs to."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note the span."""
        entry.opened(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Forget the span."""
        if span.context is not None:
            entry.closed(span.context.span_id)


class PipelineSpanProcessor(SpanProcessor):
    """Hands ended, sampled spans to a pipeline."""

    def __init__(self, pipeline: Pipeline, resource: Callable[[], Resource]) -> None:
        """Remember the pipeline; `resource` stands on spans of a provider that is not ours too."""
        self._pipeline = pipeline
        self._resource = resource

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Have the pipeline's thread get ready while the operation runs."""
        self._pipeline.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span."""
        if span.context is not None and span.context.trace_flags.sampled:
            resource = self._resource()
            self._pipeline.put(span if span.resource is resource else _under(resource, span))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until the queue is delivered or the time is up."""
        return self._pipeline.flush(timeout_millis / 1000)


def _under(resource: Resource, span: ReadableSpan) -> ReadableSpan:
    """Return a copy of an ended span with another resource: the span itself is the other provider's too."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def audits(record: ReadableLogRecord) -> bool:
    """Say whether a queued record is of category audit: where records must go, it goes last."""
    return (record.log_record.attributes or {}).get(names.CATEGORY) == "audit"


class PipelineLogProcessor(LogRecordProcessor):
    """Hands log records to a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Remember the pipeline."""
        self._pipeline = pipeline

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue the record; one without a time of its own (structlog without TimeStamper) happened when it was seen."""
        if type(log_record) is WholeRecord:
            self._queue(log_record)
            return
        if log_record.log_record.timestamp is None:
            log_record.log_record.timestamp = log_record.log_record.observed_timestamp
        if isinstance(log_record.log_record.body, str):
            log_record.log_record.body = encodable.text(log_record.log_record.body)
        self._queue(
            ReadableLogRecord(
                log_record=log_record.log_record,
                resource=log_record.resource or Resource({}),
                instrumentation_scope=log_record.instrumentation_scope,
                limits=log_record.limits,
            )
        )

    def _queue(self, record: ReadableLogRecord | WholeRecord) -> None:
        self._pipeline.put(record)
        if record.log_record.severity_number is SeverityNumber.FATAL:  # somebody is to be told at once
            self._pipeline.soon()

    def shutdown(self) -> None:
        """Nothing: the pipelines are closed together, by `ending`."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until the queue is delivered or the time is up."""
        return self._pipeline.flush(timeout_millis / 1000)
