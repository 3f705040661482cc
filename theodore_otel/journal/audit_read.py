"""Audit records out of whatever holds them: journals, exports, the collector's files, answers of Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal.audit_record import Record, record
from theodore_otel.journal.audit_trail import Position, parse, trails

_PREFIX: Final = "audit."


def of_journal(folder: Path) -> Iterator[Record]:
    """Give the records of a journal's folder that can be read."""
    for trail in trails(folder):
        seen: set[int] = set()
        for line, _ in trail.lines(Position()):
            try:
                each = record(parse(line))
            except ValueError:
                continue
            if each.sequence not in seen:
                seen.add(each.sequence)
                yield each


def of_text(text: str) -> Iterator[Record]:
    """Give the records of a text: JSON, or JSON lines. Raises ValueError for what is neither."""
    try:
        documents: Iterable[Any] = [json.loads(text)]
    except ValueError:
        documents = (json.loads(line) for line in text.splitlines() if line.strip())
    for document in documents:
        yield from of_document(document)


def of_document(document: Any) -> Iterator[Record]:
    """Give the audit records anywhere in a document: as fields, as OTLP attributes, or under an `attributes` mapping.

    Raises ValueError for one that says it is an audit record and is none.
    """
    if isinstance(document, list):
        for each in document:
            yield from of_document(each)
    elif isinstance(document, Mapping):
        fields = _fields(document)
        if fields:
            yield record(fields)
            return
        for each in document.values():
            if isinstance(each, Mapping | list):
                yield from of_document(each)


def within(records: Iterable[Record], start: datetime | None, end: datetime | None) -> list[Record]:
    """Return the records of a period in the order of their times."""
    chosen = []
    for each in records:
        at = datetime.fromisoformat(each.time)
        if (start is None or at >= start) and (end is None or at < end):
            chosen.append(each)
    return sorted(chosen, key=lambda each: (each.time, each.writer, each.sequence))


def moment(text: str, *, end: bool = False, now: datetime | None = None) -> datetime:
    """Return the time of `2026-11-01`, `2026-11-01T12:00Z` or, back from now, `24h`, `7d`.

    A day as the `end` of a period is part of it. A time without a zone is UTC. Raises ValueError.
    """
    units = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
    if text[:-1].isdigit() and text[-1:] in units:
        return (now or datetime.now(UTC)) - timedelta(seconds=int(text[:-1]) * units[text[-1]])
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at + timedelta(days=1) if end and len(text) <= len("2026-11-01") else at


def _fields(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a record by their names in the journal."""
    if {"writer", "sequence", "hash", "action"} <= document.keys():
        return dict(document)
    attributes = document.get("attributes")
    if isinstance(attributes, list):  # OTLP
        attributes = {each.get("key"): next(iter(each.get("value", {}).values()), None) for each in attributes}
    for found in (attributes, document):
        if not isinstance(found, Mapping):
            continue
        if found.get(f"{_PREFIX}hash"):
            return {name.removeprefix(_PREFIX): value for name, value in found.items() if name.startswith(_PREFIX)}
        nested = found.get("audit")
        if isinstance(nested, Mapping) and nested.get("hash"):
            return dict(nested)
    return None
