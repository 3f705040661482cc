"""Files of the store that can no longer be read: put aside, so that all others still answer."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from theodore_otel.query.local import manifest
from theodore_otel.query.local.duck import connect, is_error, literal
from theodore_otel.query.local.manifest import Increment
from theodore_otel.query.local.tables import TABLES


@dataclass(frozen=True)
class Damaged:
    """A file that is no part of the store any more."""

    kept: Path | None
    """Where it was put; None when it was gone."""
    rows: int


def put_aside(store: Path, *, read: bool = False) -> tuple[Damaged, ...]:
    """Take files out of the store that are gone, of another size or no regular files; with `read`, also those that
    DuckDB cannot read. The caller holds the writer's lock.
    """
    state = manifest.read(store)
    bad = [each for each in state.increments if not _is_whole(store, each) or (read and not _is_readable(store, each))]
    if not bad:
        return ()
    state.increments = [each for each in state.increments if each not in bad]
    manifest.write(store, state)
    return tuple(Damaged(_moved(store, each), each.rows) for each in bad)


def _is_whole(store: Path, increment: Increment) -> bool:
    try:
        found = (store / increment.path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == increment.bytes


def _is_readable(store: Path, increment: Increment) -> bool:
    path = store / increment.path
    path.open("rb").close()  # what may not be opened is not damaged
    file = f"read_parquet({literal(path)})"
    try:
        with connect(store / "tmp") as database:
            described = f"SELECT column_name, column_type FROM (DESCRIBE FROM {file})"  # noqa: S608
            columns = dict(database.execute(described).fetchall())
            # Whatever stands in a column, summing the lengths of its texts reads it.
            read = ", ".join(f'sum(length("{name}"::VARCHAR))' for name in columns)
            database.execute(f"SELECT {read} FROM {file}").fetchall()  # noqa: S608
    except Exception as error:
        if not is_error(error) or "Memory" in type(error).__name__:
            raise
        return False
    known = TABLES[increment.table]
    return "time" in columns and all(kind == known.get(name, kind) for name, kind in columns.items())


def _moved(store: Path, increment: Increment) -> Path | None:
    found, kept = store / increment.path, store / "damaged" / Path(increment.path).name
    with suppress(FileNotFoundError, NotADirectoryError):
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        found.rename(kept)
        return kept
    return None
