"""Questions about metrics: what was added within a time, exactly, although counters are stored as running totals.

A series with one start time is cut into runs: a run ends where the total falls, because whoever counted began anew.
Within a run the increase is the last total minus the last one before the time asked for; a run that began within the
time counts from zero. So a counter that was born and read once counts as well, which `increase()` of Prometheus misses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from theodore_otel.conventions import names, registry
from theodore_otel.query.local.relation import Conditions
from theodore_otel.query.model import MetricQuery, MetricValue

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# A gauge or up-down counter that was not reported for so long no longer stands where it stood.
_STALE = 5 * 60 * 10**9
_TOGETHER: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "min": min, "max": max}


@dataclass(frozen=True)
class _Level:
    """How much a series had counted at some moment."""

    value: float = 0.0
    count: float = 0.0
    buckets: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()

    def minus(self, other: _Level) -> _Level:
        """Return the growth since an earlier level of the same run."""
        if other.buckets and other.bounds != self.bounds:
            # Cut anew meanwhile: how each bucket grew is not known.
            return _Level(self.value - other.value, self.count - other.count)
        earlier = other.buckets or (0,) * len(self.buckets)
        grown = tuple(a - b for a, b in zip(self.buckets, earlier, strict=True))
        return _Level(self.value - other.value, self.count - other.count, grown, self.bounds)


@dataclass(frozen=True)
class _Series:
    """What one run of one series did."""

    name: str
    kind: str
    unit: str
    labels: Mapping[str, str]
    growth: _Level
    last: float


def values(database: DuckDBPyConnection, points: str, query: MetricQuery, forgotten: int) -> list[MetricValue]:
    """Return the metrics' values; `forgotten` (ns) is the newest point that retention has deleted."""
    where = Conditions()
    where.add("time <= make_timestamp_ns(?)", query.until)
    where.add("list_contains(?, name)", list(query.names) or None)
    where.add("tenant_id = ?", query.tenant)
    where.add("attributes->>? = ? OR service = ? OR split_part(name, '.', 2) = ?", *_component(query.component))
    question = _RUNS.format(points=points, where=where)
    parameters = [*where.parameters, query.since, query.since, query.since]
    runs = [_run(row, forgotten, query) for row in database.execute(question, parameters).fetchall()]
    return _grouped((run for run in runs if run is not None), query.by)


def _component(component: str | None) -> Sequence[str | None]:
    return (None,) * 4 if component is None else (names.COMPONENT, component, component, component)


_LEVEL = "{'v': value, 'c': count, 'b': bucket_counts, 'g': bounds}"
_RUNS = (
    """
WITH points AS (
    SELECT *, coalesce(count, value) AS total, series || coalesce(epoch_ns(start_time)::VARCHAR, '') AS line
    FROM {points} WHERE {where}
), steps AS (
    SELECT *, coalesce(total < lag(total) OVER (PARTITION BY line ORDER BY time), false)::INT AS fell FROM points
), runs AS (
    SELECT *, sum(fell) OVER (PARTITION BY line ORDER BY time) AS run FROM steps
)
SELECT any_value(name), any_value(kind), any_value(unit), bool_or(monotonic), bool_or(delta), run,
    any_value(attributes), any_value(tenant_id), any_value(service),
    epoch_ns(any_value(start_time)), epoch_ns(max(time)),
    max_by(LEVEL, time), max_by(LEVEL, time) FILTER (time < make_timestamp_ns(?)),
    min_by(LEVEL, time), list(LEVEL) FILTER (delta AND time >= make_timestamp_ns(?))
FROM runs GROUP BY line, run HAVING max(time) >= make_timestamp_ns(?)
"""
).replace("LEVEL", _LEVEL.replace("{", "{{").replace("}", "}}"))


def _run(row: tuple[Any, ...], forgotten: int, query: MetricQuery) -> _Series | None:
    name, otlp_kind, unit, monotonic, delta, run, attributes, tenant, service, start, newest, *levels = row
    kind = _kind(name, otlp_kind, monotonic)
    last, before, first = (_level(level) for level in levels[:3])
    if kind in ("gauge", "updowncounter") and newest < query.until - _STALE:
        return None
    if delta:
        growth = _added(filter(None, map(_level, levels[3] or ())))
    elif before is not None:
        growth = last.minus(before) if last and before else _Level()
    else:
        # The first known run of a series began within the time, unless older points of it may have been deleted.
        known_from_birth = run > 0 or not forgotten or (start is not None and start > forgotten)
        growth = last.minus(_Level() if known_from_birth or first is None else first) if last else _Level()
    own = {key: _label(value) for key, value in json.loads(attributes or "{}").items()}
    # Whose it is was checked by the collector; a label of that name may be anybody's.
    labels = {"service": service or "", **own, "tenant": tenant or ""}
    return _Series(name, kind, unit, labels, growth, last.value if last else 0.0)


def _kind(name: str, otlp_kind: str, monotonic: bool) -> str:
    known = registry.metrics().get(name)
    if known:
        return known.type
    if otlp_kind == "sum":
        return "counter" if monotonic else "updowncounter"
    return otlp_kind


def _level(level: Mapping[str, Any] | None) -> _Level | None:
    if level is None:
        return None
    buckets, bounds = tuple(level["b"] or ()), tuple(level["g"] or ())
    fit = len(buckets) == len(bounds) + 1 and None not in (*buckets, *bounds)
    return _Level(level["v"] or 0.0, level["c"] or 0, buckets if fit else (), bounds if fit else ())


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _added(levels: Iterable[_Level]) -> _Level:
    total = _Level()
    for level in levels:
        if total.buckets and total.bounds != level.bounds:
            # Histograms with other bounds cannot be added bucket by bucket; count and sum still can.
            total = _Level(total.value + level.value, total.count + level.count)
            continue
        old = total.buckets or (0,) * len(level.buckets)
        summed = tuple(a + b for a, b in zip(old, level.buckets, strict=True)) if level.buckets else ()
        total = _Level(total.value + level.value, total.count + level.count, summed, level.bounds)
    return total


def _grouped(runs: Iterable[_Series], by: Sequence[str] | None) -> list[MetricValue]:
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[_Series]] = {}
    for run in runs:
        labels = run.labels if by is None else {label: run.labels.get(label, "") for label in by}
        groups.setdefault((run.name, tuple(labels.items())), []).append(run)
    return [_value(name, dict(labels), group) for (name, labels), group in sorted(groups.items())]


def _value(name: str, labels: dict[str, str], group: list[_Series]) -> MetricValue:
    kind, unit = group[0].kind, group[0].unit
    if kind == "gauge":
        known = registry.metrics().get(name)
        together = _TOGETHER[known.together if known else "mean"]
        return MetricValue(name, kind, unit, labels, together([run.last for run in group]))
    if kind == "updowncounter":
        return MetricValue(name, kind, unit, labels, sum(run.last for run in group))
    growth = _added(run.growth for run in group)
    if kind != "histogram":
        return MetricValue(name, kind, unit, labels, growth.value)
    return MetricValue(name, kind, unit, labels, growth.count, growth.value, _cumulative(growth))


def _cumulative(growth: _Level) -> tuple[tuple[float, float], ...]:
    total, buckets = 0, []
    for bound, count in zip((*growth.bounds, float("inf")), growth.buckets, strict=False):
        total += count
        buckets.append((bound, float(total)))
    return tuple(buckets)
