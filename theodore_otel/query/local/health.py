"""Questions about health, in SQL over the metrics."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from theodore_otel.conventions import names
from theodore_otel.query.health import LAST_MOMENT, LastRun, Sample, TargetHealth, judged

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def health(database: DuckDBPyConnection, points: str, since: int) -> list[TargetHealth]:
    """Return how each target is that was asked since then."""
    question = f"""
        SELECT attributes->>'target', series, epoch_ns(time), value = 1 FROM {points}
        WHERE name = ? AND time BETWEEN make_timestamp_ns(?) AND make_timestamp_ns(?) AND value IS NOT NULL
            AND attributes->>'target' IS NOT NULL ORDER BY time"""  # noqa: S608
    seen: defaultdict[str, defaultdict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    rows = database.execute(question, [names.METRIC_HEALTH_UP, since, time.time_ns()]).fetchall()
    for target, series, moment, up in rows:
        seen[target][series].append((moment, up))
    return judged({target: series.values() for target, series in seen.items()}, since)


def last_runs(database: DuckDBPyConnection, points: str, since: int) -> list[LastRun]:
    """Return the last good runs; what was told late does not take the place of what was known already."""
    question = f"""
        SELECT coalesce(tenant_id, ''), attributes->>'command', max(value) FROM {points}
        WHERE name = ? AND value BETWEEN ? AND ? AND attributes->>'command' IS NOT NULL GROUP BY ALL ORDER BY 1, 2"""  # noqa: S608
    rows = database.execute(question, [names.METRIC_COMMAND_LAST_SUCCESS, since / 1e9, LAST_MOMENT / 1e9]).fetchall()
    return [LastRun(tenant, command, int(seconds * 1e9)) for tenant, command, seconds in rows]
