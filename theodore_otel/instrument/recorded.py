"""An exception is recorded once, on the innermost span it passes, however many of them it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from opentelemetry.trace import Span

from theodore_otel.conventions import names
from theodore_otel.instrument.texts import described

_MARK: Final = "__theodore_otel_recorded__"


def record_once(span: Span, error: BaseException, attributes: Mapping[str, str] | None = None) -> None:
    """Record an exception on a span unless it is recorded already; `attributes` replace what upstream makes of it."""
    if getattr(error, _MARK, False):
        return
    if attributes is None:
        try:
            span.record_exception(error)
        except Exception:  # noqa: BLE001 - its own text, or its traceback's, cannot be had
            attributes = {names.EXCEPTION_TYPE: type(error).__qualname__, names.EXCEPTION_MESSAGE: described(error)}
    if attributes is not None:
        span.add_event("exception", attributes)
    with suppress(Exception):  # one of the program's own may refuse
        setattr(error, _MARK, True)
