"""What makes threads of ours safe for a program that forks.

A child has only the thread that forked: a lock that another one held at that moment is never released there. That
concerns the locks of modules being imported, the one of `concurrent.futures`, and our own.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LONGEST_WAIT: Final = 5.0
"""Seconds a fork waits for our imports: 0.3 on a slow machine. More than that is a deadlock to get out of."""

_lock = threading.Lock()
_forking = threading.local()
_registered = False
_locks: weakref.WeakSet[Lock] = weakref.WeakSet()
_hooks: list[weakref.WeakMethod[Callable[[], None]]] = []


class Lock:
    """A lock that nobody holds in a forked child."""

    def __init__(self) -> None:
        """Make one that is free."""
        self.renew()
        _locks.add(self)
        _register()

    def renew(self) -> None:
        """Make it free, whoever held it."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Wait for it and take it."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._lock.release()


def prepare() -> None:
    """Make forks wait for our imports; to be called before the SDK's providers are made."""
    # Python 3.12 warns of a fork in a process with threads. The program may have none but ours.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    _register()


def in_child(hook: Callable[[], None]) -> None:
    """Have a bound method called in every forked child, as long as its object lives."""
    _register()
    _hooks[:] = [one for one in _hooks if one() is not None]
    _hooks.append(weakref.WeakMethod(hook))


def _register() -> None:
    """Register with the system once; nothing can be taken back there.

    The hooks of the SDK's providers start a thread pool in the child, which hangs unless the hooks of the pool's module
    come before.
    """
    global _registered
    if _registered or not hasattr(os, "register_at_fork"):
        return
    import concurrent.futures.thread  # noqa: F401

    _registered = True
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


@contextmanager
def importing() -> Iterator[None]:
    """Import something in a thread of ours; no fork happens meanwhile."""
    with _lock:
        yield


def _before() -> None:
    _forking.held = _lock.acquire(timeout=_LONGEST_WAIT)


def _in_parent() -> None:
    if _forking.held:
        _lock.release()


def _in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for lock in list(_locks):
        lock.renew()
    for reference in list(_hooks):
        if (hook := reference()) is not None:
            hook()
