"""The local entry span: the root of what this process does for one command or one request.

A failed research looks healthy (the exception is swallowed, the exit code is 0). Whoever recognises the failure deep
inside calls `fail`, and the command or request it happened in shows as failed too.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, get_current_span

from theodore_otel.conventions import names


@dataclass
class Entry:
    """The entry span of one command or request and what became of it."""

    span: Span
    failed: bool = False


# Span id of every open span -> the entry span it hangs under. A span processor fills it, so that spans of any library
# count: contrib's, FastAPI's own, ours.
_entries: dict[int, Entry] = {}


def opened(span: Span, parent_context: Context | None) -> None:
    """Note a started span: under its local parent's entry, or as an entry of its own."""
    parent = get_current_span(parent_context).get_span_context()
    known = None if parent.is_remote else _entries.get(parent.span_id)
    _entries[span.get_span_context().span_id] = known or Entry(span)


def closed(span_id: int) -> None:
    """Forget an ended span."""
    _entries.pop(span_id, None)


def current() -> Entry | None:
    """Return the entry of the current span, if there is one."""
    return _entries.get(get_current_span().get_span_context().span_id)


def fail(reason: str) -> None:
    """Mark the entry span of the current context as failed; the first reason stays. Does nothing without one."""
    entry = current()
    if entry is None or entry.failed or not entry.span.is_recording():
        return
    entry.failed = True
    entry.span.set_attribute(names.SUCCESS, False)
    entry.span.set_status(Status(StatusCode.ERROR, reason))


def failed(span: Span) -> bool:
    """Say whether an entry span was marked as failed."""
    entry = _entries.get(span.get_span_context().span_id)
    return entry is not None and entry.failed


def mark_failed(span: Span) -> None:
    """Note that an entry span has its error status already."""
    entry = _entries.get(span.get_span_context().span_id)
    if entry is not None:
        entry.failed = True
