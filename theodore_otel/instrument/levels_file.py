"""Levels that change while the program runs: the settings file is read again when it changed, or when asked to.

A thread looks at the file's time every other second; there is none where no file is named. What cannot be used is told
in one line, and the levels stay as they were.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Final

from theodore_otel.instrument import settings
from theodore_otel.instrument.say import say
from theodore_otel.instrument.threads import Thread

Follower = Callable[[int, Mapping[str, int]], None]

SECONDS: Final = 2.0

_followers: list[Follower] = []
_again = threading.Event()
_thread: threading.Thread | None = None


def follow(follower: Follower) -> None:
    """Have `follower` called with the level of everything and those of components, each time they change."""
    if follower not in _followers:
        _followers.append(follower)
    if os.environ.get("THEODORE_OTEL_CONFIG"):
        _start()


def leave(follower: Follower) -> None:
    """Call `follower` no more."""
    if follower in _followers:
        _followers.remove(follower)


def read_again() -> None:
    """Have the file read now, whether it changed or not. Fit for a signal handler."""
    _again.set()


def _start() -> None:
    global _thread
    if _thread is None:
        _thread = Thread("levels", _look, _state())
        _thread.start()


def _look(seen: tuple[int, ...]) -> None:
    while True:
        asked = _again.wait(SECONDS)
        _again.clear()
        now = _state()
        if asked or now != seen:
            seen = now
            _tell()


def _state() -> tuple[int, ...]:
    try:
        found = os.stat(os.environ.get("THEODORE_OTEL_CONFIG", ""))  # noqa: PTH116
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _tell() -> None:
    try:
        level, components = settings.read_levels()
        for follower in list(_followers):
            follower(level, components)
    except Exception as error:  # noqa: BLE001 - the thread goes on
        say(f"the log levels stay as they are: {error}")


def _after_fork() -> None:
    global _thread, _again
    _again = threading.Event()
    if _thread is not None:  # it runs in the parent only
        _thread = None
        _start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
