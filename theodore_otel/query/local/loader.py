"""Moves what the collector wrote into the store. Killed anywhere, it loses and doubles nothing."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from theodore_otel.query.local import inbox, manifest, tables
from theodore_otel.query.local.damage import Damaged
from theodore_otel.query.local.duck import connect, literal
from theodore_otel.query.local.inbox import Inbox
from theodore_otel.query.local.manifest import Increment, Manifest
from theodore_otel.query.local.otlp import SIGNALS, Row
from theodore_otel.query.local.regular import NotRegularError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# How much of the collector's JSON becomes one step: bounds memory, and what a kill makes the next load repeat.
_STEP_BYTES = 128 * 2**20
_LONGEST_ROW = 64 * 2**20
# A clock may be wrong; a record dated further away than this is filed under the day it arrived.
_FAR = 400 * 86_400 * 10**9


@dataclass(frozen=True)
class Loaded:
    """What one load did."""

    rows: int = 0
    unreadable: int = 0
    """Lines, and records within lines, that are no OTLP JSON."""
    skipped: tuple[Path, ...] = ()
    """What has the name of one of the collector's files and is no regular file."""
    damaged: tuple[Damaged, ...] = ()
    """Files of the store that could no longer be read."""


def load(source: Path, store: Path) -> Loaded:
    """Move everything complete in the collector's folder `source` into `store`. The caller holds the writer's lock."""
    state = manifest.read(store)
    done = Loaded()
    for path, signal in inbox.paths(source):
        try:
            with inbox.opened(path, signal) as entry:
                if entry is not None:
                    done = _load_file(entry, store, state, done)
        except NotRegularError:
            done = replace(done, skipped=(*done.skipped, path))
    return done


def _load_file(entry: Inbox, store: Path, state: Manifest, done: Loaded) -> Loaded:
    offset = entry.resume(state.consumed.get(entry.key))
    while offset < entry.size:
        step = _Step(store, SIGNALS[entry.signal][0], state.arrivals + 1)
        reached = step.read(entry, offset)
        if reached == offset:
            break
        increments = step.finish()
        state.increments += increments
        state.arrivals += bool(increments)
        state.consumed[entry.key] = entry.mark(reached)
        state.unreadable += step.unreadable
        manifest.write(store, state)
        rows = sum(increment.rows for increment in increments)
        done = replace(done, rows=done.rows + rows, unreadable=done.unreadable + step.unreadable)
        offset = reached
    if entry.rotated and offset >= entry.size:
        entry.path.unlink(missing_ok=True)
        if state.consumed.pop(entry.key, None):
            manifest.write(store, state)
    return done


class _Step:
    """Some lines of one file on their way into one Parquet file per day."""

    def __init__(self, store: Path, table: str, arrived: int) -> None:
        self.unreadable = 0
        self._store = store
        self._table = table
        self._arrived = arrived
        self._drafts: dict[str, Path] = {}
        self._written = 0

    def read(self, entry: Inbox, offset: int) -> int:
        """Flatten lines from `offset` on and return the offset reached."""
        begin, now = offset, time.time_ns()
        with ExitStack() as files:
            outputs: dict[str, IO[bytes]] = {}
            for line, end in entry.lines(offset):
                for row in _flatten(line, entry.signal, now):
                    if row is None or (text := _encoded(row, self._arrived)) is None:
                        self.unreadable += 1
                        continue
                    day = _day(row["time"], now)
                    if day not in outputs:
                        outputs[day] = files.enter_context(self._draft(day).open("wb"))
                    outputs[day].write(text)
                    self._written += 1
                offset = end
                if offset - begin >= _STEP_BYTES:
                    break
        return offset

    def finish(self) -> list[Increment]:
        """Write the Parquet files and return their entries; they count once the manifest names them."""
        if not self._drafts:
            return []
        with connect(self._store / "tmp") as database:
            made = [
                write_increment(database, self._store, self._table, day, _rows_of(self._table, draft), self._arrived)
                for day, draft in self._drafts.items()
            ]
        self.unreadable += self._written - sum(increment.rows for increment in made)
        return [increment for increment in made if increment.rows]

    def _draft(self, day: str) -> Path:
        self._drafts[day] = self._store / "tmp" / f"{uuid.uuid4().hex}.ndjson"
        return self._drafts[day]


def write_increment(
    database: DuckDBPyConnection, store: Path, table: str, day: str, rows: str, arrived: int
) -> Increment:
    """Write the rows of a SELECT as one Parquet file, sorted by time, under its final name."""
    name = f"{table}/{day}/{uuid.uuid4().hex}.parquet"
    draft, final = store / "tmp" / Path(name).name, store / name
    final.parent.mkdir(parents=True, exist_ok=True)
    database.execute(f"COPY ({rows} ORDER BY time) TO {literal(draft)} (FORMAT parquet, COMPRESSION zstd)")
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    oldest, newest, count = _extent(database, draft)
    manifest.publish(draft, final)
    return Increment(table, day, name, count, final.stat().st_size, oldest, newest, arrived)


def _extent(database: DuckDBPyConnection, path: Path) -> tuple[int, int, int]:
    question = f"SELECT epoch_ns(min(time)), epoch_ns(max(time)), count(*) FROM read_parquet({literal(path)})"  # noqa: S608
    oldest, newest, count = database.execute(question).fetchall()[0]
    return oldest or 0, newest or 0, count


def _rows_of(table: str, draft: Path) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in tables.incoming(table).items())
    return (
        # ignore_errors: one row that does not fit must not stop all that come after it.
        f"SELECT {tables.selection(table)} FROM read_json({literal(draft)}, format='newline_delimited', "  # noqa: S608
        f"columns={{{columns}}}, ignore_errors=true, maximum_object_size={_LONGEST_ROW}) WHERE time IS NOT NULL"
    )


def _flatten(line: bytes, signal: str, now: int) -> Iterator[Row | None]:
    """Yield a line's rows, and None for each part that cannot be read."""
    if not line.strip():
        return
    make = SIGNALS[signal][1]
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        yield None
        # A collector that was killed while it wrote leaves half a line; its successor goes on right behind that.
        whole = line.rfind(b'{"resource%s":' % signal.replace("traces", "spans").capitalize().encode(), 1)
        try:
            request = json.loads(line[whole:]) if whole > 0 else {}
        except (ValueError, RecursionError):
            return
    yield from make(request, now)


def _encoded(row: Row, arrived: int) -> bytes | None:
    """Return a row as a line of JSON; None when DuckDB would not take it."""
    try:
        text = json.dumps({**row, "arrived": arrived}, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    # `replace`: half a surrogate pair is legal JSON and illegal UTF-8.
    line = text.encode("utf-8", "replace") + b"\n"
    return line if len(line) < _LONGEST_ROW else None


def _day(moment: int, now: int) -> str:
    moment = moment if abs(moment - now) < _FAR else now
    return datetime.fromtimestamp(moment / 10**9, UTC).strftime("%Y-%m-%d")


def sweep(store: Path) -> None:
    """Delete what no manifest names: left by a killed loader, replaced by compaction, or past its time."""
    named = {increment.path for increment in manifest.read(store).increments}
    for path in [*store.glob("*/*/*.parquet"), *(store / "tmp").glob("*")]:
        if path.is_file() and path.relative_to(store).as_posix() not in named:
            path.unlink(missing_ok=True)
    for folder in store.glob("*/*/"):
        if not any(folder.iterdir()):
            folder.rmdir()
