"""What makes threads of ours safe for a program that forks.

A child has only the thread that forked: a lock that another one held at that moment is never released there. That
concerns the locks of modules being imported, and the one of `concurrent.futures`.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LONGEST_WAIT: Final = 5.0
"""Seconds a fork waits for our imports: 0.3 on a slow machine. More than that is a deadlock to get out of."""

_lock = threading.Lock()
_forking = threading.local()


def prepare() -> None:
    """Make forks wait for our imports; to be called before the SDK's providers are made.

    Their own hooks start a thread pool in the child, which hangs unless the hooks of the pool's module come before.
    """
    import concurrent.futures.thread  # noqa: F401

    # Python 3.12 warns of a fork in a process with threads. The program may have none but ours.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    if hasattr(os, "register_at_fork"):
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
