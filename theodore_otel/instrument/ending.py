"""The end of the process: what is left is delivered, within one budget for all signals, and one line says what was not.

`atexit` runs the program's own hooks first, because ours is registered before any of them. SIGTERM kills a Python
program without running `atexit`; a handler stands in for the default action, delivers, and then lets the default action
happen, so that the exit status is the same. The program does not see it: `signal.signal` and `signal.getsignal` still
say SIG_DFL, and setting any handler replaces ours. Workers of multiprocessing keep the default action: a pool that is
done terminates them in the middle of their next step and waits for them; Python may run a handler too late for that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from theodore_otel.instrument import children
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.pipeline import Pipeline
from theodore_otel.instrument.say import say

_WORDS: Final = {"traces": ("span", "spans"), "logs": ("log record", "log records"), "metrics": ("metric", "metrics")}


class Ending:
    """Closes every pipeline at once, within the budget."""

    def __init__(self, pipelines: Sequence[Pipeline], budget: float) -> None:
        """Remember the pipelines; `budget` is in seconds."""
        self._pipelines = pipelines
        self._budget = budget
        self._before: list[Callable[[], None]] = []
        self._done = False
        self._terminated = _Terminated(self)
        self.running = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def before(self, action: Callable[[], None]) -> None:
        """Have `action` called first, such as ending a span that is still open."""
        self._before.append(action)

    def arrange(self) -> None:
        """Run at the end of the program and when it is terminated."""
        atexit.register(self.run)
        if threading.current_thread() is threading.main_thread():
            self._terminated.install()
        when_imported("multiprocessing.util", self._follow_workers)

    def run(self) -> None:
        """Deliver what is left. Takes the budget at most; a second call does nothing."""
        if self._done:
            return
        self._done = self.running = True
        try:
            self._deliver()
        except KeyboardInterrupt:  # somebody does not want to wait for it
            pass
        finally:
            self.running = False
        message = summary(self._pipelines)
        if message:
            say(message)
        _keep_interrupted()

    def _deliver(self) -> None:
        deadline = time.monotonic() + self._budget
        for action in self._before:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - the end of the program goes on
                say(f"cannot finish cleanly: {type(error).__name__}: {error}")
        for pipeline in self._pipelines:
            pipeline.close(deadline)
        for pipeline in self._pipelines:
            pipeline.join()

    def _follow_workers(self, util: Any) -> None:
        util.register_after_fork(self, lambda ending: ending.become_worker(util))
        if children.spawned:
            self.become_worker(util)

    def become_worker(self, util: Any) -> None:
        """Suit a worker of multiprocessing, which leaves past atexit, but runs finalizers of its own. It may be
        terminated at any moment, so it does not keep records for long.
        """
        util.Finalize(None, self.run, exitpriority=-100)
        self._terminated.uninstall()
        for pipeline in self._pipelines:
            pipeline.hurry()

    def _after_fork(self) -> None:
        self._done = self.running = False


def _keep_interrupted() -> None:
    """Have Python still end by SIGINT after a KeyboardInterrupt that nobody caught.

    It remembers that in a flag which every later `exec` of a string resets, as importing a dataclass does; running one
    that ends so sets it again.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102


def summary(pipelines: Sequence[Pipeline]) -> str:
    """Say in one line what was not delivered and why; empty when all is well."""
    counts: list[str] = []
    reasons: list[str] = []
    targets: list[str] = []
    for pipeline in pipelines:
        count, reason = pipeline.lost()
        if not count:
            continue
        one, many = _WORDS[pipeline.signal]
        counts.append(f"{count} {one if count == 1 else many}")
        reasons.append(reason)
        targets.append(_base(pipeline.sender.url))
    if not counts:
        return ""
    return f"not delivered to {' and '.join(_unique(targets))}: {', '.join(counts)} ({'; '.join(_unique(reasons))})"


def _base(url: str) -> str:
    from theodore_otel.instrument.texts import clean_url

    clean = clean_url(url)
    return clean.removesuffix("/").rpartition("/v1/")[0] or clean


def _unique(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


class _Terminated:
    """A handler in place of SIGTERM's default action, which the program does not see."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._installed = False
        self._signal = signal.signal
        self._getsignal = signal.getsignal

    def install(self) -> None:
        if self._getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        self._installed = True
        self._signal(signal.SIGTERM, self._on_signal)
        signal.signal = self._wrapped_signal  # type: ignore[assignment]
        signal.getsignal = self._wrapped_getsignal  # type: ignore[assignment]

    def uninstall(self) -> None:
        self._installed = False
        if self._getsignal(signal.SIGTERM) == self._on_signal:
            self._signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._ending.running:
            return  # it ends already
        self._ending.run()
        self._signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _wrapped_signal(self, signalnum: Any, handler: Any, /) -> Any:
        ours = self._installed and signalnum == signal.SIGTERM and handler == signal.SIG_DFL
        return self._shown(self._signal(signalnum, self._on_signal if ours else handler))

    def _wrapped_getsignal(self, signalnum: Any, /) -> Any:
        return self._shown(self._getsignal(signalnum))

    def _shown(self, handler: Any) -> Any:
        return signal.SIG_DFL if handler == self._on_signal else handler
