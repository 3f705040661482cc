"""Streams that a watched function hands over inside its result, as Bedrock's ConverseStream does.

The program gets the same result with a stream that notes its items; the call ends with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import wrapt

from theodore_otel.instrument.operation import Observer, quietly
from theodore_otel.instrument.tracebacks import HIDDEN

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy


@quietly
def follow(operation: Observer, result: Any, key: str | None) -> bool:
    """Put a stream that is followed in the place of the one under a result's key; say whether there is one."""
    if key is None or not isinstance(result, MutableMapping) or not hasattr(result.get(key), "__iter__"):
        return False
    stream = _Stream(result[key], operation, result)
    weakref.finalize(stream, operation.returned, None)
    result[key] = stream
    return True


class _Stream(_Proxy):
    """A stream whose items are noted."""

    def __init__(self, wrapped: Any, operation: Observer, result: Any) -> None:
        super().__init__(wrapped)
        self._self_operation = operation
        self._self_rest = {key: value for key, value in result.items() if value is not wrapped}

    def __iter__(self) -> Iterator[Any]:
        items = iter(self.__wrapped__)
        with self._self_operation.watching():
            while True:
                with HIDDEN:
                    item = next(items, self)
                if item is self:
                    break
                self._self_operation.gave(item)
                yield item
        self._self_operation.returned(self._self_rest)

    def close(self) -> None:
        """Close the stream: the call is over."""
        with HIDDEN:
            self.__wrapped__.close()
        self._self_operation.returned(self._self_rest)
