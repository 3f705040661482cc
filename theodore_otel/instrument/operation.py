"""One watched function and its running calls: the span, what stands on it, and how it ends.

Nothing here may disturb the application: `begin` gives None and `Operation`'s methods do nothing when something of
ours goes wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from theodore_otel.conventions import names
from theodore_otel.instrument import active, entry, outcome, usage
from theodore_otel.instrument import research as researches
from theodore_otel.instrument.cost import Prices, Tokens
from theodore_otel.instrument.kinds import FUNCTION_NAME, Field, Kind
from theodore_otel.instrument.outcome import Outcome
from theodore_otel.instrument.readers import MISSING, Call, Parameters, Reader, is_late, reader
from theodore_otel.instrument.recorded import record_once
from theodore_otel.instrument.texts import Redact
from theodore_otel.instrument.tracebacks import hide_own_frame

_IN_RESEARCH: Final = frozenset({"research", "ai"})
"""Types of operations that look for the research around them."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Tools:
    """What every watched function uses."""

    tracer: Tracer
    prices: Prices
    redact: Redact


def quietly(function: Callable[_P, _T]) -> Callable[_P, _T | None]:
    """Keep exceptions of ours away from the application: the function gives None instead."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        try:
            return function(*args, **kwargs)
        except Exception:  # noqa: BLE001 - observing must never break what is observed
            return None

    return guarded


class Watched:
    """A function of the application with what the configuration says of it."""

    def __init__(
        self, kind: Kind, entry: Mapping[str, Any], function_name: str, parameters: Parameters, tools: Tools
    ) -> None:
        """`entry` is the configuration of one function; its values are read by path from each call."""
        self.kind = kind
        self.tools = tools
        self.rule = outcome.Rule(entry, kind.type, parameters)
        self.stream: str | None = entry.get("stream")
        self._conditions = [
            (reader(path, parameters), wanted if isinstance(wanted, list) else [wanted])
            for path, wanted in (entry.get("when") or {}).items()
        ]
        self._early: list[tuple[Field, Reader]] = []
        self._late: list[tuple[Field, Reader]] = []
        for one in kind.fields:
            default = function_name if one.default == FUNCTION_NAME else one.default
            text = entry.get(one.key) or default
            if text is not None:
                (self._late if is_late(text) else self._early).append((one, reader(text, parameters)))

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Observer:
        """Start the span of one call. A call inside another watched model call, or not as `when` says, makes none."""
        return self._begin(instance, args, kwargs) or NOTHING

    @quietly
    def _begin(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation | None:
        if self.kind.type == "ai" and usage.ledger() is not None:
            return None
        call = Call(instance, args, kwargs)
        if not all(read(call) in wanted for read, wanted in self._conditions):
            return None
        return Operation(self, call)

    def start(self, attributes: Mapping[str, Any]) -> Span:
        """Start the span of a call with these attributes."""
        kind = SpanKind.CLIENT if self.kind.client else SpanKind.INTERNAL
        told = {names.OPERATION_TYPE: self.kind.type, **attributes}
        return self.tools.tracer.start_span(self.kind.name(attributes), kind=kind, attributes=told)

    def attributes(self, call: Call, *, late: bool) -> dict[str, Any]:
        """Return the span attributes that can be read before the call, or after it (`late`)."""
        found: dict[str, Any] = {}
        for one, read in self._late if late else self._early:
            value = read(call)
            if value is not MISSING and (converted := one.convert(value, self.tools.redact)) is not None:
                found[one.attribute] = converted
        return found


class Observer:
    """What a wrapper does around a call. This one observes nothing."""

    def attach(self) -> Token[Context] | None:
        """Make the span current; the token goes to `context.detach`."""
        return None

    def gave(self, item: Any) -> None:
        """Note an item of a generator."""

    def returned(self, result: Any) -> None:
        """End the span of a call that returned."""

    def raised(self, error: BaseException) -> None:
        """End the span of a call that raised."""

    def running(self) -> Scope:
        """Give the scope of a whole call: the span is current, an exception ends it."""
        return Scope(self, attach=True, end=True)

    def watching(self) -> Scope:
        """Give the scope of a generator's life: an exception ends the span, which is current in its steps only."""
        return Scope(self, attach=False, end=True)

    def stepping(self) -> Scope:
        """Give the scope of one step of a generator: the span is current."""
        return Scope(self, attach=True, end=False)


NOTHING: Final = Observer()


class Scope:
    """A part of the application's run. An exception leaves it with the traceback it would have without us."""

    __slots__ = ("_attach", "_end", "_observer", "_token")

    def __init__(self, observer: Observer, *, attach: bool, end: bool) -> None:
        """`attach`: the observer's span is current inside. `end`: an exception is the end of the call."""
        self._observer = observer
        self._attach = attach
        self._end = end
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        """Begin."""
        if self._attach:
            self._token = self._observer.attach()

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Make current again what was before; the exception goes on."""
        if self._token is not None:
            context.detach(self._token)
        if error is None:
            return
        hide_own_frame(error, traceback)
        if self._end:
            self._observer.raised(error)


class Operation(Observer):
    """One running call of a watched function."""

    _assumed: bool | None = None
    """The outcome that stands on the span from its start."""

    def __init__(self, watched: Watched, call: Call) -> None:
        """Start the span; it is made current by `attach` and ended by `returned` or `raised`."""
        self._watched = watched
        self._call = call
        self._ledger = usage.Ledger() if watched.kind.type == "ai" else None
        self._attributes = watched.attributes(call, late=False)
        self._around = researches.current() if watched.kind.type in _IN_RESEARCH else None
        self._research = self._begin_research()
        self._ended = False
        self.span = self._start()
        self._at_start = self._attributes.copy()
        self.context = self._inner_context()
        self._count(1)

    @quietly
    def attach(self) -> Token[Context]:
        """Make the span current; the token goes to `detach`."""
        return context.attach(self.context)

    def gave(self, item: Any) -> None:
        """Note an item of a generator; the last one can be read."""
        self._call.item = item

    @quietly
    def returned(self, result: Any) -> None:
        """End the span of a call that returned."""
        self._call.result = result
        self._attributes.update(self._watched.attributes(self._call, late=True))
        self._end(self._watched.rule.of_result(self._call, self._watched.tools.redact))

    @quietly
    def raised(self, error: BaseException) -> None:
        """End the span of a call that raised."""
        judged = self._watched.rule.of_exception(error, self._watched.tools.redact)
        if isinstance(error, GeneratorExit):
            self._attributes.update(self._watched.attributes(self._call, late=True))
        if not judged.success:
            self._record(error)
        self._end(judged)

    @quietly
    def _record(self, error: BaseException) -> None:
        record_once(self.span, error)

    def _count(self, by: int) -> None:
        active.change(self._watched.kind.type, by)

    def _begin_research(self) -> researches.Research | None:
        """Return the research that this call is, None for one inside another and for all other kinds."""
        if self._around is not None or self._watched.kind.type != "research":
            return None
        return researches.Research(self._attributes.get(names.COMPANY_NAME))

    def _start(self) -> Span:
        kind = self._watched.kind
        if kind.type == "ai" and self._around and self._around.company:
            self._attributes[names.COMPANY_NAME] = self._around.company
        return self._watched.start(self._attributes)

    def _inner_context(self) -> Context:
        outer = None if self._ledger is None else usage.with_ledger(context.get_current(), self._ledger)
        inner = trace.set_span_in_context(self.span, outer)
        return researches.within(inner, self._research) if self._research else inner

    def _end(self, judged: Outcome) -> None:
        if self._ended:
            return
        self._ended = True
        self._count(-1)
        try:
            if self._ledger is not None:
                self._attributes = self._with_usage(self._ledger.entries)
                if self._around:
                    self._around.add(self._attributes)
            if self._attributes != self._at_start:
                self.span.update_name(self._watched.kind.name(self._attributes))
                self.span.set_attributes(self._attributes)
            if judged.success is not self._assumed:
                self.span.set_attribute(names.SUCCESS, judged.success)
            self._mark(judged)
            if self._research:
                researches.tell(self._research, self._attributes, success=judged.success, inside=self.context)
        finally:
            self.span.end()

    def _with_usage(self, recognised: list[usage.Usage]) -> dict[str, Any]:
        """Add the sum of the calls recognised inside; tokens that the configuration names win over it."""
        own = self._attributes
        if not recognised and own == self._at_start:
            return own
        if names.GEN_AI_INPUT_TOKENS in own or names.GEN_AI_OUTPUT_TOKENS in own:
            last = recognised[-1] if recognised else usage.Usage(Tokens(0, 0), None, None, None)
            provider = own.get(names.GEN_AI_PROVIDER) or last.provider
            model = own.get(names.GEN_AI_REQUEST_MODEL) or last.request_model
            recognised = [usage.Usage(usage.tokens(own), provider, model, last.response_model)]
        return {**usage.attributes(recognised, self._watched.tools.prices), **own}

    def _mark(self, judged: Outcome) -> None:
        if judged.success:
            return
        self.span.set_attribute(names.ERROR_TYPE, judged.error_type)
        self.span.set_status(Status(StatusCode.ERROR, judged.description))
        if self._research:
            entry.fail(judged.description)
