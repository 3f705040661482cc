"""The local store: immutable Parquet files written by one loader, asked by in-memory DuckDB, many readers at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from theodore_otel.conventions import names
from theodore_otel.errors import DownError, InputError
from theodore_otel.query.health import LastRun, TargetHealth
from theodore_otel.query.local import folder, health, logs, metrics, traces
from theodore_otel.query.local.duck import connect
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
        with self._asked() as (state, database):
            return traces.summaries(database, relation(self.store, state, "spans"), query)

    def trace(self, trace_id: str) -> Trace | None:
        """See `Source.trace`."""
        with self._asked() as (state, database):
            spans = relation(self.store, state, "spans")
            found = traces.ids(database, spans, trace_id)
            if len(found) > 1:
                raise InputError(f"several traces begin with {trace_id!r}; give more of the id")
            return traces.one(database, spans, found[0]) if found else None

    def logs(self, query: LogQuery) -> list[LogRecord]:
        """See `Source.logs`."""
        with self._asked() as (state, database):
            held = relation(self.store, state, "logs", query.since, query.until)
            return logs.records(database, held, query)

    def metrics(self, query: MetricQuery) -> list[MetricValue]:
        """See `Source.metrics`. Reads points before the time too: they say where each counter stood."""
        with self._asked() as (state, database):
            points = relation(self.store, state, "metrics", until=query.until)
            return metrics.values(database, points, query, state.forgotten.get("metrics", 0))

    def health(self, since: int) -> list[TargetHealth]:
        """See `HealthSource.health`."""
        with self._asked() as (state, database):
            return health.health(database, relation(self.store, state, "metrics", since), since)

    def last_runs(self, since: int) -> list[LastRun]:
        """See `HealthSource.last_runs`."""
        with self._asked() as (state, database):
            return health.last_runs(database, relation(self.store, state, "metrics", since), since)

    def status(self, since: int) -> Status:
        """See `Source.status`."""
        with self._asked() as (state, database):
            spans = relation(self.store, state, "spans", since)
            researches, failures, failed = traces.failed_researches(database, spans, since)
            return Status(
                signals={signal: self._signal(state, database, table, since) for signal, table in _SIGNALS.items()},
                tenants=self._tenants(state, database),
                researches=researches,
                failed=failed,
                failures=failures,
            )

    def _signal(self, state: Manifest, database: DuckDBPyConnection, table: str, since: int) -> SignalStatus:
        counted = "count(DISTINCT trace_id)" if table == "spans" else "count(*)"
        # What the collector asks for itself says nothing about what arrives.
        arrived = f"name <> '{names.METRIC_HEALTH_UP}'" if table == "metrics" else "true"
        recent = relation(self.store, state, table, since)
        question = f"SELECT {counted} FROM {recent} WHERE {arrived} AND time >= make_timestamp_ns(?)"  # noqa: S608
        (count,) = database.execute(question, [since]).fetchall()[0]
        newest = f"SELECT epoch_ns(max(time)) FROM {relation(self.store, state, table)} WHERE {arrived}"  # noqa: S608
        return SignalStatus(count, database.execute(newest).fetchall()[0][0])

    def _tenants(self, state: Manifest, database: DuckDBPyConnection) -> list[str]:
        questions = " UNION ".join(
            f"SELECT DISTINCT tenant_id FROM {relation(self.store, state, table)} WHERE tenant_id IS NOT NULL"  # noqa: S608
            for table in _SIGNALS.values()
        )
        return sorted(row[0] for row in database.execute(questions).fetchall())

    @contextmanager
    def _asked(self) -> Iterator[tuple[Manifest, DuckDBPyConnection]]:
        self.load()
        with (
            _told(self.store),
            folder.reading(self.store) as state,
            connect(self.store / "tmp") as database,
        ):
            yield state, database


@contextmanager
def _told(store: Path) -> Iterator[None]:
    """Say in one sentence what DuckDB says about files that cannot be read or written (a full disk, a damaged file)."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb") and "IO" in type(error).__name__:
            raise DownError(f"the local store {store}: {error}") from error
        raise
