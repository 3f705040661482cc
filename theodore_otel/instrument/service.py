"""What a FastAPI service adds to FastAPI's own telemetry: the correlation id in answers, and health routes left out.

FastAPI's telemetry (from 0.142 on) makes the span, named by the route, and reads trace, correlation id, tenant and user
through the propagator; so does contrib's instrumentation for older ones. A health route has no span, no request metric
and no exported access record, and neither has what it asks other services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from opentelemetry import baggage, context, propagate
from opentelemetry.context import Context, create_key

from theodore_otel.conventions import names
from theodore_otel.instrument import lazy
from theodore_otel.instrument.context import clean_id, joined
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.settings import Settings
from theodore_otel.instrument.tracebacks import HIDDEN

_ACCESS_LOGGERS: Final = frozenset({"uvicorn.access", "gunicorn.access", "hypercorn.access"})
_LEFT_OUT: Final = create_key("theodore_otel.left_out")
_HANDLED: Final = "theodore_otel"
"""What a scope has that one of our applications handles already: others may be mounted in it."""

Ask = MutableMapping[str, Any]


class Routes:
    """The health routes: exact paths, and `/health/*` for every path below."""

    def __init__(self, routes: Iterable[str]) -> None:
        """Take what the settings list."""
        listed = [route.rstrip("/") or "/" for route in routes]
        self._exact = frozenset(route for route in listed if not route.endswith("/*"))
        self._below = tuple(route.removesuffix("*") for route in listed if route.endswith("/*"))

    def __contains__(self, path: str) -> bool:
        """Say whether a path is one of a health route."""
        return (path.rstrip("/") or "/") in self._exact or path.startswith(self._below)


def install(settings: Settings) -> None:
    """Follow FastAPI applications, whenever the program makes them."""
    # What contrib's instrumentation of older FastAPI would add: two spans a request that tell nothing.
    lazy.preparations["fastapi"] = lambda: {"exclude_spans": ["receive", "send"]}
    routes = Routes(settings.health_routes)
    lazy.when_imported(
        "fastapi.applications", lambda module: _follow(module.FastAPI, routes, settings.correlation_header)
    )


def is_left_out(logger_name: str) -> bool:
    """Say whether a record tells of a request to a health route."""
    return logger_name in _ACCESS_LOGGERS and bool(context.get_value(_LEFT_OUT))


def _follow(application: Any, routes: Routes, header: str | None) -> None:
    original_init, original_call = application.__init__, application.__call__
    native = "telemetry" in getattr(original_init, "__annotations__", {})

    def init(*args: Any, **kwargs: Any) -> None:
        if native:
            kwargs["telemetry"] = _without(routes, kwargs.get("telemetry"))
        with HIDDEN:
            original_init(*args, **kwargs)

    async def call(self: Any, scope: Ask, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or _HANDLED in scope:
            with HIDDEN:
                await original_call(self, scope, receive, send)
            return
        scope[_HANDLED] = True
        token = context.attach(_context_of(scope, left_out=_path(scope) in routes))
        try:
            with HIDDEN:
                await original_call(self, scope, receive, _answering(send, header) if header else send)
        finally:
            context.detach(token)

    replace(application, "__init__", init)
    replace(application, "__call__", call)


def _without(routes: Routes, given: Any) -> dict[str, Any]:
    """Return an application's telemetry settings with the health routes excluded as well."""
    config = dict(given or {})
    own: Callable[[Ask], bool] | None = config.get("exclude")
    config["exclude"] = lambda scope: _path(scope) in routes or bool(own is not None and own(scope))
    return config


def _path(scope: Ask) -> str:
    path = str(scope.get("path", ""))
    root = str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _context_of(scope: Ask, *, left_out: bool) -> Context:
    """Return the context of a request: never that of its server's process, whether FastAPI looks at it or not."""
    carrier = joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ()))
    found = propagate.extract(carrier, Context())
    if not left_out:
        return found
    for key in (context._SUPPRESS_INSTRUMENTATION_KEY, context._SUPPRESS_HTTP_INSTRUMENTATION_KEY, _LEFT_OUT):
        found = context.set_value(key, True, found)
    return found


def _answering(send: Callable[[Any], Any], header: str) -> Callable[[Any], Any]:
    name = header.lower().encode("latin-1")

    async def answer(message: Any) -> None:
        with suppress(Exception):  # the answer goes out, whatever its headers are
            if message["type"] == "http.response.start":
                _add(message, name)
        with HIDDEN:
            await send(message)

    return answer


def _add(message: Any, name: bytes) -> None:
    """Write the request's correlation id among the headers of an answer that has none."""
    value = clean_id(baggage.get_baggage(names.CORRELATION_ID))
    headers = list(message.get("headers") or ())
    if value is not None and not any(key.lower() == name for key, _ in headers):
        message["headers"] = [*headers, (name, value.encode("ascii"))]
