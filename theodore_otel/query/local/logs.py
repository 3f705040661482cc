"""Questions about log records, in SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from theodore_otel.query.local.relation import Conditions
from theodore_otel.query.model import LEVELS, LogQuery, LogRecord

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS = (
    "epoch_ns(time), level, tenant_id, service, component, category, message, trace_id, span_id, correlation_id, "
    "user_id, scope, attributes"
)


def records(database: DuckDBPyConnection, logs: str, query: LogQuery, after: int | None = None) -> list[LogRecord]:
    """Return the newest records that match, oldest first; those that a load after the given one brought."""
    where = Conditions()
    where.add("arrived > ?", after)
    where.add("time >= make_timestamp_ns(?)", query.since)
    where.add("time <= make_timestamp_ns(?)", query.until)
    where.add("severity >= ?", LEVELS[query.level] if query.level else None)
    where.add("tenant_id = ?", query.tenant)
    where.add("correlation_id = ?", query.correlation_id)
    where.add("starts_with(trace_id, lower(?))", query.trace_id)
    # A logger such as theodore.scraper.robots belongs to the component scraper as far as a reader is concerned.
    where.add(
        "component = ? OR list_contains(string_split(scope, '.'), ?) OR scope = ?",
        query.component,
        query.component,
        query.component,
    )
    where.add(
        "contains(lower(message), lower(?)) OR contains(lower(attributes::VARCHAR), lower(?))",
        query.search,
        query.search,
    )
    limit = "" if query.limit is None else f"LIMIT {int(query.limit)}"
    order = "time" if after is None else "arrived DESC, time"
    question = f"SELECT {_COLUMNS} FROM {logs} WHERE {where} ORDER BY {order} DESC {limit}"  # noqa: S608
    rows = database.execute(question, where.parameters).fetchall()
    return [_record(row) for row in reversed(rows)]


def _record(row: tuple[Any, ...]) -> LogRecord:
    *plain, attributes = row
    fields = [*plain, json.loads(attributes or "{}")]
    return LogRecord(*fields)
