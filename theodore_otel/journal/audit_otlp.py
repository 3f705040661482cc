"""Audit records as OTLP log records. Imported by what delivers, never by the program's own thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from theodore_otel.conventions import names
from theodore_otel.journal.audit_record import Record

PREFIX: Final = "audit."
_COPIED: Final = (names.TENANT_ID, names.CORRELATION_ID, names.COMPONENT)
"""What stands in the context and is an attribute of its own besides."""


def request(process: Mapping[str, Any], records: Iterable[Record]) -> bytes:
    """Return one encoded request: `process` becomes the resource's attributes."""
    made = ExportLogsServiceRequest()
    group = made.resource_logs.add()
    for name, value in process.items():
        _set(group.resource.attributes.add(key=name).value, value)
    scope = group.scope_logs.add()
    scope.scope.name = "theodore_otel.audit"
    for record in records:
        _fill(scope.log_records.add(), record)
    encoded: bytes = made.SerializeToString()
    return encoded


def body(actor: str | None, action: str, resource: str | None, outcome: str) -> str:
    """Return the record as a sentence."""
    return " ".join(part for part in (actor or "somebody", action, resource) if part) + f": {outcome}"


def _fill(target: LogRecord, record: Record) -> None:
    details = record.details()
    target.time_unix_nano = target.observed_time_unix_nano = nanoseconds(record.time)
    failed = record.outcome.lower() != "success"
    target.severity_number = SeverityNumber.SEVERITY_NUMBER_WARN if failed else SeverityNumber.SEVERITY_NUMBER_INFO
    target.severity_text = "WARN" if failed else "INFO"
    target.body.string_value = body(record.actor, record.action, record.resource, record.outcome)
    attributes = {names.CATEGORY: "audit"} | {PREFIX + name: value for name, value in record.fields().items()}
    if record.actor:
        attributes[names.USER_ID] = record.actor
    attributes |= {name: details[name] for name in _COPIED if isinstance(details.get(name), str)}
    for name, value in attributes.items():
        _set(target.attributes.add(key=name).value, value)
    target.trace_id, target.span_id = _id(details.get("trace_id"), 16), _id(details.get("span_id"), 8)


def nanoseconds(time: str) -> int:
    """Return a record's time in nanoseconds since 1970."""
    at = datetime.fromisoformat(time)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000


def _set(target: Any, value: Any) -> None:
    if isinstance(value, int):
        target.int_value = value
    else:
        target.string_value = str(value)


def _id(text: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(text)
    except (TypeError, ValueError):
        return b""
    return found if len(found) == size else b""
