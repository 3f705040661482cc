"""Operations that ended a moment ago, so that what is told of them afterwards is not counted as another one.

`with tracer.trace_ai_operation(...)` and then `metrics.record_ai_operation(...)` is one call of a model. What ended is
kept for the task or thread it ended in.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

_MOST: Final = 5
_SLACK: Final = 5_000_000
"""Nanoseconds between a span's times and those that the program measures around it."""


class Ended(Protocol):
    """An operation whose span has ended."""

    type: str
    """Such as `ai`."""
    claimed: bool
    """Whether something was told of it already."""

    @property
    def times(self) -> tuple[int, int]:
        """When it began and ended, in nanoseconds since the epoch."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What stands on its span."""


@dataclass
class Finished:
    """What is kept of it: neither the call's arguments nor its result."""

    type: str
    times: tuple[int, int]
    attributes: Mapping[str, Any]
    claimed: bool
    """Whether something was told of it afterwards."""


_latest: ContextVar[tuple[Finished, ...]] = ContextVar("theodore-otel-finished", default=())


def note(operation: Ended) -> None:
    """Remember an operation that ended."""
    kept = Finished(operation.type, operation.times, operation.attributes, operation.claimed)
    _latest.set((*_latest.get()[1 - _MOST :], kept))


def claim(type_: str, identity: Mapping[str, Any], begin: int, now: int) -> Finished | None:
    """Return the operation of this type with these attributes that ran between two times, in nanoseconds; only once."""
    for one in reversed(_latest.get()):
        began, ended = one.times
        within = began >= begin - _SLACK and ended <= now + _SLACK
        same = one.type == type_ and all(one.attributes.get(name) == value for name, value in identity.items())
        if within and same and not one.claimed:
            one.claimed = True
            return one
    return None
