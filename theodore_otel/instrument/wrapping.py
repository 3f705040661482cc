"""Wrappers around functions of the application, one for each way a function can run.

They give back what the function gives and raise what it raises; a generator stays a generator, and its span is
current only while the generator's own code runs.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from theodore_otel.instrument.operation import Operation, Watched

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
        if operation is None:
            return wrapped(*args, **kwargs)
        token = operation.attach()
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            operation.raised(error)
            raise
        finally:
            operation.detach(token)
        if inspect.iscoroutine(result):  # a decorator hides that the function is asynchronous
            return _finish(operation, result)
        operation.returned(result)
        return result

    return call


def _for_coroutine(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        coroutine = wrapped(*args, **kwargs)  # here, so that wrong arguments are refused when it is called
        return _begin_and_finish(watched, coroutine, instance, args, kwargs)

    return call


async def _begin_and_finish(
    watched: Watched,
    coroutine: Coroutine[Any, Any, Any],
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    operation = watched.begin(instance, args, kwargs)
    return await (coroutine if operation is None else _finish(operation, coroutine))


async def _finish(operation: Operation, coroutine: Coroutine[Any, Any, Any]) -> Any:
    token = operation.attach()
    try:
        result = await coroutine
    except BaseException as error:
        operation.raised(error)
        raise
    finally:
        operation.detach(token)
    operation.returned(result)
    return result


def _for_generator(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _generate(watched, wrapped(*args, **kwargs), instance, args, kwargs)

    return call


def _generate(
    watched: Watched,
    generator: Generator[Any, Any, Any],
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Generator[Any, Any, Any]:
    operation = watched.begin(instance, args, kwargs)
    if operation is None:
        return (yield from generator)
    try:
        result = yield from _Steps(operation, generator)
    except BaseException as error:
        operation.raised(error)
        raise
    operation.returned(result)
    return result


class _Steps(Generator[Any, Any, Any]):
    """A generator whose every step runs inside the operation's context."""

    def __init__(self, operation: Operation, generator: Generator[Any, Any, Any]) -> None:
        self._operation = operation
        self._generator = generator

    def send(self, value: Any) -> Any:
        return self._step(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._generator.throw, *error)

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        token = self._operation.attach()
        try:
            return step(*args)
        finally:
            self._operation.detach(token)


def _for_async_generator(watched: Watched) -> Wrapper:
    def call(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _generate_async(watched, wrapped(*args, **kwargs), instance, args, kwargs)

    return call


async def _generate_async(
    watched: Watched,
    generator: AsyncGenerator[Any, Any],
    instance: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Any, Any]:
    operation = watched.begin(instance, args, kwargs)
    try:
        value = await _async_step(operation, generator.__anext__)
        while True:
            try:
                sent = yield value
            except GeneratorExit:
                await _async_step(operation, generator.aclose)
                raise
            except BaseException as error:  # noqa: BLE001 - handed on into the generator, whatever it is
                value = await _async_step(operation, generator.athrow, error)
            else:
                value = await _async_step(operation, generator.asend, sent)
    except StopAsyncIteration:
        if operation is not None:
            operation.returned(None)
    except BaseException as error:
        if operation is not None:
            operation.raised(error)
        raise


async def _async_step(operation: Operation | None, step: Callable[..., Any], *args: Any) -> Any:
    if operation is None:
        return await step(*args)
    token = operation.attach()
    try:
        return await step(*args)
    finally:
        operation.detach(token)
