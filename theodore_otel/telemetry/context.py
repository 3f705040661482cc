"""Whose work this is: tenant, user and correlation id of what runs now, thin over OpenTelemetry's baggage.

Commands and requests have all of this without a call. What needs one is work that begins inside the program, such as a
message of a queue or the rows of a batch:

    for message in queue:
        with incoming(message.headers), use(tenant=message.tenant):
            work(message)                                   # every span and record in here carries all of it
            reply(message, headers=outgoing())

Every scope works with `with`, with `async with`, and as a decorator of functions and coroutine functions; it holds in
asyncio tasks, threads and multiprocessing workers begun inside it. No SDK is needed, nothing raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry import baggage, context, propagate
from opentelemetry.context import Context

from theodore_otel.conventions import names
from theodore_otel.instrument.context import clean_id, cleaned, joined, new_correlation_id, root

__all__ = ["correlation", "correlation_id", "incoming", "outgoing", "tenant", "use", "user", "with_tenant"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_open: Final[ContextVar[tuple[tuple[Scope, Token[Context]], ...]]] = ContextVar("theodore_otel_scopes", default=())
"""The scopes that the current task or thread is in, outermost first."""


class Scope:
    """A context that is current inside a `with` block or a decorated function; may be entered many times at once."""

    def __init__(self, made: Callable[[], Context]) -> None:
        """Make the context with `made` each time the scope is entered, from the one that is current then."""
        self._made = made

    def __enter__(self) -> None:
        """Make the context current."""
        _open.set((*_open.get(), (self, context.attach(self._made()))))

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Go back to the context from before."""
        entered = _open.get()
        if entered and entered[-1][0] is self:  # else: left by another task than entered it, which ends with its own
            _open.set(entered[:-1])
            context.detach(entered[-1][1])

    async def __aenter__(self) -> None:
        """Make the context current."""
        self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Go back to the context from before."""
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Run a function or coroutine function inside the scope, each call in one of its own."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_later(*args: Any, **kwargs: Any) -> Any:
                with Scope(self._made):
                    return await function(*args, **kwargs)

            return run_later  # type: ignore[return-value]

        @wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with Scope(self._made):
                return function(*args, **kwargs)

        return run


def use(*, tenant: str | None = None, user: str | None = None, correlation_id: str | None = None) -> Scope:
    """Work for a tenant or user, or under a correlation id; what is left out stays as it is.

    A value that cannot be an id (empty, longer than 128 characters, not printable ASCII) is left out too, so that it
    never breaks the request of which it would be a header.
    """
    given = {names.TENANT_ID: tenant, names.USER_ID: user, names.CORRELATION_ID: correlation_id}
    kept = {key: text for key, value in given.items() if (text := clean_id(value)) is not None}

    def made() -> Context:
        current = _current()
        for key, value in kept.items():
            current = baggage.set_baggage(key, value, current)
        return current

    return Scope(made)


def with_tenant(tenant: str) -> Scope:
    """Work for a tenant."""
    return use(tenant=tenant)


def correlation(id: str | None = None) -> Scope:  # noqa: A002 - the name of the thing
    """Begin one message: everything inside carries this correlation id, or a fresh one at each entry."""
    kept = clean_id(id)
    return Scope(lambda: baggage.set_baggage(names.CORRELATION_ID, kept or new_correlation_id(), _current()))


def incoming(headers: Mapping[str, Any]) -> Scope:
    """Continue what the sender of a message began: its trace, correlation id, tenant and user, read from headers.

    Without a correlation id in them the message gets one of its own. Believe headers of senders you trust only.
    """
    carrier = joined((str(name), _text(value)) for name, value in headers.items())

    def made() -> Context:
        found = Context()
        with suppress(Exception):  # headers nobody can read carry nothing
            found = cleaned(propagate.extract(carrier, Context()))
        if baggage.get_baggage(names.CORRELATION_ID, found) is None:
            found = baggage.set_baggage(names.CORRELATION_ID, new_correlation_id(), found)
        return found

    return Scope(made)


def outgoing() -> dict[str, str]:
    """Return headers for a message to a receiver you trust: trace, baggage (tenant and user too), correlation id."""
    carrier: dict[str, str] = {}
    with suppress(Exception):
        propagate.inject(carrier, _current())
    return carrier


def correlation_id() -> str | None:
    """Return the correlation id of what runs now; None in a process that is not observed, outside every scope."""
    return _value(names.CORRELATION_ID)


def tenant() -> str | None:
    """Return the tenant of what runs now."""
    return _value(names.TENANT_ID)


def user() -> str | None:
    """Return the user of what runs now."""
    return _value(names.USER_ID)


def _current() -> Context:
    # A thread that inherited nothing works under what the process began with, as its records do.
    return context.get_current() if baggage.get_all() else _under_root(context.get_current())


def _under_root(current: Context) -> Context:
    for key, value in baggage.get_all(root()).items():
        current = baggage.set_baggage(key, value, current)
    return current


def _value(key: str) -> str | None:
    value = baggage.get_baggage(key, _current())
    return None if value is None else str(value)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
