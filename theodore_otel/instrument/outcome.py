"""Whether a watched call achieved what it was for, told from its result or its exception."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Final

from theodore_otel.instrument.readers import MISSING, Call, Parameters, Reader, reader
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


class Rule:
    """What the configuration says of success: a path that is true, `{path, equals}` or `{path, not_empty}`, and
    exceptions that are no failures.
    """

    def __init__(self, entry: Mapping[str, Any], kind: str, parameters: Parameters) -> None:
        """`entry` is the configuration of one function; `kind` names the reason of a failure."""
        wanted = entry.get("outcome") or "result.success"
        explicit = wanted if isinstance(wanted, Mapping) else {}
        self._read = reader(explicit.get("path", "result") if explicit else wanted, parameters)
        self._error = reader(entry.get("error") or "result.error", parameters)
        self._equals = _listed(explicit["equals"]) if explicit.get("equals") is not None else None
        self._not_empty = bool(explicit.get("not_empty"))
        self._expected = frozenset(entry.get("expected") or ())
        self._kind = kind

    def of_result(self, call: Call, redact: Redact) -> Outcome:
        """Judge a call that returned. A result that says nothing of success is one, unless a rule asks for more."""
        if self._is_good(self._read(call)):
            return SUCCESS
        return failed_result(call, self._error, self._kind, redact)

    def of_exception(self, error: BaseException, redact: Redact) -> Outcome:
        """Judge a call that raised."""
        if self._expected and not self._expected.isdisjoint(_names(type(error))):
            return SUCCESS
        return from_exception(error, redact)

    def _is_good(self, value: Any) -> bool:
        if self._not_empty:
            return not _is_empty(value)
        if self._equals is not None:
            return any(value is not MISSING and _same(value, one) for one in self._equals)
        return _is_true(value)


def failed_result(call: Call, error: Reader, kind: str, redact: Redact) -> Outcome:
    """Return the failure of a call that returned, with the reason that its result gives."""
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


def _names(kind: type[BaseException]) -> Collection[str]:
    """Return the names under which an exception's class and those above it can be listed."""
    return {name for one in kind.__mro__ for name in (one.__name__, f"{one.__module__}.{one.__qualname__}")}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(value: Any, wanted: Any) -> bool:
    """Compare a value, or an enumeration by its value or name; true and 1 are not the same."""
    forms = (value, getattr(value, "value", MISSING), getattr(value, "name", MISSING))
    return any(isinstance(form, bool) == isinstance(wanted, bool) and form == wanted for form in forms)


def _is_empty(value: Any) -> bool:
    if value is MISSING or value is None:
        return True
    return len(value) == 0 if isinstance(value, Sized) else False


def _is_true(value: Any) -> bool:
    if value is MISSING:
        return True
    return value.strip().lower() not in _BAD_WORDS if isinstance(value, str) else bool(value)
