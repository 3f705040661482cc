"""Values of a watched call, named by paths: `arg.company.name`, `self.provider`, `result.usage.prompt_tokens`.

What starts with none of the roots `arg`, `self` and `result` is a constant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MISSING: Final = object()
"""What a reader gives where the path leads nowhere; None is a value."""

Reader = Callable[["Call"], Any]
_ROOTS: Final = ("arg", "self", "result")


@dataclass(slots=True)
class Call:
    """One call of a watched function; `result` is there once it has returned."""

    instance: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any = MISSING


@dataclass(frozen=True)
class Parameters:
    """Where a function's arguments stand, without the instance or class a method is bound to."""

    positions: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any], *, bound: bool) -> Parameters:
        """Read the signature of a function; one that has none knows arguments by keyword only."""
        try:
            parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
        except (TypeError, ValueError):
            return cls()
        positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        positions = {parameter.name: place for place, parameter in enumerate(positional)}
        return cls(positions, {p.name: p.default for p in parameters if p.default is not p.empty})

    def value(self, call: Call, name: str) -> Any:
        """Return one argument of a call, given by keyword, by position or by default."""
        if name in call.kwargs:
            return call.kwargs[name]
        place = self.positions.get(name)
        if place is not None and place < len(call.args):
            return call.args[place]
        return self.defaults.get(name, MISSING)


def reader(text: Any, parameters: Parameters) -> Reader:
    """Return what reads a configured value from a call."""
    root, *steps = text.split(".") if isinstance(text, str) else ("",)
    if root not in _ROOTS or (root == "arg" and not steps):
        return lambda _: text
    if root == "arg":
        return lambda call: _follow(parameters.value(call, steps[0]), steps[1:])
    if root == "self":
        return lambda call: _follow(call.instance, steps)
    return lambda call: _follow(call.result, steps)


def _follow(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if value is MISSING or value is None:
            return MISSING
        value = _step(value, step)
    return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, MISSING)
    if isinstance(value, list | tuple) and step.isdigit():
        return value[int(step)] if int(step) < len(value) else MISSING
    return getattr(value, step, MISSING)
