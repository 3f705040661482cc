"""Threads of ours: they keep no program from its end, and take none of its signals.

A signal goes to any thread that does not block it. A program that blocks one in all threads it knows, to wait for it
with `sigwait`, would be killed by it in one of ours.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Thread(threading.Thread):
    """A thread that does some work of ours."""

    def __init__(self, name: str, work: Callable[..., None], *args: Any) -> None:
        """`name` tells it from others of ours; `work` is called with `args`."""
        super().__init__(target=work, args=args, name=f"theodore-otel-{name}", daemon=True)

    def start(self) -> None:
        """Start it. Raises RuntimeError where no thread can be started any more."""
        with signals_blocked():
            super().start()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block every signal, for a moment in which a thread is started: it inherits that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
