"""SIGHUP has the settings file read again, where it does not mean that somebody's terminal is gone.

A handler of the program's own is called as before, and one it sets later takes our place: the file is watched anyway.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from theodore_otel.instrument import levels_file


def install() -> None:
    """Handle SIGHUP in the main thread of a process without a terminal that has a settings file."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return
    present = signal.getsignal(signal.SIGHUP)
    if isinstance(present, _Again) or present is None or not os.environ.get("THEODORE_OTEL_CONFIG"):
        return
    if present == signal.SIG_IGN or (present == signal.SIG_DFL and _has_terminal()):
        return
    signal.signal(signal.SIGHUP, _Again(present))


class _Again:
    """The handler."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        levels_file.read_again()
        if callable(self._before):
            self._before(number, frame)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
