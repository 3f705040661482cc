"""Redirects: a request that began at an allow-listed host and is sent on to another must not carry our headers there.

httpx asks the propagator again for every hop, which strips; urllib3 injects into a copy. requests, aiohttp and urllib
copy the first hop's headers, so each gets a hook where it builds the next request.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.propagators import GuardedPropagator
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.tracebacks import HIDDEN

_guard: GuardedPropagator | None = None


def install(guard: GuardedPropagator) -> None:
    """Follow the redirects of every client library as the program imports it."""
    global _guard
    _guard = guard
    when_imported("requests.sessions", lambda module: _follow_requests(module, guard))
    when_imported("urllib.request", lambda module: _follow_urllib(module, guard))


def aiohttp_arguments() -> dict[str, Any]:
    """Return the trace configuration that contrib's aiohttp instrumentor adds to every session."""
    guard = _guard
    if guard is None:
        return {}
    import aiohttp

    async def on_redirect(_session: Any, _context: Any, params: Any) -> None:
        _strip(guard, urljoin(str(params.url), params.response.headers.get("Location", "")), params.headers)

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(on_redirect)
    return {"trace_configs": [config]}


def _follow_requests(sessions: Any, guard: GuardedPropagator) -> None:
    original = sessions.SessionRedirectMixin.rebuild_auth

    def rebuild_auth(*args: Any, **kwargs: Any) -> Any:
        with suppress(Exception):  # what is no request is refused below
            request = kwargs["prepared_request"] if "prepared_request" in kwargs else args[1]
            _strip(guard, request.url, request.headers)
        with HIDDEN:
            return original(*args, **kwargs)

    replace(sessions.SessionRedirectMixin, "rebuild_auth", rebuild_auth)


def _follow_urllib(request_module: Any, guard: GuardedPropagator) -> None:
    handler = request_module.HTTPRedirectHandler
    original = handler.redirect_request

    def redirect_request(*args: Any, **kwargs: Any) -> Any:
        with HIDDEN:
            following = original(*args, **kwargs)
        with suppress(AttributeError):  # of the program's own making
            _strip(guard, following.full_url, following.headers)
        return following

    replace(handler, "redirect_request", redirect_request)


def _strip(guard: GuardedPropagator, url: str, headers: Any) -> None:
    with suppress(Exception):  # the request goes on; a URL that cannot be read goes nowhere
        if not guard.allows(urlsplit(url).hostname):
            guard.strip(headers)
