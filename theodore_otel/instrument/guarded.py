"""Calls of HTTP clients under contrib's instrumentations give what they would give without.

An instrumentation reads a request before the library has looked at it, and an answer that a handler of the program's
own made; either may be something else than it expects. So the original notes what came of it, and whatever contrib
makes of that, the program gets it. Where contrib fails before, the original is called without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.tracebacks import HIDDEN

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _Call:
    """One call of the program's, and what came of it."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.began = False
        self.ended = False
        self.result: Any = None
        self.error: BaseException | None = None


_call: ContextVar[_Call | None] = ContextVar("theodore-otel-call", default=None)


def _as_given(call: _Call, args: tuple[Any, ...], _: dict[str, Any]) -> _Arguments:
    """Return the program's arguments with the request that contrib made of the first: it fills in a timeout of None,
    which is not the default.
    """
    rest = {name: value for name, value in call.kwargs.items() if name != "fullurl"}
    return (*args[:2], *call.args[2:]), rest


def _as_passed(_: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Arguments:
    return args, kwargs


_GUARDED: Final[Mapping[str, tuple[str, str, str, Callable[..., _Arguments]]]] = {
    "requests": ("requests.sessions", "Session", "send", _as_passed),
    "urllib": ("urllib.request", "OpenerDirector", "open", _as_given),
    "urllib3": ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen", _as_passed),
}


_DRESSED: Final = {"structlog": ("structlog", ("configure", "configure_once", "reset_defaults"))}
"""Functions of contrib's that do not look like what they take the place of."""


def around(instrumentor: str, instrument: Callable[[], None]) -> None:
    """Instrument a library, between our two sides of its function."""
    module, names = _DRESSED.get(instrumentor, ("", ()))
    originals = [(name, getattr(import_module(module), name)) for name in names]
    if instrumentor in _GUARDED:
        _between(*_GUARDED[instrumentor], instrument)
    else:
        instrument()
    for name, original in originals:
        replace(import_module(module), name, getattr(import_module(module), name), original)


def _between(
    module: str, class_name: str, name: str, arguments: Callable[..., _Arguments], instrument: Callable[[], None]
) -> None:
    owner = getattr(import_module(module), class_name)
    original = getattr(owner, name)
    replace(owner, name, _inside(original, arguments))
    instrument()
    instrumented = getattr(owner, name)
    outside = _outside(instrumented, original)
    replace(owner, name, outside, original)
    # How contrib knows its own function when it takes it away again.
    outside.__dict__.update({key: value for key, value in vars(instrumented).items() if key != "__wrapped__"})


def _inside(original: Callable[..., Any], arguments: Callable[..., _Arguments]) -> Callable[..., Any]:
    def inside(*args: Any, **kwargs: Any) -> Any:
        call = _call.get()
        if call is None or call.began:
            with HIDDEN:
                return original(*args, **kwargs)
        call.began = True
        args, kwargs = arguments(call, args, kwargs)
        try:
            with HIDDEN:
                call.result = original(*args, **kwargs)
        except BaseException as error:
            call.error = error
            raise
        call.ended = True
        return call.result

    return inside


def _outside(instrumented: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def outside(*args: Any, **kwargs: Any) -> Any:
        call = _Call(args, kwargs)
        token = _call.set(call)
        try:
            with HIDDEN:
                return instrumented(*args, **kwargs)
        except Exception as error:
            if error is call.error:
                raise
        finally:
            _call.reset(token)
        if not call.began:
            with HIDDEN:
                return original(*args, **kwargs)
        if call.error is not None:
            raise call.error
        return call.result

    return outside
