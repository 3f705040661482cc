"""DuckDB, asked for only when a question needs it: it comes with the extra `local`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection


def connect(scratch: Path) -> DuckDBPyConnection:
    """Return an in-memory database that spills to the folder `scratch` and never goes to the network.

    Raises:
        InputError: when DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InputError(
            "the local store needs DuckDB, which is not installed: pip install 'theodore-otel[local]'"
        ) from error
    return duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "temp_directory": str(scratch),
            # Rows are sorted where order matters; without this DuckDB buffers whole files to keep theirs.
            "preserve_insertion_order": "false",
        }
    )


def literal(text: object) -> str:
    """Return a path or text as SQL, where no parameter can stand (file names in COPY)."""
    return "'" + str(text).replace("'", "''") + "'"


def is_error(error: BaseException) -> bool:
    """Say whether an error is one of DuckDB's own, which need not be installed."""
    return type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb")
