"""The root span of a command line run, for programs built with click (and typer).

Upstream's click instrumentation is not used: it knows only the class `click.Command` itself, takes `ctx.exit(0)` for an
error and `sys.exit(3)` for none, and puts the whole argv on the span.

A program that is not click gets no root span: nothing tells a script from a service, and a span around a service would
become the parent of every request. Its own spans and logs are reported all the same.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode, Tracer

from theodore_otel.conventions import names
from theodore_otel.instrument import context as process_context
from theodore_otel.instrument import entry, forks
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.recorded import record_once
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.texts import described
from theodore_otel.instrument.tracebacks import HIDDEN, hide_own_frame

_SERVERS: Final = ("uvicorn", "gunicorn", "hypercorn", "flask run", "celery worker")


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
        forks.in_child(self._after_fork)

    def install(self) -> None:
        """Wrap click and servers when the program imports them."""
        when_imported("click.core", self._wrap_click)
        when_imported("uvicorn.server", self._wrap_server)
        when_imported("uvicorn.supervisors.multiprocess", lambda module: self._wrap_supervisor(module.Multiprocess))
        when_imported("uvicorn.supervisors.basereload", lambda module: self._wrap_supervisor(module.BaseReload))

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
        group = getattr(click_core, "Group", ())

        def invoke(*args: Any, **kwargs: Any) -> Any:
            command, ctx = _called_with(args, kwargs)
            if ctx is None:
                return original(*args, **kwargs)
            name = _name(ctx)
            # A group that was given a command runs its own callback first: the command is what counts.
            passing = isinstance(command, group) and ctx.invoked_subcommand is not None
            serving = ctx.command_path.endswith(_SERVERS)
            with HIDDEN if passing or serving or self._running else _Running(self, name, ctx):
                return original(*args, **kwargs)

        replace(click_core.Command, "invoke", invoke)

    def begin(self, name: str, ctx: Any) -> Any:
        """Start the span of a command and make it current; returns what `end` needs."""
        self.finish()
        self._span = self._tracer().start_span(name, attributes=self._attributes(name, ctx))
        self._running = True
        return context.attach(trace.set_span_in_context(self._span))

    def end(self, token: Any, error: BaseException | None) -> None:
        """Note how a command ended; its span stays open."""
        if error is not None and self._span is not None:
            self._failed(self._span, error)
        self._ended_at = time.time_ns()
        self._running = False
        if error is None:
            self._follow_exit()
        _detach(token)

    def _attributes(self, name: str, ctx: Any) -> dict[str, Any]:
        return {
            names.OPERATION_TYPE: "command",
            names.COMMAND: name,
            "process.executable.name": os.path.basename(sys.argv[0]) if sys.argv else "",  # noqa: PTH119
            "process.command_args": self._arguments(ctx),
            "process.pid": os.getpid(),
        }

    def _arguments(self, ctx: Any) -> list[str]:
        try:
            return self._scrubber.arguments(sys.argv, set(_secrets(ctx, self._scrubber.secret_key)))
        except Exception:  # noqa: BLE001 - without a matcher no argument leaves, rather than all of them
            return sys.argv[:1]

    def _failed(self, span: trace.Span, error: BaseException) -> None:
        self._exit_code = exit_code(error)
        if self._exit_code == 0 or not span.is_recording() or _is_exit(error):
            return
        record_once(span, error)
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {described(error)}"))
        entry.mark_failed(span)

    def _follow_exit(self) -> None:
        """Note what `sys.exit` says from now on: after the command nothing else tells. Before, it stays untouched."""
        if hasattr(sys.exit, "__wrapped__"):
            return
        original = sys.exit

        def leave(*args: Any, **kwargs: Any) -> Any:
            self._exit_code = exit_code(SystemExit(*args))
            with HIDDEN:
                return original(*args, **kwargs)

        replace(sys, "exit", leave)

    def _wrap_server(self, server: Any) -> None:
        original = server.Server.serve

        async def serve(*args: Any, **kwargs: Any) -> Any:
            self.abandon()
            with HIDDEN:
                return await original(*args, **kwargs)

        replace(server.Server, "serve", serve)

    def _wrap_supervisor(self, supervisor: Any) -> None:
        original = supervisor.run

        def run(*args: Any, **kwargs: Any) -> Any:
            self.abandon()
            with HIDDEN:
                return original(*args, **kwargs)

        replace(supervisor, "run", run)


class _Running:
    """The scope of a running command; its frame leaves the traceback of an exception."""

    def __init__(self, command: CommandSpan, name: str, ctx: Any) -> None:
        self._command = command
        self._name = name
        self._ctx = ctx
        self._token: Any = None

    def __enter__(self) -> None:
        with contextlib.suppress(Exception):  # the command runs whatever becomes of its span
            self._token = self._command.begin(self._name, self._ctx)

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        hide_own_frame(error, traceback)
        with contextlib.suppress(Exception):
            self._command.end(self._token, error)


def _called_with(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return the command and the context that `invoke` was given; no context when it was called wrongly."""
    command, ctx = (*args, None, None)[:2]
    return command, kwargs.get("ctx", ctx)


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


def _secrets(ctx: Any, secret_key: Callable[[str], bool]) -> Iterator[str]:
    """Yield what was given to options and arguments that are secret by name or typed without echo."""
    while ctx is not None:
        for parameter in ctx.command.params:
            if secret_key(parameter.name or "") or getattr(parameter, "hide_input", False):
                value = ctx.params.get(parameter.name)
                yield from (v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, str) and v)
        ctx = ctx.parent


def _detach(token: Any) -> None:
    if token is not None:
        with contextlib.suppress(ValueError):  # the command was abandoned in another context
            context.detach(token)
