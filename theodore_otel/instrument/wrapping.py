"""Wrappers around functions of the application, one for each way a function can run.

They give back what the function gives and raise what it raises; a generator stays a generator, and its span is
current only while the generator's own code runs.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from theodore_otel.instrument import handed
from theodore_otel.instrument.operation import NOTHING, Observer, Watched

Begin = Callable[[], Observer]
Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


def wrapper(watched: Watched, function: Callable[..., Any]) -> Wrapper:
    """Return the wrapper that suits a function, in the form wrapt calls it."""
    if inspect.iscoroutinefunction(function):
        return _for_coroutine(watched)
    if inspect.isasyncgenfunction(function):
        return _for_async_generator(watched)
    if inspect.isgeneratorfunction(function):
        return _for_generator(watched)
    return _for_function(watched)


def _for_function(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = watched.begin(instance, args, kwargs)
        with operation.running():
            result = wrapped(*args, **kwargs)
        if inspect.iscoroutine(result):  # a decorator hides that the function is asynchronous
            return _finish(lambda: operation, result)
        return result if handed.follow(operation, result, watched.stream) else _ended(operation, result)

    return call


def _ended(operation: Observer, result: Any) -> Any:
    """End a call that returned; one that returned a generator ends with that, or when it is forgotten."""
    if inspect.isgenerator(result):
        result = _generate(lambda: operation, result)
    elif inspect.isasyncgen(result):
        result = _generate_async(lambda: operation, result)
    else:
        operation.returned(result)
        return result
    weakref.finalize(result, operation.returned, None)
    return result


def _for_coroutine(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Called here, so that wrong arguments are refused now; observed from when it is awaited.
        with NOTHING.running():
            coroutine = wrapped(*args, **kwargs)
        return _finish(lambda: watched.begin(instance, args, kwargs), coroutine)

    return call


async def _finish(begin: Begin, coroutine: Coroutine[Any, Any, Any]) -> Any:
    operation = begin()
    with operation.running():
        result = await coroutine
    return _ended(operation, result)


def _for_generator(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with NOTHING.running():
            generator = wrapped(*args, **kwargs)
        return _generate(lambda: watched.begin(instance, args, kwargs), generator)

    return call


def _generate(begin: Begin, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    operation = begin()
    with operation.watching():
        result = yield from _Steps(operation, generator)
    operation.returned(result)
    return result


class _Steps(Generator[Any, Any, Any]):
    """A generator whose every step runs inside the operation's context."""

    def __init__(self, operation: Observer, generator: Generator[Any, Any, Any]) -> None:
        self._operation = operation
        self._generator = generator

    def __next__(self) -> Any:
        # Not left to the base class, whose frame would stand in tracebacks.
        with self._operation.stepping():
            return self._noted(next(self._generator))

    def send(self, value: Any) -> Any:
        with self._operation.stepping():
            return self._noted(self._generator.send(value))

    def throw(self, *error: Any) -> Any:
        with self._operation.stepping():
            return self._noted(self._generator.throw(*error))

    def _noted(self, item: Any) -> Any:
        self._operation.gave(item)
        return item


def _for_async_generator(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with NOTHING.running():
            generator = wrapped(*args, **kwargs)
        return _generate_async(lambda: watched.begin(instance, args, kwargs), generator)

    return call


async def _generate_async(begin: Begin, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    operation = begin()
    with operation.watching():
        try:
            value = await _step(operation, generator.__anext__)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    await _step(operation, generator.aclose)
                    raise
                except BaseException as error:  # noqa: BLE001 - handed on into the generator, whatever it is
                    value = await _step(operation, generator.athrow, error)
                else:
                    value = await _step(operation, generator.asend, sent)
        except StopAsyncIteration:
            pass
    operation.returned(None)


async def _step(operation: Observer, step: Callable[..., Any], *args: Any) -> Any:
    with operation.stepping():
        item = await step(*args)
    operation.gave(item)
    return item
