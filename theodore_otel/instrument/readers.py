"""Values of a watched call, named by paths: `arg.company.name`, `self.provider`, `result.usage.prompt_tokens`.

What starts with none of the roots `arg`, `self`, `result` and `item` is a constant. Several paths in a list are tried
one after the other; `PATH + PATH` is the sum of the numbers that are there.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from theodore_otel.instrument.texts import number_of

MISSING: Final = object()
"""What a reader gives where the path leads nowhere; None is a value."""

Reader = Callable[["Call"], Any]
_ROOTS: Final = ("arg", "self", "result", "item")
_LATE: Final = ("result", "item")
_STEP: Final = re.compile(r"""\.?(?:\[(?P<index>-?\d+)\]|\["(?P<key>[^"]*)"\]|(?P<name>[^.\[\]]+))""")


@dataclass(slots=True)
class Call:
    """One call of a watched function; `result` is there once it has returned."""

    instance: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any = MISSING
    item: Any = MISSING
    """The last item that a generator gave."""


@dataclass(frozen=True)
class Parameters:
    """Where a function's arguments stand, without the instance or class a method is bound to."""

    positions: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keywords: frozenset[str] = frozenset()
    """Parameters that can be given by keyword."""
    rest: str | None = None
    """Name of `*args`."""
    more: str | None = None
    """Name of `**kwargs`."""

    @classmethod
    def of(cls, function: Callable[..., Any], *, bound: bool) -> Parameters:
        """Read the signature of a function; one that has none knows arguments by keyword only."""
        try:
            parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
        except (TypeError, ValueError):
            return cls()
        positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        return cls(
            {parameter.name: place for place, parameter in enumerate(positional)},
            {p.name: p.default for p in parameters if p.default is not p.empty},
            frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)),
            next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None),
            next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None),
        )

    def value(self, call: Call, name: str) -> Any:
        """Return one argument of a call: by keyword, by position, by default, or the rest of them."""
        if name in call.kwargs:
            return call.kwargs[name]
        place = self.positions.get(name)
        if place is not None and place < len(call.args):
            return call.args[place]
        if name == self.rest:
            return call.args[len(self.positions) :]
        if name == self.more:
            return {key: value for key, value in call.kwargs.items() if key not in self.keywords}
        return self.defaults.get(name, MISSING)


def reader(text: Any, parameters: Parameters) -> Reader:
    """Return what reads a configured value from a call: a path, a sum of paths, a list of either, or a constant."""
    if isinstance(text, Sequence) and not isinstance(text, str):
        return _first([reader(one, parameters) for one in text])
    if not isinstance(text, str):
        return lambda _: text
    parts = [_path(part) for part in text.split(" + ")]
    if any(part is None for part in parts):
        return lambda _: text
    readers = [_reader(root, steps, parameters) for root, steps in filter(None, parts)]
    return readers[0] if len(readers) == 1 else _sum(readers)


def is_late(text: Any) -> bool:
    """Say whether a configured value can be read only when the call is over."""
    if isinstance(text, Sequence) and not isinstance(text, str):
        return any(is_late(one) for one in text)
    return any(re.match(r"\w+", part + " ")[0] in _LATE for part in str(text).split(" + ") if _path(part))  # type: ignore[index]


def _path(text: str) -> tuple[str, list[str | int]] | None:
    """Return root and steps of a path; None for what is a constant."""
    root = re.match(r"\w*", text)[0]  # type: ignore[index]
    rest = text[len(root) :]
    if root not in _ROOTS or (rest and rest[0] not in ".["):
        return None
    steps: list[str | int] = []
    place = 0
    while place < len(rest):
        step = _STEP.match(rest, place)
        if step is None:
            return None
        steps.append(int(step["index"]) if step["index"] is not None else step["name"] or step["key"] or "")
        place = step.end()
    return None if root == "arg" and not steps else (root, steps)


def _reader(root: str, steps: list[str | int], parameters: Parameters) -> Reader:
    if root == "self":
        return lambda call: _follow(call.instance, steps)
    if root == "result":
        return lambda call: _follow(call.result, steps)
    if root == "item":
        return lambda call: _follow(call.item, steps)
    name, more = str(steps[0]), steps[1:]
    if name.isdigit():
        return lambda call: _follow(call.args, [int(name), *more])
    return lambda call: _follow(parameters.value(call, name), more)


def _first(readers: list[Reader]) -> Reader:
    def read(call: Call) -> Any:
        found = (one(call) for one in readers)
        return next((value for value in found if value is not MISSING and value is not None), MISSING)

    return read


def _sum(readers: list[Reader]) -> Reader:
    def read(call: Call) -> Any:
        numbers = [number for one in readers if (number := number_of(one(call))) is not None]
        return sum(numbers) if numbers else MISSING

    return read


def _follow(value: Any, steps: Sequence[str | int]) -> Any:
    try:
        for step in steps:
            if value is MISSING or value is None:
                return MISSING
            value = _step(value, step)
    except Exception:  # noqa: BLE001 - a property of the application's may raise anything; it is not read then
        return MISSING
    return value


def _step(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        known = value.get(step, MISSING)
        if known is MISSING and isinstance(step, str) and step.lstrip("-").isdigit():
            known = value.get(int(step), MISSING)
        return known
    if isinstance(value, list | tuple) and (isinstance(step, int) or step.lstrip("-").isdigit()):
        place = int(step)
        return value[place] if -len(value) <= place < len(value) else MISSING
    return getattr(value, str(step), MISSING)
