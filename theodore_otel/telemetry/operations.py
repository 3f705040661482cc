"""What the helpers of `TheodoreTracer` give: one operation to be used with `with`, `async with` or as a decorator.

It is a watched function's operation (`theodore_otel.instrument.operation`) around a block of code: the same span, the
same attributes, the same rules of what failed and what a model call used. A decorated function is a watched function.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from theodore_otel.conventions import names
from theodore_otel.instrument import active, finished, outcome, usage
from theodore_otel.instrument import operation as watched
from theodore_otel.instrument.kinds import KINDS, Field, Kind
from theodore_otel.instrument.outcome import Outcome, Rule
from theodore_otel.instrument.readers import Call, Parameters
from theodore_otel.instrument.recorded import record_once
from theodore_otel.instrument.texts import as_count, as_text, number_of
from theodore_otel.telemetry import redact

_F = TypeVar("_F", bound=Callable[..., Any])
After = Callable[[float], None]
"""What is told the seconds that an operation took."""
_running: Final[dict[int, Running]] = {}
"""Operations by the ledger of a model call, or by their spans."""
HELPED: Final[Mapping[str, Kind]] = {
    **KINDS,
    "ai": replace(
        KINDS["ai"],
        fields=(*KINDS["ai"].fields, Field("estimated_tokens", names.AI_ESTIMATED_TOKENS, as_count)),
    ),
}
"""The kinds of operations that helpers make."""
_PATH: Final = re.compile(r"\b(?:arg|self|result|item)[.\[]")
_TOKENS: Final = (names.GEN_AI_INPUT_TOKENS, names.GEN_AI_OUTPUT_TOKENS, names.AI_TOTAL_TOKENS)
_SUMS: Final = (*usage.COUNTED, names.AI_TOTAL_TOKENS, names.AI_COST)


class Operation:
    """A running operation. Nothing here raises because of what it is given."""

    span: Span
    """The OpenTelemetry span, for what the methods here do not cover. What is set there is masked when it leaves."""
    type: str
    """Such as `ai`."""
    _stated: Outcome | None = None

    def set_attribute(self, key: str, value: Any) -> None:
        """Put a value on the span, masked; maps and mixed lists become JSON."""
        if (safe := attribute(key, value)) is not None:
            self.span.set_attribute(key, safe)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Put several values on the span, masked."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Note that something happened now; name and attributes are masked."""
        found = {key: attribute(key, value) for key, value in (attributes or {}).items()}
        self.span.add_event(redact.text(name), {key: value for key, value in found.items() if value is not None})

    def set_usage(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        *,
        cached_tokens: int | None = None,
        response_model: str | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Tell what a model call used. The cost in US dollars is worked out from the tokens when it is not given.

        `cached_tokens` are those of the input that came from the provider's cache; `response_model` answered.
        """
        counts = {
            names.GEN_AI_INPUT_TOKENS: as_count(input_tokens, redact.text),
            names.GEN_AI_OUTPUT_TOKENS: as_count(output_tokens, redact.text),
            names.GEN_AI_CACHE_READ_TOKENS: as_count(cached_tokens, redact.text),
            names.GEN_AI_RESPONSE_MODEL: as_text(response_model, redact.text),
            names.AI_COST: finite(cost_usd),
        }
        self.tell({name: value for name, value in counts.items() if value is not None})

    def set_pages(self, pages: int) -> None:
        """Tell how many pages a research has scraped."""
        self.tell({names.RESEARCH_PAGES: as_count(pages, redact.text) or 0})

    def set_size(self, size: int) -> None:
        """Tell how many bytes a storage operation wrote or read."""
        self.tell({names.STORAGE_SIZE: as_count(size, redact.text) or 0})

    def fail(self, reason: BaseException | str = "", error_type: str | None = None) -> None:
        """Mark the operation as failed: an exception that was caught, or a reason in words. The first failure stays."""
        if isinstance(reason, BaseException):
            self.record_exception(reason)
            judged = outcome.from_exception(reason, redact.text)
            judged = Outcome(False, error_type or judged.error_type or type(reason).__name__, judged.description)
        else:
            words = as_text(reason, redact.text) or f"{self.type} failed"
            judged = Outcome(False, error_type or f"{self.type}_failed", words)
        if self._stated is None or self._stated.success:
            self.state(judged)

    def succeed(self) -> None:
        """Mark the operation as successful, whatever ends the block; a failure that was told before stays."""
        if self._stated is None:
            self.state(outcome.SUCCESS)

    def set_result(self, result: Any) -> None:
        """Judge the operation by its result: `{"success": False, "error": ...}` or an object like that is a failure."""
        call = Call(None, (), {}, result)
        judged = _rule(self.type).of_result(call, redact.text)
        if not judged.success:
            self.fail(judged.description, judged.error_type)

    def record_exception(self, error: BaseException) -> None:
        """Record an exception with type, text and stack trace, masked; once, on whatever span it is met first."""
        from theodore_otel.telemetry.errors import describe

        record_once(self.span, error, describe(error) if self.span.is_recording() else {})

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Put attributes on the span that need no masking."""
        self.span.set_attributes(attributes)

    def state(self, judged: Outcome) -> None:
        """Note what the program says of the outcome."""
        self._stated = judged


class Running(Operation, watched.Operation):
    """An operation with a span of its own."""

    claimed = False

    def __init__(self, watched_: watched.Watched, call: Call, after: After | None = None) -> None:
        """Start the span; `after` is told the seconds when it ends."""
        self.type = watched_.kind.type
        self._assumed = True if isinstance(watched_, Given) else None
        self._after = after
        self._clock = time.perf_counter() if after is not None else 0.0
        super().__init__(watched_, call)
        self._key = id(self._ledger if self._ledger is not None else self.span)
        _running[self._key] = self
        if self._ledger is not None and not watched_.tools.prices.warming and self.span.is_recording():
            watched_.tools.prices.warm(self._attributes.get(names.GEN_AI_REQUEST_MODEL))

    def finish(self) -> None:
        """End the span of a block that was left in the ordinary way."""
        try:  # noqa: SIM105 - a context manager takes longer
            self._end(outcome.SUCCESS)
        except Exception:  # noqa: BLE001, S110 - observing must never break what is observed
            pass

    def returned(self, result: Any) -> None:
        """End the span of a decorated function that returned."""
        if result is None and self._assumed:
            self.finish()
        else:
            super().returned(result)

    @property
    def times(self) -> tuple[int, int]:
        """When it began and ended, in nanoseconds since the epoch."""
        return getattr(self.span, "start_time", None) or 0, getattr(self.span, "end_time", None) or 0

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What stands on the span, or will at its end."""
        return self._attributes

    def add(self, attributes: Mapping[str, Any]) -> None:
        """Add what a part of the operation told: numbers that add up, the latest of everything else."""
        known = self._attributes
        self.tell({k: v + known.get(k, 0) if k in _SUMS else v for k, v in attributes.items()})

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Keep attributes for the end."""
        self._attributes.update(attributes)

    def _record(self, error: BaseException) -> None:
        self.record_exception(error)

    def _end(self, judged: Outcome) -> None:
        if self._ended:
            return
        if self._stated is not None:
            judged = self._stated
        elif judged.success and (status := getattr(self.span, "status", None)) and not status.is_unset:
            judged = _outcome(status)
        _running.pop(self._key, None)
        super()._end(judged)
        finished.note(self)
        if self._after is not None:
            self._after(time.perf_counter() - self._clock)

    def _with_usage(self, recognised: list[usage.Usage]) -> dict[str, Any]:
        own = self._attributes
        if not recognised and (names.AI_COST in own or len(own) == len(self._at_start)):
            return own
        return super()._with_usage(recognised) if self.span.is_recording() else own


class Step(Running):
    """An operation that nothing is counted of but, where it is `tracked`, its failures and that it runs."""

    def __init__(self, watched_: watched.Watched, call: Call, tracked: str | None) -> None:
        """`tracked` is its name among the running operations."""
        self._tracked = tracked
        super().__init__(watched_, call)

    def _start(self) -> Span:
        told = {names.OPERATION_TYPE: "operation", **self._attributes} if self._tracked else self._attributes.copy()
        if self._assumed:
            told[names.SUCCESS] = True
        return self._watched.tools.tracer.start_span(self._watched.kind.name({}), attributes=told)

    def _count(self, by: int) -> None:
        if self._tracked:
            active.change(self._tracked, by)


class Part(Operation, watched.Observer):
    """An operation that another one covers: what is told of it stands on the span that is there."""

    context = None

    def __init__(self, type_: str, attributes: Mapping[str, Any], after: After | None) -> None:
        """Join what runs around this point."""
        self._outer = _around(type_)
        self._given = attributes
        self.type = type_
        self._after = after
        self._clock = time.perf_counter()
        self.span = self._outer.span if self._outer else trace.get_current_span()

    def returned(self, result: Any) -> None:
        """Judge a call by its result."""
        self.set_result(result)
        self.finish()

    def raised(self, error: BaseException) -> None:  # noqa: ARG002 - it goes on to the operation around this one
        """Tell how long it took."""
        self.finish()

    @watched.quietly
    def finish(self) -> None:
        """Tell how long it took."""
        if self._after is not None:
            self._after(time.perf_counter() - self._clock)

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to those of the whole operation."""
        ledger = usage.ledger()
        if self._outer:
            self._outer.add(attributes)
        elif self.type == "ai" and ledger is not None and any(name in attributes for name in usage.COUNTED):
            ledger.entries.append(_used({**self._given, **attributes}))
        else:
            super().tell(attributes)

    def tell_again(self, attributes: Mapping[str, Any]) -> None:
        """Tell what may have been told of the same operation already."""
        ledger = usage.ledger() if self.type == "ai" else None
        if self._outer:
            self._outer.claimed = True
        known = {*(self._outer.attributes if self._outer else getattr(self.span, "attributes", None) or {})}
        if ledger is not None and ledger.entries:
            known.update(usage.COUNTED)
        if new := not_told(attributes, known):
            self.tell(new)

    def state(self, judged: Outcome) -> None:
        """Note a failure for the whole operation."""
        super().state(judged)
        if self._outer:
            self._outer.state(judged)
        elif not judged.success:
            self.span.set_status(StatusCode.ERROR, judged.description)


class Given(watched.Watched):
    """What a helper was given, in the place of what a configuration says of a function."""

    def __init__(self, kind: Kind, attributes: dict[str, Any], tools: watched.Tools) -> None:
        """`attributes` are those the span begins with."""
        self.kind = kind
        self.tools = tools
        self.rule = _rule(kind.type)
        self.given = attributes
        self._name = kind.name(attributes)
        self._kind = SpanKind.CLIENT if kind.client else SpanKind.INTERNAL
        self._start = {names.OPERATION_TYPE: kind.type, **attributes, names.SUCCESS: True}

    def start(self, attributes: Mapping[str, Any]) -> Span:
        """Start the span. It says that it succeeded until something says otherwise: it is not sent before its end."""
        told = self._start if len(attributes) == len(self.given) else {**self._start, **attributes}
        return self.tools.tracer.start_span(self._name, kind=self._kind, attributes=told)

    def attributes(self, call: Call, *, late: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return what was given."""
        return {} if late else self.given.copy()


class Decorated(watched.Watched):
    """A decorated function: what a helper was given is read of each call, where it names an argument or a result."""

    def __init__(self, helper: Helper, function: Callable[..., Any]) -> None:
        """`function` may be a static or a class method."""
        plain = getattr(function, "__func__", function)
        scope = getattr(plain, "__qualname__", "").rpartition(".")[0]
        bound = bool(scope) and not scope.endswith("<locals>") and not isinstance(function, staticmethod)
        name = getattr(plain, "__name__", "call")
        super().__init__(helper.kind, helper.entry, name, Parameters.of(plain, bound=bound), helper.tools)
        self._helper = helper
        self._constant = not any(_is_read(value) for value in helper.entry.values())

    def begin(self, instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> watched.Observer:
        """Start the operation of one call."""
        return self._operation(Call(instance, args, kwargs)) or watched.NOTHING

    @watched.quietly
    def _operation(self, call: Call) -> watched.Observer:
        if self._constant:
            return self._helper.begin(call)
        return self._helper.operation(self, call, self.attributes(call, late=False))


class Helper:
    """One operation to come: `with`, `async with`, or a decorator of functions, coroutines and generators.

    As a decorator it makes an operation of each call. A text such as `arg.company` is then read of the call, a result
    that says `success: False` is a failure, and what is raised goes on as it came.
    """

    __slots__ = ("_after", "_open", "entry", "kind", "tools", "tracked")

    def __init__(
        self,
        kind: Kind,
        entry: Mapping[str, Any],
        tools: watched.Tools,
        *,
        tracked: str | None = None,
        after: After | None = None,
    ) -> None:
        """`entry` has the values of the kind's fields by their keys."""
        self.kind = kind
        self.entry = entry
        self.tools = tools
        self.tracked = tracked
        self._after = after
        self._open: list[tuple[Running | Part, Any]] = []

    def __enter__(self) -> Operation:
        """Start the operation; its span is current until the block is left."""
        operation = self.begin(Call(None, (), {}))
        self._open.append((operation, context.attach(operation.context) if operation.context is not None else None))
        return operation

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the operation; an exception goes on."""
        operation, token = self._leave()
        if token is not None:
            context.detach(token)
        if error is None:
            operation.finish()
        else:
            operation.raised(error)

    def _leave(self) -> tuple[Running | Part, Any]:
        """Return what is left: of several that run at once, in tasks or threads, the one of this context."""
        if len(self._open) > 1:
            here = context.get_current()
            found = [one for one in self._open.copy() if one[0].context is None or one[0].context is here]
            if found:
                self._open.remove(found[-1])
                return found[-1]
        return self._open.pop()

    async def __aenter__(self) -> Operation:
        """Start the operation."""
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the operation."""
        self.__exit__(kind, error, traceback)

    def __call__(self, function: _F) -> _F:
        """Return the function with an operation around each call."""
        import wrapt

        from theodore_otel.instrument.wrapping import wrapper

        plain = getattr(function, "__func__", function)
        return cast("_F", wrapt.FunctionWrapper(function, wrapper(Decorated(self, function), plain)))

    def operation(self, watched_: watched.Watched, call: Call, attributes: Mapping[str, Any]) -> Running | Part:
        """Start an operation, or join the one that covers it already."""
        if isinstance(self.kind, Named):
            return Step(watched_, call, self.tracked)
        if covered(self.kind, attributes):
            return Part(self.kind.type, attributes, self._after)
        return Running(watched_, call, self._after)

    def begin(self, call: Call) -> Running | Part:
        """Start the operation with what was given."""
        given = given_of(self.kind, self.entry, self.tools)
        return self.operation(given, call, given.given)


class Named(Kind):
    """The kind of operations that have a name and nothing more."""

    __slots__ = ()

    def name(self, attributes: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Return the span's name."""
        return self.title[0]


def given_of(kind: Kind, entry: Mapping[str, Any], tools: watched.Tools) -> Given:
    """Return what a helper was given, masked; `entry` has values by the keys of the kind's fields."""
    if kind is HELPED.get(kind.type):
        try:
            return _known(kind.type, tuple(entry.items()), tools, redact.matcher())
        except TypeError:  # a value that cannot be looked up
            pass
    return _given(kind, entry, tools)


def _given(kind: Kind, entry: Mapping[str, Any], tools: watched.Tools) -> Given:
    found = {one.attribute: one.convert(entry.get(one.key, one.default), redact.text) for one in kind.fields}
    return Given(kind, {name: value for name, value in found.items() if value is not None}, tools)


@lru_cache(maxsize=512)
def _known(type_: str, entry: tuple[tuple[str, Any], ...], tools: watched.Tools, matcher: object) -> Given:  # noqa: ARG001
    """The same for values that were masked by the same matcher before."""
    return _given(HELPED[type_], dict(entry), tools)


def _around(type_: str) -> Running | None:
    """Return the operation of this type that covers this point, if a helper made it."""
    if type_ == "ai":
        return _running.get(id(usage.ledger()))
    found = _running.get(id(trace.get_current_span()))
    return found if found is not None and found.type == type_ else None


def covered(kind: Kind, attributes: Mapping[str, Any]) -> bool:
    """Say whether an operation that runs around this point is this one: a model call inside a model call always is,
    another one when its span is the current one and has the same attributes.
    """
    if kind.type == "ai":
        return usage.ledger() is not None
    around: Mapping[str, Any] = getattr(trace.get_current_span(), "attributes", None) or {}
    if around.get(names.OPERATION_TYPE) != kind.type:
        return False
    return all(around.get(name, value) == value for name, value in attributes.items())


def finite(value: Any) -> float | None:
    """Return a number as one that can be added up; None for what is none."""
    try:
        number = float(number_of(value) if value is not None else "nan")  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def not_told(attributes: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return the attributes that are not known; tokens are known where one kind of them is."""
    counted = any(name in known for name in _TOKENS)
    return {k: v for k, v in attributes.items() if k not in known and not (counted and k in _TOKENS)}


def _is_read(value: Any) -> bool:
    """Say whether a value is a path that is read of each call."""
    return not isinstance(value, str | int | float | None) or (isinstance(value, str) and bool(_PATH.search(value)))


@cache
def _rule(type_: str) -> Rule:
    return Rule({}, type_, Parameters())


def _outcome(status: Status) -> Outcome:
    """Return the outcome that the program set on the span itself."""
    if status.is_ok:
        return outcome.SUCCESS
    return Outcome(success=False, error_type="error", description=status.description or "failed")


def _used(told: Mapping[str, Any]) -> usage.Usage:
    wanted = (names.GEN_AI_PROVIDER, names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL)
    return usage.Usage(usage.tokens(told), *(told.get(name) for name in wanted))


def attribute(key: str, value: Any) -> Any:
    """Return a value as a span can hold it, masked; None for nothing."""
    safe = redact.attribute(key, value)
    if isinstance(safe, Mapping) or (isinstance(safe, list) and len({type(item) for item in safe}) > 1):
        return json.dumps(safe, default=str)
    return safe
