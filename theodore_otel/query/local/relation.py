"""A table of the store as SQL: the files that can hold what is asked for, read in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from theodore_otel.query.local.duck import literal
from theodore_otel.query.local.manifest import Manifest
from theodore_otel.query.local.tables import IDENTITY, empty


def relation(
    store: Path,
    state: Manifest,
    table: str,
    since: int | None = None,
    until: int | None = None,
    after: int | None = None,
) -> str:
    """Return a SELECT over a table's files, without those wholly outside the time or not after the load asked for."""
    files = [
        literal(store / increment.path)
        for increment in state.increments
        if increment.table == table
        and (since is None or increment.newest >= since)
        and (until is None or increment.oldest <= until)
        and (after is None or increment.arrived > after)
    ]
    if not files:
        return f"({empty(table)})"
    held = f"SELECT * FROM read_parquet([{', '.join(files)}], union_by_name=true)"  # noqa: S608
    # The empty table gives columns that older files do not have yet.
    return _each_once(table, f"{held} UNION ALL BY NAME {empty(table)}")


def _each_once(table: str, held: str) -> str:
    """Return the rows without copies: a request that was answered too late, or not at all, is sent again."""
    if table not in IDENTITY:
        return f"({held})"
    key = ", ".join(IDENTITY[table])
    return f"(SELECT DISTINCT ON ({key}) * FROM ({held}) ORDER BY {key}, arrived)"  # noqa: S608


class Conditions:
    """The WHERE of a question: conditions with their parameters, those that were not asked for left out."""

    def __init__(self) -> None:
        """Begin with no condition."""
        self._texts = ["true"]
        self.parameters: list[Any] = []

    def add(self, text: str, *values: Any) -> None:
        """Add a condition unless one of its values is None."""
        if None not in values:
            self._texts.append(text)
            self.parameters += values

    def __str__(self) -> str:
        """Return the SQL."""
        return " AND ".join(f"({text})" for text in self._texts)
