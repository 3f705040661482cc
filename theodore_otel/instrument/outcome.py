"""Whether a watched call achieved what it was for, told from its result or its exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from theodore_otel.instrument.readers import MISSING, Call, Reader
from theodore_otel.instrument.texts import Redact, as_text

_BAD_WORDS: Final = frozenset({"", "0", "false", "no", "error", "failed", "failure"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended; a success needs no words."""

    success: bool
    error_type: str = ""
    """Class of the exception, or a short reason; one of few values."""
    description: str = ""
    """What is told of the failure, redacted."""


SUCCESS: Final = Outcome(success=True)


def from_result(call: Call, succeeded: Reader, error: Reader, kind: str, redact: Redact) -> Outcome:
    """Judge a call that returned. A result that says nothing of success is one."""
    if _is_good(succeeded(call)):
        return SUCCESS
    reason = error(call)
    if isinstance(reason, BaseException):
        return from_exception(reason, redact)
    text = None if reason is MISSING else as_text(reason, redact)
    return Outcome(success=False, error_type=f"{kind}_failed", description=text or f"{kind} failed")


def from_exception(error: BaseException, redact: Redact) -> Outcome:
    """Judge a call that raised. Leaving a generator early and `sys.exit(0)` are no failures."""
    if isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return SUCCESS
    name = type(error).__name__
    text = as_text(error, redact)
    return Outcome(success=False, error_type=name, description=f"{name}: {text}" if text else name)


def _is_good(value: Any) -> bool:
    if value is MISSING:
        return True
    return value.strip().lower() not in _BAD_WORDS if isinstance(value, str) else bool(value)
