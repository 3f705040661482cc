"""An exception is recorded once, on the innermost span it passes, however many of them it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from opentelemetry.trace import Span

_MARK: Final = "__theodore_otel_recorded__"


def record_once(span: Span, error: BaseException, attributes: Mapping[str, str] | None = None) -> None:
    """Record an exception on a span unless it is recorded already; `attributes` replace what upstream makes of it."""
    if getattr(error, _MARK, False):
        return
    if attributes is None:
        span.record_exception(error)
    else:
        span.add_event("exception", attributes)
    with suppress(Exception):  # one of the program's own may refuse
        setattr(error, _MARK, True)
