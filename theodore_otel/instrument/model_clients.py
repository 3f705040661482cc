"""Where model calls pass: one patch for each HTTP client, made when the program imports the client.

An answer that the program asked for as a stream is never read here; it is listened to while the program reads it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

import wrapt

from theodore_otel.instrument import streaming, streams
from theodore_otel.instrument.model_api import Exchange, ModelApis
from theodore_otel.instrument.operation import quietly

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def _patch_requests(apis: ModelApis) -> None:
    def send(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args, kwargs, "body")
        with call:
            response = wrapped(*args, **kwargs)
        # What was not asked for as a stream has been read by now, and `_content` holds it.
        _answered(call, response, "_content", streams.listen_to_requests)
        return response

    wrapt.wrap_function_wrapper("requests.sessions", "Session.send", send)


def _patch_httpx(apis: ModelApis) -> None:
    def send(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args, kwargs, "_content")
        with call:
            response = wrapped(*args, **kwargs)
        _answered(call, response, "_content", streams.listen_to_httpx)
        return response

    async def send_async(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args, kwargs, "_content")
        with call:
            response = await wrapped(*args, **kwargs)
        _answered(call, response, "_content", streams.listen_to_httpx)
        return response

    wrapt.wrap_function_wrapper("httpx", "Client.send", send)
    wrapt.wrap_function_wrapper("httpx", "AsyncClient.send", send_async)


def _patch_urllib3(apis: ModelApis) -> None:
    def urlopen(wrapped: Callable[..., Any], instance: Any, args: _Args, kwargs: _Kwargs) -> Any:
        url = _pool_url(instance, args[1] if len(args) > 1 else kwargs.get("url", ""))
        body = args[2] if len(args) > 2 else kwargs.get("body")
        call = apis.begin(url or "", body, read_later=kwargs.get("preload_content") is False)
        with call:
            response = wrapped(*args, **kwargs)
        _answered(call, response, "_body", streams.listen_to_urllib3)
        return response

    wrapt.wrap_function_wrapper("urllib3.connectionpool", "HTTPConnectionPool.urlopen", urlopen)


def _patch_aiohttp(apis: ModelApis) -> None:
    """Aiohttp's answer is read later by the program, so the span stays open until it is read, closed or forgotten."""

    async def request(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        url = args[1] if len(args) > 1 else kwargs.get("url", "")
        call = apis.begin(url, kwargs.get("json", kwargs.get("data")))
        with call:
            response = await wrapped(*args, **kwargs)
        if call.recognised:
            heard = streams.listen_to_aiohttp(call, response) or call
            waiting[response] = heard
            weakref.finalize(response, heard.answered, response.status, None)
        return response

    async def read(wrapped: Callable[..., Any], instance: Any, args: _Args, kwargs: _Kwargs) -> Any:
        body = await wrapped(*args, **kwargs)
        if call := waiting.pop(instance, None):
            call.answered(instance.status, body)
        return body

    def close(wrapped: Callable[..., Any], instance: Any, args: _Args, kwargs: _Kwargs) -> Any:
        if call := waiting.pop(instance, None):
            call.answered(instance.status, None)
        return wrapped(*args, **kwargs)

    waiting: weakref.WeakKeyDictionary[Any, streaming.Call] = weakref.WeakKeyDictionary()
    wrapt.wrap_function_wrapper("aiohttp.client", "ClientSession._request", request)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.read", read)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.close", close)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.release", close)


def _begin(apis: ModelApis, args: _Args, kwargs: _Kwargs, body: str) -> Exchange:
    request = args[0] if args else kwargs.get("request")
    read_later = bool(kwargs.get("stream"))
    return apis.begin(getattr(request, "url", ""), getattr(request, body, None), read_later=read_later)


@quietly
def _answered(call: Exchange, response: Any, body: str, listen: streams.Listen) -> None:
    """End a call whose answer the client has read by itself; listen to one that the program reads."""
    if not call.recognised:
        return
    content = getattr(response, body, None)
    if isinstance(content, bytes):
        _read_at_once(call, response, content)
    elif listen(call, response) is None:
        call.answered(_status(response), None)


def _read_at_once(call: Exchange, response: Any, content: bytes) -> None:
    kind = str((getattr(response, "headers", None) or {}).get("content-type") or "")
    if "event-stream" not in kind.lower():
        call.answered(_status(response), content)
        return
    listener = streaming.Listener(call, _status(response), {"content-type": kind})
    listener.feed(content)
    listener.end()


def _status(response: Any) -> int:
    return int(getattr(response, "status_code", None) or getattr(response, "status", None) or 0)


@quietly
def _pool_url(pool: Any, path: Any) -> str:
    """Return the URL of a request as it was given to the pool manager."""
    if "://" in str(path):
        return str(path)
    usual = {"https": 443, "http": 80}.get(pool.scheme)
    port = "" if pool.port in (None, usual) else f":{pool.port}"
    return f"{pool.scheme}://{pool.host}{port}{path}"


PATCHES: Final[Mapping[str, Callable[[ModelApis], None]]] = {
    "requests": _patch_requests,
    "httpx": _patch_httpx,
    "aiohttp": _patch_aiohttp,
    "urllib3": _patch_urllib3,
}
"""What patches each client, by its module."""
