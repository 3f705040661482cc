"""Audit records out of whatever holds them: journals, exports, the collector's files, answers of Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal.audit_record import Record, record
from theodore_otel.journal.audit_trail import lines_of, parse, trails

_PREFIX: Final = "audit."
_MOST_SKIPPED: Final = 10_000
"""How many numbers of missing records are remembered at once: they may come later in the file."""


def of_journal(folder: Path) -> Iterator[Record]:
    """Yield the records of a journal's folder that can be read; of several with one number the first."""
    for trail in trails(folder):
        newest, skipped = 0, set[int]()
        for number, path in trail.segments():
            with suppress(OSError):
                for line in lines_of(number, path):
                    with suppress(ValueError):
                        each = record(parse(line.text))
                        if each.sequence > newest and len(skipped) < _MOST_SKIPPED:
                            skipped.update(range(newest + 1, min(each.sequence, newest + _MOST_SKIPPED)))
                        elif each.sequence <= newest and each.sequence not in skipped:
                            continue
                        skipped.discard(each.sequence)
                        newest = max(newest, each.sequence)
                        yield each


def of_text(text: str) -> Iterator[Record]:
    """Yield the records of a text: JSON, or JSON lines. Raises ValueError for what is neither."""
    try:
        documents: Iterable[Any] = [_parsed(text)]
    except ValueError:
        documents = (_parsed(line) for line in text.splitlines() if line.strip())
    for document in documents:
        yield from of_document(document)


def of_document(document: Any) -> Iterator[Record]:
    """Yield the audit records anywhere in a document: as fields, as OTLP attributes, or under an `attributes` mapping.

    Raises ValueError for one that says it is an audit record and is none.
    """
    left = [document]
    while left:
        each = left.pop()
        if isinstance(each, Mapping):
            fields = _fields(each)
            if fields:
                yield record(fields)
                continue
            each = list(each.values())
        if isinstance(each, list):
            left += [one for one in reversed(each) if isinstance(one, Mapping | list)]


def within(records: Iterable[Record], start: datetime | None, end: datetime | None) -> list[Record]:
    """Return the records of a period in the order of their times; one whose time is none is of every period."""
    chosen = []
    for each in records:
        at = _time(each)
        if at is None or ((start is None or at >= start) and (end is None or at < end)):
            chosen.append(each)
    return sorted(chosen, key=lambda each: (each.time, each.writer, each.sequence))


def moment(text: str, *, end: bool = False, now: datetime | None = None) -> datetime:
    """Return the time of `2026-11-01`, `2026-11-01T12:00Z` or, back from now, `24h`, `7d`.

    A day as the `end` of a period is part of it. A time without a zone is UTC. Raises ValueError.
    """
    units = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
    try:
        if text[:-1].isdigit() and text[-1:] in units:
            return (now or datetime.now(UTC)) - timedelta(seconds=int(text[:-1]) * units[text[-1]])
        at = _aware(datetime.fromisoformat(text))
        return at + timedelta(days=1) if end and len(text) <= len("2026-11-01") else at
    except OverflowError:
        raise ValueError("a time that no calendar has") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _time(each: Record) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(each.time))
    except ValueError:
        return None


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _fields(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of a record by their names in the journal."""
    if {"writer", "sequence", "hash", "action"} <= document.keys():
        return dict(document)
    attributes = document.get("attributes")
    if isinstance(attributes, list):  # OTLP
        attributes = dict(filter(None, map(_attribute, attributes)))
    for found in (attributes, document):
        if not isinstance(found, Mapping):
            continue
        if found.get(f"{_PREFIX}hash"):
            return {name.removeprefix(_PREFIX): value for name, value in found.items() if name.startswith(_PREFIX)}
        nested = found.get("audit")
        if isinstance(nested, Mapping) and nested.get("hash"):
            return dict(nested)
    return None


def _attribute(given: Any) -> tuple[str, Any] | None:
    """Return the name and the value of an OTLP attribute; None for what is none."""
    if not (isinstance(given, Mapping) and isinstance(given.get("key"), str)):
        return None
    value = given.get("value")
    return given["key"], next(iter(value.values()), None) if isinstance(value, Mapping) else None
