"""How to listen to an answer that the program reads piece by piece, for each HTTP client."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import wrapt

from theodore_otel.instrument.model_api import Exchange
from theodore_otel.instrument.operation import quietly
from theodore_otel.instrument.streaming import Listener
from theodore_otel.instrument.tracebacks import HIDDEN

Listen = Callable[[Exchange, Any], Listener | None]
"""Begins to listen to a response; gives None where that is impossible."""


@quietly
def listen_to_requests(call: Exchange, response: Any) -> Listener:
    """Listen to a response of requests."""
    return _listen(call, response, response.raw, response.status_code)


@quietly
def listen_to_urllib3(call: Exchange, response: Any) -> Listener:
    """Listen to a response of urllib3."""
    return _listen(call, response, response, response.status)


def _listen(call: Exchange, response: Any, raw: Any, status: int) -> Listener:
    listener = Listener(call, status, {"content-type": raw.headers.get("content-type", "")})  # it unpacks by itself
    original = raw.stream

    def stream(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        return _heard(listener, original(*args, **kwargs))

    raw.stream = stream
    weakref.finalize(response, listener.end)
    return listener


@quietly
def listen_to_httpx(call: Exchange, response: Any) -> Listener:
    """Listen to a response of httpx, synchronous or not."""
    import httpx

    listener = Listener(call, response.status_code, response.headers)
    inner = response.stream

    class Sync(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return _heard(listener, iter(inner), raw=True)

        def close(self) -> None:
            listener.end()
            with HIDDEN:
                inner.close()

    class Async(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return _heard_later(listener, aiter(inner))

        async def aclose(self) -> None:
            listener.end()
            with HIDDEN:
                await inner.aclose()

    response.stream = Sync() if isinstance(inner, httpx.SyncByteStream) else Async()
    weakref.finalize(response, listener.end)
    return listener


@quietly
def listen_to_aiohttp(call: Exchange, response: Any) -> Listener | None:
    """Listen to a response of aiohttp that is a stream of events; any other is read at once and not listened to."""
    listener = Listener(call, response.status, {"content-type": response.headers.get("content-type", "")})
    if "event-stream" not in response.headers.get("content-type", "").lower():
        return None
    response.content = _Content(response.content, listener)
    return listener


def _heard(listener: Listener, pieces: Iterator[bytes], *, raw: bool = False) -> Iterator[bytes]:
    hear = listener.raw if raw else listener.feed
    try:
        while True:
            with HIDDEN:
                piece = next(pieces, None)
            if piece is None:
                return
            hear(piece)
            yield piece
    finally:
        listener.end()


async def _heard_later(listener: Listener, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        while True:
            with HIDDEN:
                piece = await anext(pieces, None)
            if piece is None:
                return
            listener.raw(piece)
            yield piece
    finally:
        listener.end()


if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy


class _Content(_Proxy):
    """The body of a response of aiohttp, whose readers are listened to."""

    def __init__(self, wrapped: Any, listener: Listener) -> None:
        super().__init__(wrapped)
        self._self_listener = listener

    def read(self, n: int = -1) -> Awaitable[bytes]:
        return self._self_heard(self.__wrapped__.read, n)

    def readany(self) -> Awaitable[bytes]:
        return self._self_heard(self.__wrapped__.readany)

    def readline(self, **more: Any) -> Awaitable[bytes]:
        return self._self_heard(self.__wrapped__.readline, **more)

    def readuntil(self, *separator: Any, **more: Any) -> Awaitable[bytes]:
        return self._self_heard(self.__wrapped__.readuntil, *separator, **more)

    def readexactly(self, n: int) -> Awaitable[bytes]:
        return self._self_heard(self.__wrapped__.readexactly, n)

    def readchunk(self) -> Awaitable[tuple[bytes, bool]]:
        return self._self_heard(self.__wrapped__.readchunk)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._self_each(self.readline, b"")

    def iter_any(self) -> AsyncIterator[bytes]:
        return self._self_each(self.readany, b"")

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        return self._self_each(lambda: self.read(n), b"")

    def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        return self._self_each(self.readchunk, (b"", False))

    async def _self_each(self, read: Callable[[], Awaitable[Any]], last: Any) -> AsyncIterator[Any]:
        while True:
            with HIDDEN:
                piece = await read()
            if piece == last:
                return
            yield piece

    async def _self_heard(self, read: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        with HIDDEN:
            found = await read(*args, **more)
        data = found[0] if isinstance(found, tuple) else found
        if data:
            self._self_listener.feed(data)
        elif self.__wrapped__.at_eof():
            self._self_listener.end()
        return found
