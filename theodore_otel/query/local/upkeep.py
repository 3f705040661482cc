"""What keeps the store small and quick: many small files become one, old and surplus ones go."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from theodore_otel.query.local import manifest
from theodore_otel.query.local.duck import connect, literal
from theodore_otel.query.local.loader import write_increment
from theodore_otel.query.local.manifest import Increment, Manifest

_SMALL = 16 * 2**20
_MANY = 8


def compact(store: Path) -> None:
    """Merge the small files of each table and day once there are many. The caller holds the writer's lock."""
    state = manifest.read(store)
    groups: dict[tuple[str, str], list[Increment]] = defaultdict(list)
    for increment in state.increments:
        if increment.bytes < _SMALL:
            groups[increment.table, increment.day].append(increment)
    for (table, day), group in groups.items():
        if len(group) >= _MANY:
            _merge(store, state, table, day, group)


def _merge(store: Path, state: Manifest, table: str, day: str, group: list[Increment]) -> None:
    files = ", ".join(literal(store / increment.path) for increment in group)
    with connect(store / "tmp") as database:
        rows = f"SELECT * FROM read_parquet([{files}], union_by_name=true)"  # noqa: S608
        merged = write_increment(database, store, table, day, rows, max(each.arrived for each in group))
    state.increments = [increment for increment in state.increments if increment not in group] + [merged]
    manifest.write(store, state)


def retain(store: Path, keep: timedelta | None, size: int | None) -> None:
    """Forget files older than `keep`, then the oldest ones until at most `size` bytes are left.

    What is not given is what was given last. A file goes as a whole, once its newest record is too old. The caller
    holds the writer's lock.
    """
    state = manifest.read(store)
    before = (state.keep, state.size, len(state.increments))
    state.keep = state.keep if keep is None else keep.total_seconds()
    state.size = state.size if size is None else size
    horizon = time.time_ns() - int(state.keep * 10**9)
    newest_first = sorted(state.increments, key=lambda increment: increment.newest, reverse=True)
    kept: list[Increment] = []
    total = 0
    for increment in newest_first:
        total += increment.bytes
        if increment.newest >= horizon and total <= state.size:
            kept.append(increment)
        else:
            state.forgotten[increment.table] = max(state.forgotten.get(increment.table, 0), increment.newest)
    state.increments = kept
    if before != (state.keep, state.size, len(kept)):
        manifest.write(store, state)
