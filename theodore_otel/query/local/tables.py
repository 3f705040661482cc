"""The tables of the local store: their columns and DuckDB types, the only place that knows them."""

from __future__ import annotations

# `*_ns` columns of a row arrive as integers; `time` columns are stored as TIMESTAMP_NS for whoever opens the files.
_COMMON = {
    "time": "TIMESTAMP_NS",
    "tenant_id": "VARCHAR",
    "service": "VARCHAR",
    "attributes": "JSON",
    "resource": "JSON",
    "scope": "VARCHAR",
    # Number of the load that brought the row: what is new is known by it, whatever time the row tells.
    "arrived": "BIGINT",
}
_CONTEXT = {
    "trace_id": "VARCHAR",
    "span_id": "VARCHAR",
    "correlation_id": "VARCHAR",
    "user_id": "VARCHAR",
    "component": "VARCHAR",
}

TABLES: dict[str, dict[str, str]] = {
    "spans": _COMMON
    | _CONTEXT
    | {
        "end_time": "TIMESTAMP_NS",
        "duration_ns": "BIGINT",
        "parent_span_id": "VARCHAR",
        "name": "VARCHAR",
        "kind": "VARCHAR",
        "status": "VARCHAR",
        "status_message": "VARCHAR",
        "operation": "VARCHAR",
        "company": "VARCHAR",
        "model": "VARCHAR",
        "error_type": "VARCHAR",
        "success": "BOOLEAN",
        "input_tokens": "BIGINT",
        "output_tokens": "BIGINT",
        "cost_usd": "DOUBLE",
        "events": "JSON",
    },
    "logs": _COMMON
    | _CONTEXT
    | {
        "observed_time": "TIMESTAMP_NS",
        "severity": "INTEGER",
        "level": "VARCHAR",
        "category": "VARCHAR",
        "message": "VARCHAR",
    },
    "metrics": _COMMON
    | {
        "start_time": "TIMESTAMP_NS",
        "name": "VARCHAR",
        "unit": "VARCHAR",
        "kind": "VARCHAR",
        "monotonic": "BOOLEAN",
        "delta": "BOOLEAN",
        "series": "VARCHAR",
        "value": "DOUBLE",
        "count": "BIGINT",
        "bounds": "DOUBLE[]",
        "bucket_counts": "BIGINT[]",
    },
}

# A tenant's own ids only: nobody hides another's span behind its id. A log record has no id, and stands for one moment
# of one program; what is sent again is equal in all of this.
IDENTITY: dict[str, tuple[str, ...]] = {
    "spans": ("tenant_id", "trace_id", "span_id"),
    "logs": (
        *("tenant_id", "time", "observed_time", "severity", "scope", "trace_id", "span_id", "message"),
        *("attributes::VARCHAR", "resource::VARCHAR"),
    ),
}
"""What tells rows of a table apart that were delivered once."""


def incoming(table: str) -> dict[str, str]:
    """Return the types in which a table's rows arrive: nanoseconds as integers."""
    return {name: "BIGINT" if kind == "TIMESTAMP_NS" else kind for name, kind in TABLES[table].items()}


def selection(table: str) -> str:
    """Return the SQL that turns arriving rows into stored ones."""
    return ", ".join(
        f'make_timestamp_ns("{name}") AS "{name}"' if kind == "TIMESTAMP_NS" else f'"{name}"'
        for name, kind in TABLES[table].items()
    )


def empty(table: str) -> str:
    """Return the SQL of the table without a row, so that questions need no case for an empty store."""
    columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in TABLES[table].items())
    return f"SELECT {columns} WHERE false"
