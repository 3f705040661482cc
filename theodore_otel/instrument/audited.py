"""Watched functions whose calls become audit records, with how they ended, whether a span is made of them or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any, Final

from opentelemetry import context
from opentelemetry.context import Context

from theodore_otel.instrument.kinds import Kind
from theodore_otel.instrument.operation import Observer, Tools, Watched, quietly
from theodore_otel.instrument.outcome import Outcome
from theodore_otel.instrument.readers import MISSING, Call, Parameters, Reader, is_late, reader

_FIELDS: Final = ("action", "resource", "user")


def watched(kind: Kind, entry: Mapping[str, Any], name: str, parameters: Parameters, tools: Tools) -> Watched:
    """Return a function of the application with what the configuration says of it, audited when that says so."""
    made = AuditedFunction if isinstance(entry.get("audit"), Mapping) else Watched
    return made(kind, entry, name, parameters, tools)


class AuditedFunction(Watched):
    """A watched function that is audited."""

    def __init__(
        self, kind: Kind, entry: Mapping[str, Any], function_name: str, parameters: Parameters, tools: Tools
    ) -> None:
        """Read `audit` of the entry: what is known before a call is read before it, its result and items after it."""
        super().__init__(kind, entry, function_name, parameters, tools)
        wanted = {"action": function_name, **entry["audit"]}
        texts = {name: wanted[name] for name in _FIELDS if wanted.get(name)}
        self.early = {name: reader(text, parameters) for name, text in texts.items() if not is_late(text)}
        self.late = {name: reader(text, parameters) for name, text in texts.items() if is_late(text)}

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Observer:
        """Start the span of one call, where it has one, and look at what is audited."""
        observer = super().begin(instance, args, kwargs)
        return self._audit(observer, Call(instance, args, kwargs)) or observer

    @quietly
    def _audit(self, observer: Observer, call: Call) -> Observer | None:
        if not all(read(call) in wanted for read, wanted in self._conditions):
            return None
        return AuditedCall(self, observer, call)


class AuditedCall(Observer):
    """One running call of an audited function."""

    def __init__(self, function: AuditedFunction, observer: Observer, call: Call) -> None:
        """Read what is audited and known already; `observer` makes the span."""
        self._function = function
        self._observer = observer
        self._call = call
        self._found = _read(function.early, call)
        self._ended = False

    def attach(self) -> Token[Context] | None:
        """Make the span current; the token goes to `context.detach`."""
        return self._observer.attach()

    def gave(self, item: Any) -> None:
        """Note an item of a generator."""
        self._call.item = item
        self._observer.gave(item)

    def returned(self, result: Any) -> None:
        """Record a call that returned."""
        self._call.result = result
        self._end(lambda: self._function.rule.of_result(self._call, self._function.tools.redact))
        self._observer.returned(result)

    def raised(self, error: BaseException) -> None:
        """Record a call that raised."""
        self._end(lambda: self._function.rule.of_exception(error, self._function.tools.redact))
        self._observer.raised(error)

    @quietly
    def _end(self, judge: Callable[[], Outcome]) -> None:
        if self._ended:
            return
        self._ended = True
        token = self._observer.attach()
        try:
            self._record(judge())
        finally:
            if token is not None:
                context.detach(token)

    def _record(self, judged: Outcome) -> None:
        from theodore_otel.telemetry.audit import audit

        found = self._found | _read(self._function.late, self._call)
        reason = {} if judged.success else {"error_type": judged.error_type, "reason": judged.description}
        outcome = "success" if judged.success else "failure"
        audit(
            found.get("action", "unknown"),
            user_id=found.get("user"),
            resource=found.get("resource"),
            outcome=outcome,
            **reason,
        )


def _read(readers: Mapping[str, Reader], call: Call) -> dict[str, str]:
    found = {name: read(call) for name, read in readers.items()}
    return {name: str(value) for name, value in found.items() if value is not MISSING and value is not None}
