"""An exception that passes through instrumentation looks as it would without: frames of ours and of contrib's leave it.

What Theodore prints of an error, by `log.exception` or by dying of it, stays the same byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from opentelemetry import instrumentation

Patch = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]

_CONTRIB: Final = tuple(os.path.join(folder, "") for folder in instrumentation.__path__)  # noqa: PTH118


class Hidden:
    """A scope whose own frame does not show in the traceback of an exception that leaves it."""

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Take the frame out; the exception goes on."""
        hide_own_frame(error, traceback)


class _Tidied:
    """A scope that takes out its own frame and those of contrib's instrumentations below it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None and traceback is not None:
            error.__traceback__ = without_contrib(traceback.tb_next)


HIDDEN: Final = Hidden()
_TIDIED: Final = _Tidied()


def hide_own_frame(error: BaseException | None, traceback: TracebackType | None) -> None:
    """Take the frame of a `with` statement out of the traceback; for the `__exit__` of its scope."""
    if error is not None and traceback is not None:
        error.__traceback__ = traceback.tb_next


def without_contrib(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of contrib's instrumentations."""
    first: TracebackType | None = None
    previous: TracebackType | None = None
    while traceback is not None:
        following = traceback.tb_next
        if not traceback.tb_frame.f_code.co_filename.startswith(_CONTRIB):
            if previous is None:
                first = traceback
            else:
                previous.tb_next = traceback
            previous = traceback
        traceback = following
    if previous is not None:
        previous.tb_next = None
    return first


def _function(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _TIDIED:
        return wrapped(*args, **kwargs)


async def _coroutine(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _TIDIED:
        return await wrapped(*args, **kwargs)


def _set_exception(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    error = args[0] if args else kwargs.get("exception")
    if isinstance(error, BaseException):
        error.__traceback__ = without_contrib(error.__traceback__)
    return wrapped(*args, **kwargs)


_PATCHES: Final[Mapping[str, tuple[tuple[str, str, Patch], ...]]] = {
    "httpx": (
        ("httpx", "HTTPTransport.handle_request", _function),
        ("httpx", "AsyncHTTPTransport.handle_async_request", _coroutine),
    ),
    "requests": (("requests.sessions", "Session.send", _function),),
    "threading": (
        ("threading", "Thread.run", _function),
        ("threading", "Timer.run", _function),
        ("concurrent.futures._base", "Future.set_exception", _set_exception),
    ),
    "urllib": (("urllib.request", "OpenerDirector.open", _function),),
    "urllib3": (("urllib3.connectionpool", "HTTPConnectionPool.urlopen", _function),),
}


def tidy(instrumentor: str) -> None:
    """Hide the frames of an instrumentor of contrib's; to be called once it has wrapped its library."""
    if instrumentor not in _PATCHES:
        return
    import wrapt

    for module, path, patch in _PATCHES[instrumentor]:
        wrapt.wrap_function_wrapper(module, path, patch)
