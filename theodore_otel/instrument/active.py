"""`theodore.active_operations`: how many operations of each type run now.

A process that ends soon does not report them: every run would leave series of its own behind, all of them at zero.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from opentelemetry import metrics

from theodore_otel.conventions import names
from theodore_otel.instrument import forks

SOON = 30.0
"""Seconds that a process has to run before its operations are reported."""

_started = time.monotonic()
_running: Counter[str] = Counter()
_lock = forks.Lock()
_reported = False


def change(kind: str, by: int) -> None:
    """Add to the running operations of one type; 1 at the beginning, -1 at the end."""
    with _lock:
        _running[kind] += by
    if not _reported and time.monotonic() - _started >= SOON:
        report(metrics.get_meter("theodore_otel.watch"))


def report(meter: metrics.Meter) -> None:
    """Report the running operations with a meter, once in a process."""
    global _reported
    if not _reported:
        _reported = True
        show(meter)


def show(meter: metrics.Meter, labels: Mapping[str, str] | None = None) -> None:
    """Let a meter show the running operations, whoever else reports them."""

    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with _lock:
            counts = dict(_running)
        return [metrics.Observation(count, {"operation": kind, **(labels or {})}) for kind, count in counts.items()]

    meter.create_observable_up_down_counter(
        names.METRIC_ACTIVE_OPERATIONS, [observe], unit="{operation}", description="Operations running now."
    )


def _after_fork() -> None:
    _running.clear()  # they run in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
