"""The end of the process: what is left is delivered, within one budget for all signals, and one line says what was not.

`atexit` runs the program's own hooks first, because ours is registered before any of them; SIGTERM is in `termination`.
Workers of multiprocessing keep the default action: a pool that is done terminates them in the middle of their next step
and waits for them; Python may run a handler too late for that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument import children, forks
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.pipeline import Pipeline
from theodore_otel.instrument.say import say
from theodore_otel.instrument.termination import Termination

if TYPE_CHECKING:
    from theodore_otel.instrument.courier import Courier
    from theodore_otel.journal.audit_lazy import LazyDelivery

_WRITING_SECONDS: Final = 0.2
_WRITING_SHARE: Final = 0.2
"""What is kept of the budget for writing down what could not be delivered."""

_WORDS: Final = {
    "traces": ("span", "spans"),
    "logs": ("log record", "log records"),
    "metrics": ("metric", "metrics"),
    "audit": ("audit record", "audit records"),
}


class Ending:
    """Closes every pipeline at once, within the budget."""

    def __init__(self, pipelines: Sequence[Pipeline | LazyDelivery], budget: float) -> None:
        """Remember the pipelines; `budget` is in seconds."""
        self._pipelines = pipelines
        self._budget = budget
        self._before: list[Callable[[], None]] = []
        self._done = False
        self._terminated = Termination(self, budget)
        self.courier: Courier | None = None
        """What keeps on disk what cannot be delivered."""
        self.running = self.waiting = False
        forks.in_child(self._after_fork)

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
            self._terminated.finish()
            return
        self._done = self.running = True
        try:
            self._deliver()
        except KeyboardInterrupt:  # somebody does not want to wait for it
            pass
        finally:
            self.running = False
        self._put_away()
        message = summary(self._pipelines, self.courier)
        if message:
            say(message)
        _keep_interrupted()

    def flush(self) -> None:
        """Send what waits, in a process that goes on and may be killed at any moment."""
        for pipeline in self._pipelines:
            pipeline.hurry()
        for pipeline in self._pipelines:
            if isinstance(pipeline, Pipeline):
                pipeline.flush(self._budget)

    def _deliver(self) -> None:
        deadline = time.monotonic() + self._budget - min(_WRITING_SECONDS, _WRITING_SHARE * self._budget)
        for action in self._before:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - the end of the program goes on
                say(f"cannot finish cleanly: {type(error).__name__}: {error}")
        for pipeline in self._pipelines:
            pipeline.close(deadline)
        if self.courier is not None:
            self.courier.close(deadline)
        self.waiting = True
        for pipeline in self._pipelines:
            pipeline.join()
        if self.courier is not None:
            self.courier.join()

    def _put_away(self) -> None:
        for pipeline in self._pipelines:
            if isinstance(pipeline, Pipeline):
                try:
                    pipeline.put_away()
                except KeyboardInterrupt:  # the others are still kept
                    pass
                except Exception as error:  # noqa: BLE001 - the end of the program goes on
                    say(f"cannot keep what is not delivered: {type(error).__name__}: {error}")

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
        self._done = self.running = self.waiting = False
        if self.courier is not None:
            self.courier.forget()


def _keep_interrupted() -> None:
    """Have Python still end by SIGINT after a KeyboardInterrupt that nobody caught.

    It remembers that in a flag which every later `exec` of a string resets, as importing a dataclass does; running one
    that ends so sets it again.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102


def summary(pipelines: Sequence[Pipeline | LazyDelivery], courier: Courier | None = None) -> str:
    """Say in one line what was not delivered, why, and what becomes of it; empty when all is well."""
    spooled = courier.kept if courier else Counter[str]()
    kept, lost = Counter(spooled), Counter[str]()
    reasons: list[str] = []
    targets: list[str] = []
    for pipeline in pipelines:
        count, reason = pipeline.lost()
        if count or kept[pipeline.signal]:
            gone = count if isinstance(pipeline, Pipeline) else pipeline.in_memory()
            kept[pipeline.signal] += count - gone
            lost[pipeline.signal] += gone
            reasons.append(reason)
            targets.append(_base(pipeline.sender.url) + _by_default(pipeline.sender.url))
    parts = []
    if targets:
        counts = ", ".join(filter(None, (counted(kept, "kept: "), counted(lost, "lost: " if kept.total() else ""))))
        parts.append(f"not delivered to {' and '.join(_unique(targets))}: {counts} ({'; '.join(_unique(reasons))})")
    if kept.total():
        flush = ", as does `theodore-otel spool flush`" if spooled.total() else ""
        parts.append(f"the next run under the same credential delivers what is kept{flush}")
    return "; ".join([*parts, *(notes(courier) if courier else ())])


def _by_default(url: str) -> str:
    """Say where an address that nobody gave comes from."""
    from theodore_otel.instrument.settings import Settings

    given = not url.startswith(f"{Settings.endpoint}/") or "THEODORE_OTEL_CONFIG" in os.environ
    return "" if given else " (the default, as THEODORE_OTEL_CONFIG is not set)"


def notes(courier: Courier) -> list[str]:
    """Say what became of earlier runs' telemetry, and why this one's could not be kept."""
    report = courier.report
    told = {
        "the spool was full, the oldest were deleted: ": courier.evicted,
        "of earlier runs, deleted as too old for a backend: ": report.old,
        f"of earlier runs, refused for good ({report.refusal}): ": report.refused,
    }
    parts = [counted(counts, text) for text, counts in told.items() if counts.total()]
    if report.damaged:
        parts.append(f"of earlier runs, damaged and set aside: {report.damaged} file{'s' * (report.damaged > 1)}")
    if courier.trouble:
        parts.append(f"the spool cannot be used ({courier.trouble})")
    return parts


def counted(counts: Mapping[str, int], before: str = "") -> str:
    """Return counts by signal in words, after `before`; empty when there are none."""
    words = [f"{count} {_WORDS[signal][count > 1]}" for signal in _WORDS if (count := counts.get(signal, 0))]
    return before + ", ".join(words) if words else ""


def _base(url: str) -> str:
    from theodore_otel.instrument.texts import clean_url

    clean = clean_url(url)
    return clean.removesuffix("/").rpartition("/v1/")[0] or clean


def _unique(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))
