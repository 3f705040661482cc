"""`theodore.active_operations`: how many operations of each type run now."""

from __future__ import annotations

from functools import cache

from opentelemetry import metrics

from theodore_otel.conventions import names


@cache
def _counter() -> metrics.UpDownCounter:
    return metrics.get_meter("theodore_otel.watch").create_up_down_counter(
        names.METRIC_ACTIVE_OPERATIONS, unit="{operation}", description="Operations running now."
    )


def change(kind: str, by: int) -> None:
    """Add to the running operations of one type; 1 at the beginning, -1 at the end."""
    _counter().add(by, {"operation": kind})
