"""The local store: immutable Parquet files written by one loader, asked by in-memory DuckDB, many readers at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from theodore_otel.conventions import names
from theodore_otel.errors import DownError, InputError
from theodore_otel.query.health import LastRun, TargetHealth
from theodore_otel.query.local import folder, health, logs, metrics, traces
from theodore_otel.query.local.duck import connect, is_error
from theodore_otel.query.local.loader import Loaded
from theodore_otel.query.local.relation import relation
from theodore_otel.query.model import (
    LogQuery,
    LogRecord,
    MetricQuery,
    MetricValue,
    SignalStatus,
    Status,
    Trace,
    TraceQuery,
    TraceSummary,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from theodore_otel.query.local.manifest import Manifest

__all__ = ["Loaded", "LocalStore"]

_Answer = TypeVar("_Answer")
_SIGNALS = {"traces": "spans", "logs": "logs", "metrics": "metrics"}


class LocalStore:
    """A `Source`, and `HealthSource`, over the files in `home`: the collector's in `otlp/`, and the store in `store/`.

    Every question first loads what is new. `keep` (age) and `size` (bytes) bound what is kept; the store remembers
    them, and begins with 7 days and 2 GiB.
    """

    def __init__(
        self,
        home: Path,
        *,
        keep: timedelta | None = None,
        size: int | None = None,
        on_load: Callable[[Loaded], None] | None = None,
    ) -> None:
        """Name the folder and the bounds; nothing is read or written yet."""
        self.inbox = home / "otlp"
        self.store = home / "store"
        self._keep = keep
        self._size = size
        self._on_load = on_load

    def load(self) -> Loaded:
        """Bring the store up to date; also done before every question."""
        with _told(self.store):
            loaded = folder.refresh(self.inbox, self.store, self._keep, self._size)
        if self._on_load:
            self._on_load(loaded)
        return loaded

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        """See `Source.traces`."""
        return self._ask(lambda state, database: traces.summaries(database, self._held(state, "spans"), query))

    def trace(self, trace_id: str) -> Trace | None:
        """See `Source.trace`."""
        return self._ask(lambda state, database: self._trace(database, self._held(state, "spans"), trace_id))

    def logs(self, query: LogQuery) -> list[LogRecord]:
        """See `Source.logs`."""
        return self.arrivals(query)[0]

    def arrivals(self, query: LogQuery, mark: int | None = None) -> tuple[list[LogRecord], int]:
        """See `Source.arrivals`."""

        def ask(state: Manifest, database: DuckDBPyConnection) -> tuple[list[LogRecord], int]:
            # A store that was begun afresh counts from the beginning.
            after = mark if mark is None or mark <= state.arrivals else 0
            held = self._held(state, "logs", query.since, query.until, after)
            return logs.records(database, held, query, after), state.arrivals

        return self._ask(ask)

    def metrics(self, query: MetricQuery) -> list[MetricValue]:
        """See `Source.metrics`. Reads points before the time too: they say where each counter stood."""

        def ask(state: Manifest, database: DuckDBPyConnection) -> list[MetricValue]:
            points = self._held(state, "metrics", None, query.until)
            return metrics.values(database, points, query, state.forgotten.get("metrics", 0))

        return self._ask(ask)

    def health(self, since: int) -> list[TargetHealth]:
        """See `HealthSource.health`."""
        return self._ask(lambda state, database: health.health(database, self._held(state, "metrics", since), since))

    def last_runs(self, since: int) -> list[LastRun]:
        """See `HealthSource.last_runs`."""
        return self._ask(lambda state, database: health.last_runs(database, self._held(state, "metrics", since), since))

    def status(self, since: int) -> Status:
        """See `Source.status`."""

        def ask(state: Manifest, database: DuckDBPyConnection) -> Status:
            researches, failures, failed = traces.failed_researches(database, self._held(state, "spans", since), since)
            return Status(
                signals={signal: self._signal(state, database, table, since) for signal, table in _SIGNALS.items()},
                tenants=self._tenants(state, database),
                researches=researches,
                failed=failed,
                failures=failures,
            )

        return self._ask(ask)

    def _trace(self, database: DuckDBPyConnection, spans: str, trace_id: str) -> Trace | None:
        found = traces.ids(database, spans, trace_id)
        if len(found) > 1:
            raise InputError(f"several traces begin with {trace_id!r}; give more of the id")
        return traces.one(database, spans, found[0]) if found else None

    def _signal(self, state: Manifest, database: DuckDBPyConnection, table: str, since: int) -> SignalStatus:
        counted = "count(DISTINCT trace_id)" if table == "spans" else "count(*)"
        # What the collector asks for itself says nothing about what arrives.
        arrived = f"name <> '{names.METRIC_HEALTH_UP}'" if table == "metrics" else "true"
        recent = self._held(state, table, since)
        question = f"SELECT {counted} FROM {recent} WHERE {arrived} AND time >= make_timestamp_ns(?)"  # noqa: S608
        (count,) = database.execute(question, [since]).fetchall()[0]
        # A record of a clock that is ahead would hide for as long that nothing arrives any more.
        past = f"{arrived} AND time <= make_timestamp_ns(?)"
        newest = f"SELECT epoch_ns(max(time)) FROM {self._held(state, table)} WHERE {past}"  # noqa: S608
        return SignalStatus(count, database.execute(newest, [time.time_ns()]).fetchall()[0][0])

    def _tenants(self, state: Manifest, database: DuckDBPyConnection) -> list[str]:
        questions = " UNION ".join(
            f"SELECT DISTINCT tenant_id FROM {self._held(state, table)} WHERE tenant_id IS NOT NULL"  # noqa: S608
            for table in _SIGNALS.values()
        )
        return sorted(row[0] for row in database.execute(questions).fetchall())

    def _held(
        self,
        state: Manifest,
        table: str,
        since: int | None = None,
        until: int | None = None,
        after: int | None = None,
    ) -> str:
        return relation(self.store, state, table, since, until, after)

    def _ask(self, question: Callable[[Manifest, DuckDBPyConnection], _Answer]) -> _Answer:
        self.load()
        with _told(self.store):
            try:
                return self._answer(question)
            except Exception as error:
                damaged = folder.mended(self.store) if is_error(error) else ()
                if not damaged:
                    raise
                if self._on_load:
                    self._on_load(Loaded(damaged=damaged))
            return self._answer(question)

    def _answer(self, question: Callable[[Manifest, DuckDBPyConnection], _Answer]) -> _Answer:
        with folder.reading(self.store) as state, connect(self.store / "tmp") as database:
            return question(state, database)


@contextmanager
def _told(store: Path) -> Iterator[None]:
    """Say in one sentence what DuckDB says about files that cannot be read or written, and of a full memory."""
    try:
        yield
    except Exception as error:
        if is_error(error) and any(kind in type(error).__name__ for kind in ("IO", "Memory")):
            raise DownError(f"the local store {store}: {str(error).partition(chr(10))[0]}") from error
        raise
