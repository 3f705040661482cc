"""All that arrived as a file to review and to compare with: sorted, without times, with labels for ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from theodore_otel.conventions import names
from theodore_otel.errors import InputError
from theodore_otel.otelcol.cases.capture import Record
from theodore_otel.otelcol.cases.judging import Failure
from theodore_otel.render.files import RenderedFile, write

_MOST_LINES = 60
# Metrics whose value is a time.
_TIMES = (names.METRIC_COMMAND_LAST_SUCCESS,)
_HEADER = "# What arrived. Written by `theodore-otel test --update`; review the difference.\n"


def text(records: Iterable[Record]) -> str:
    """Return the golden file's text: by signal, and by destinations at which the same arrived."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"traces": {}, "logs": {}, "metrics": {}}
    for record in records:
        own = f" ({record.exporter.tenant} alone)" if record.exporter.tenant else ""
        place = found[record.signal].setdefault(record.exporter.destination + own, [])
        place.append(_sorted(record.content))
    return _HEADER + "".join(_dumped({signal: _alike(places)}) for signal, places in found.items() if places)


def compare(file: Path, records: Iterable[Record]) -> list[Failure]:
    """Hold what arrived against the file."""
    try:
        wanted = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return [Failure(("golden",), f"{file} does not exist; --update writes it")]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None
    got = text(records)
    if wanted == got:
        return []
    lines = list(difflib.unified_diff(wanted.splitlines(), got.splitlines(), lineterm="", n=3))[2:]
    shown = lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], f"... {len(lines) - _MOST_LINES} more lines"]
    return [Failure(("golden",), f"expected what {file} holds; --update accepts what arrived", tuple(shown))]


def update(file: Path, records: Iterable[Record]) -> bool:
    """Write the file; return whether it has changed. Raises InputError when it cannot be written."""
    return bool(write([RenderedFile(file.name, text(records))], file.parent))


def _alike(places: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Put places together at which the same arrived, in whatever order."""
    by_content: dict[str, tuple[list[str], list[dict[str, Any]]]] = {}
    for place in sorted(places):
        contents = sorted(places[place], key=_dumped)
        by_content.setdefault(_dumped(contents), ([], contents))[0].append(place)
    return {", ".join(names): contents for names, contents in by_content.values()}


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its attributes in order; its fields stay in theirs, the name first."""
    if content.get("name") in _TIMES:
        content = {**content, "value": "a time"}
    return {key: dict(sorted(field.items())) if isinstance(field, dict) else field for key, field in content.items()}


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _dumped(value: Any) -> str:
    dumped: str = yaml.dump(value, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return dumped
