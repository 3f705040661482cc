"""The root span of a command line run, for programs built with click (and typer).

Upstream's click instrumentation is not used: it knows only the class `click.Command` itself, takes `ctx.exit(0)` for an
error and `sys.exit(3)` for none, and puts the whole argv on the span.

A program that is not click gets no root span: nothing tells a script from a service, and a span around a service would
become the parent of every request. Its own spans and logs are reported all the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode, Tracer

from theodore_otel.conventions import names
from theodore_otel.instrument import context as process_context
from theodore_otel.instrument import entry
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.scrub import Scrubber

_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "flask run", "celery worker"})


class CommandSpan:
    """The one open command span of this process.

    It stays open until the program ends, because only then the exit code is known; its end time is that of the command.
    """

    def __init__(self, tracer: Callable[[], Tracer], scrubber: Scrubber) -> None:
        """Start spans with `tracer`, made when the first command runs."""
        self._tracer = tracer
        self._scrubber = scrubber
        self._span: trace.Span | None = None
        self._ended_at: int | None = None
        self._exit_code: int | None = None
        self._running = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def install(self) -> None:
        """Wrap click when the program imports it, servers when they are imported, and `sys.exit`."""
        when_imported("click.core", self._wrap_click)
        when_imported("uvicorn.server", self._wrap_uvicorn)
        self._wrap_exit()

    def finish(self) -> None:
        """End the span with the outcome known now."""
        span, self._span = self._span, None
        if span is None:
            return
        if self._running:
            span.set_attribute(names.SUCCESS, False)
            span.set_status(Status(StatusCode.ERROR, "terminated by a signal"))
        else:
            self._set_outcome(span, self._exit_code or 0)
        span.end(self._ended_at)
        self._exit_code = self._ended_at = None

    def _set_outcome(self, span: trace.Span, code: int) -> None:
        known = entry.failed(span)
        span.set_attribute("process.exit.code", code)
        span.set_attribute(names.SUCCESS, code == 0 and not known)
        if code != 0 and not known:
            span.set_status(Status(StatusCode.ERROR, f"exit code {code}"))

    def abandon(self) -> None:
        """Drop the span: what runs now is a server, and its requests have roots of their own."""
        if self._span is not None:
            entry.closed(self._span.get_span_context().span_id)
            self._span = None
        context.attach(trace.set_span_in_context(trace.INVALID_SPAN, process_context.root()))

    def _after_fork(self) -> None:
        self._span = None  # the parent ends it; ending it here too would report it twice

    def _wrap_click(self, click_core: Any) -> None:
        original = click_core.Command.invoke

        def invoke(command: Any, ctx: Any) -> Any:
            name = _name(ctx)
            if isinstance(command, _group(click_core)) or self._running or name in _SERVERS:
                return original(command, ctx)
            return self._run(name, original, command, ctx)

        invoke.__wrapped__ = original  # type: ignore[attr-defined]
        click_core.Command.invoke = invoke

    def _run(self, name: str, original: Callable[[Any, Any], Any], command: Any, ctx: Any) -> Any:
        self.finish()
        span = self._tracer().start_span(name, attributes=self._attributes(name))
        self._span = span
        self._running = True
        token = context.attach(trace.set_span_in_context(span))
        try:
            return original(command, ctx)
        except BaseException as error:
            self._failed(span, error)
            raise
        finally:
            self._ended_at = time.time_ns()
            self._running = False
            _detach(token)

    def _attributes(self, name: str) -> dict[str, Any]:
        return {
            names.OPERATION_TYPE: "command",
            names.COMMAND: name,
            "process.executable.name": os.path.basename(sys.argv[0]) if sys.argv else "",  # noqa: PTH119
            "process.command_args": self._arguments(),
            "process.pid": os.getpid(),
        }

    def _arguments(self) -> list[str]:
        try:
            return self._scrubber.arguments(sys.argv)
        except Exception:  # noqa: BLE001 - without a matcher no argument leaves, rather than all of them
            return sys.argv[:1]

    def _failed(self, span: trace.Span, error: BaseException) -> None:
        self._exit_code = exit_code(error)
        if self._exit_code == 0 or not span.is_recording() or _is_exit(error):
            return
        span.record_exception(error)
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        entry.mark_failed(span)

    def _wrap_exit(self) -> None:
        original = sys.exit

        def exit(status: Any = None, /) -> Any:  # noqa: A001
            self._exit_code = exit_code(SystemExit(status))
            return original(status)

        exit.__doc__ = original.__doc__
        sys.exit = exit

    def _wrap_uvicorn(self, server: Any) -> None:
        original = server.Server.serve

        async def serve(instance: Any, *args: Any, **kwargs: Any) -> Any:
            self.abandon()
            return await original(instance, *args, **kwargs)

        server.Server.serve = serve


def exit_code(error: BaseException) -> int:
    """Return the exit code a program ends with when this exception reaches the top."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return 130
    code = getattr(error, "exit_code", 1)  # click's Exit and ClickException carry theirs
    return code if isinstance(code, int) else 1


def _is_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) or (type(error).__name__ == "Exit" and hasattr(error, "exit_code"))


def _name(ctx: Any) -> str:
    """Return the command without the program's own name: `research`, `observability status`."""
    parts: list[str] = []
    while ctx.parent is not None:
        parts.append(ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(reversed(parts)) or ctx.info_name or "command"


def _group(click_core: Any) -> Any:
    return getattr(click_core, "MultiCommand", None) if not hasattr(click_core, "Group") else click_core.Group


def _detach(token: Any) -> None:
    try:
        context.detach(token)
    except ValueError:  # the command was abandoned in another context
        return
