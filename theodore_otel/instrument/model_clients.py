"""Where model calls pass: one patch for each HTTP client, made when the program imports the client.

An answer that the program asked for as a stream is never read here; its call has a span without usage.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

import wrapt

from theodore_otel.instrument.model_api import Exchange, ModelApis
from theodore_otel.instrument.operation import quietly

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def _patch_requests(apis: ModelApis) -> None:
    def send(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args[0] if args else kwargs.get("request"), "body")
        with call:
            response = wrapped(*args, **kwargs)
        # What was not asked for as a stream has been read by now, and `_content` holds it.
        _answered(call, response, "status_code", "_content")
        return response

    wrapt.wrap_function_wrapper("requests.sessions", "Session.send", send)


def _patch_httpx(apis: ModelApis) -> None:
    def send(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args[0] if args else kwargs.get("request"), "_content")
        with call:
            response = wrapped(*args, **kwargs)
        _answered(call, response, "status_code", "_content")
        return response

    async def send_async(wrapped: Callable[..., Any], _: Any, args: _Args, kwargs: _Kwargs) -> Any:
        call = _begin(apis, args[0] if args else kwargs.get("request"), "_content")
        with call:
            response = await wrapped(*args, **kwargs)
        _answered(call, response, "status_code", "_content")
        return response

    wrapt.wrap_function_wrapper("httpx", "Client.send", send)
    wrapt.wrap_function_wrapper("httpx", "AsyncClient.send", send_async)


def _patch_urllib3(apis: ModelApis) -> None:
    def urlopen(wrapped: Callable[..., Any], instance: Any, args: _Args, kwargs: _Kwargs) -> Any:
        url = _pool_url(instance, args[1] if len(args) > 1 else kwargs.get("url", ""))
        call = apis.begin(url or "", args[2] if len(args) > 2 else kwargs.get("body"))
        with call:
            response = wrapped(*args, **kwargs)
        _answered(call, response, "status", "_body")
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
            waiting[response] = call
            weakref.finalize(response, call.answered, response.status, None)
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

    waiting: weakref.WeakKeyDictionary[Any, Exchange] = weakref.WeakKeyDictionary()
    wrapt.wrap_function_wrapper("aiohttp.client", "ClientSession._request", request)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.read", read)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.close", close)
    wrapt.wrap_function_wrapper("aiohttp.client_reqrep", "ClientResponse.release", close)


def _begin(apis: ModelApis, request: Any, body: str) -> Exchange:
    return apis.begin(getattr(request, "url", ""), getattr(request, body, None))


@quietly
def _answered(call: Exchange, response: Any, status: str, body: str) -> None:
    """End a call; what the client has not read by itself is left unread."""
    if call.recognised:
        content = getattr(response, body, None)
        call.answered(getattr(response, status, 0), content if isinstance(content, bytes) else None)


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
