"""gevent turns threads into greenlets while a program runs, such as in a worker of gunicorn.

A thread of ours that was started before would keep locks of another kind, and print a traceback when it ends. So each
ends before threads are patched; the next record starts it again, as a greenlet.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from theodore_otel.instrument import logs
from theodore_otel.instrument.lazy import when_imported


class Pausing(Protocol):
    """What sends in a thread of its own."""

    def pause(self) -> None:
        """End the thread."""

    def resume(self) -> None:
        """Go on."""


def follow(pipelines: Sequence[Pausing]) -> None:
    """Suit these pipelines when the program has gevent patch threads."""
    when_imported("gevent.events", lambda events: events.subscribers.append(lambda event: _on_event(event, pipelines)))


def _on_event(event: Any, pipelines: Sequence[Pausing]) -> None:
    happened = type(event).__name__, getattr(event, "module_name", None)
    if happened == ("GeventWillPatchModuleEvent", "_thread"):
        for pipeline in pipelines:
            pipeline.pause()
    elif happened == ("GeventDidPatchModuleEvent", "threading"):
        logs._busy = import_module("gevent.local").local()  # or one greenlet would silence the others
        for pipeline in pipelines:
            pipeline.resume()
