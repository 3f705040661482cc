"""What a case expects against what arrived, and what to say when the two differ."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from theodore_otel.config.base import Signal
from theodore_otel.config.source import KeyPath
from theodore_otel.conventions.registry import metrics
from theodore_otel.otelcol.cases.capture import Captured, Record
from theodore_otel.otelcol.cases.model import Case, Expectation, Nowhere

LOG = "the collector's own log"
_ITEMS: dict[Signal | None, tuple[str, str]] = {
    "traces": ("span", "spans"),
    "logs": ("log record", "log records"),
    "metrics": ("series", "series"),
    None: ("record", "records"),
}
_MOST_SHOWN = 3
_LONGEST = 300


@dataclass(frozen=True)
class Failure:
    """One thing that is not as expected."""

    path: KeyPath
    """The key that asks for it, from the case on."""
    message: str
    """What is wrong, in a sentence."""
    detail: tuple[str, ...] = ()
    """Lines that show it: `-` what was expected, `+` what came, a blank what agrees."""


def judge(
    expectations: Mapping[int, Expectation],
    captured: Captured,
    destinations: Mapping[str, frozenset[Signal]],
) -> list[Failure]:
    """Hold expectations, by their number in the case, against what arrived."""
    failures: list[Failure] = []
    for number, expectation in expectations.items():
        takers = [name for name, signals in destinations.items() if expectation.signal in signals]
        for destination in expectation.destination or takers:
            failures += _judge_at(destination, ("expect", number), expectation, captured.records)
    return failures


def judge_nowhere(case: Case, captured: Captured, log: str) -> list[Failure]:
    """Hold what must be nowhere against what arrived and what the collector printed."""
    failures: list[Failure] = []
    for number, nowhere in enumerate(case.nowhere):
        failures += _judge_nowhere(("nowhere", number), nowhere, captured, log)
    return failures


def _judge_at(
    destination: str, path: KeyPath, expectation: Expectation, records: Sequence[Record]
) -> Iterator[Failure]:
    there = [record for record in records if record.exporter.destination == destination]
    selected = [record for record in there if not _misfits(expectation, record)]
    if not expectation.count.holds(len(selected)):
        yield _wrong_count(destination, path, expectation, selected, records)
        return
    failures = [list(_wrong_fields(path, expectation, record)) for record in selected]
    shown = [each for each in failures if each]
    for of_record in shown[:_MOST_SHOWN]:
        yield from of_record
    if len(shown) > _MOST_SHOWN:
        yield Failure(path, f"{len(shown) - _MOST_SHOWN} more of {len(selected)} {_called(expectation.signal)} fail so")


def _judge_nowhere(path: KeyPath, nowhere: Nowhere, captured: Captured, log: str) -> Iterator[Failure]:
    if nowhere.text and nowhere.model_fields_set <= {"text", "destination"}:
        wanted = {each: texts for each, texts in captured.texts.items() if each in (nowhere.destination or [each])}
        for place, texts in {**wanted, LOG: [log] if not nowhere.destination else []}.items():
            found = next((text for text in texts if nowhere.text in text), None)
            if found is not None:
                excerpt = _around(found, nowhere.text)
                yield Failure(path, f"expected nowhere: {nowhere.text!r}; it is at {place}", (f"+ {excerpt}",))
        return
    found_record = next((record for record in captured.records if _is_meant(nowhere, record)), None)
    if found_record:
        yield Failure(path, f"expected nowhere, but there is a {_described(found_record)}", _shown(found_record))


def _is_meant(nowhere: Nowhere, record: Record) -> bool:
    there = not nowhere.destination or record.exporter.destination in nowhere.destination
    text = nowhere.text
    return there and not _misfits(nowhere, record) and (text is None or any(text in each for each in record.texts))


def _misfits(selection: Expectation | Nowhere, record: Record) -> list[tuple[str, Any, Any]]:
    """Return what does not fit: what it is called, what was selected, what the record has."""
    wanted: list[tuple[str, Any, Any]] = []
    if selection.signal not in (None, record.signal):
        wanted.append(("signal", selection.signal, record.signal))
    if selection.name is not None and selection.name not in _names(record):
        wanted.append(("name", selection.name, record.name))
    if selection.tenant is not None and selection.tenant != record.tenant:
        wanted.append(("tenant", selection.tenant, record.tenant))
    if selection.dedicated is not None and selection.dedicated != record.exporter.tenant:
        wanted.append(("dedicated", selection.dedicated, record.exporter.tenant))
    for path, value in selection.where.items():
        if not any(same(value, found) for found in record.find(path).values()):
            wanted.append((path, value, record.fields.get(path)))
    return wanted


def _names(record: Record) -> list[Any]:
    known = metrics().get(record.name) if record.signal == "metrics" else None
    return [record.name, known.prometheus] if known else [record.name]


def _wrong_count(
    destination: str, path: KeyPath, expectation: Expectation, selected: Sequence[Record], records: Sequence[Record]
) -> Failure:
    what = f"expected {expectation.count} of the {_called(expectation.signal)} at {destination}{_selected(expectation)}"
    if "count" in expectation.model_fields_set:
        path = (*path, "count")
    if selected and not len(selected) < expectation.count.min:
        shown = [line for record in selected[:_MOST_SHOWN] for line in (f"a {_described(record)}:", *_shown(record))]
        return Failure(path, f"{what}, {len(selected)} arrived", tuple(shown))
    candidates = [record for record in records if record.signal == expectation.signal and record not in selected]
    there = sum(record.exporter.destination == destination for record in candidates) + len(selected)
    if selected:
        return Failure(path, f"{what}; {len(selected)} of {there} there fit")
    arrived = f"none of {there} there fits" if there else "nothing of the kind arrived there"
    return Failure(path, f"{what}; {arrived}", tuple(_nearest(destination, expectation, candidates)))


def _selected(selection: Expectation) -> str:
    parts = [f"{key} {getattr(selection, key)!r}" for key in ("name", "tenant", "dedicated") if getattr(selection, key)]
    parts += [f"{path} {_text(value)}" for path, value in selection.where.items()]
    return f" with {', '.join(parts)}" if parts else ""


def _nearest(destination: str, expectation: Expectation, candidates: Iterable[Record]) -> Iterator[str]:
    """Show the record that comes nearest: at the destination if one is there, else at another."""

    def distance(record: Record) -> tuple[float, bool]:
        off = 0.0
        for name, want, got in _misfits(expectation, record):
            likeness = difflib.SequenceMatcher(None, str(want), str(got)).ratio()
            off += (2 if name == "name" else 1) * (1 - likeness / 2)
        return off, record.exporter.destination != destination

    nearest = min(candidates, key=distance, default=None)
    if nearest is None:
        return
    elsewhere = nearest.exporter.destination
    yield f"nearest: a {_described(nearest)}"
    if elsewhere != destination:
        yield from _differs("destination", destination, elsewhere)
    misfits = _misfits(expectation, nearest)
    for name, expected, got in misfits:
        yield from _differs(name, expected, got)
    named = {name for name, _, _ in misfits}
    yield from (line for path, line in _lines(nearest) if path not in named)


def _wrong_fields(path: KeyPath, expectation: Expectation, record: Record) -> Iterator[Failure]:
    of = f"of the {_described(record)}"
    for field in expectation.present:
        if not record.find(field):
            yield Failure((*path, "present"), f"expected {field} {of}; it is not there{_near(field, record)}")
    for field in expectation.absent:
        for found, value in record.find(field).items():
            yield Failure((*path, "absent"), f"expected no {found} {of}", (f"+ {found}: {_text(value)}",))
            break
    for field, wanted in expectation.equal.items():
        yield from _unequal((*path, "equal", field), field, wanted, record, of)
    for field, pattern in expectation.matches.items():
        found_fields = record.find(field)
        if not found_fields:
            message = f"expected {field} {of}; it is not there{_near(field, record)}"
            yield Failure((*path, "matches", field), message, (f"- {field} matches {pattern}",))
        for found, value in found_fields.items():
            if not re.search(pattern, value if isinstance(value, str) else _text(value)):
                lines = (f"- {found} matches {pattern}", f"+ {found}: {_text(value)}")
                yield Failure((*path, "matches", field), f"{found} {of} is not as expected", lines)


def _unequal(path: KeyPath, field: str, wanted: Any, record: Record, of: str) -> Iterator[Failure]:
    found_fields = record.find(field)
    if not found_fields:
        lines = (f"- {field}: {_text(wanted)}",)
        yield Failure(path, f"expected {field} {of}; it is not there{_near(field, record)}", lines)
    for found, value in found_fields.items():
        if not same(wanted, value):
            yield Failure(path, f"{found} {of} is not as expected", tuple(_differs(found, wanted, value)))


def same(wanted: Any, got: Any) -> bool:
    """Compare as people mean it: 1 is 1.0, but neither `true` nor `"1"`; rounding does not count."""
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, int | float) and isinstance(got, int | float):
        both_nan = math.isnan(wanted) and math.isnan(got)
        return wanted == got or both_nan or math.isclose(wanted, got, rel_tol=1e-9)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(map(same, wanted, got))
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(same(wanted[key], got[key]) for key in wanted)
    return type(wanted) is type(got) and bool(wanted == got)


def _differs(name: str, expected: Any, got: Any) -> Iterator[str]:
    yield f"- {name}: {_text(expected)}"
    yield f"+ {name}: {_text(got)}" if got is not None else f"+ {name} is not there"


def _near(field: str, record: Record) -> str:
    near = difflib.get_close_matches(field, record.fields, n=1)
    return f", but {near[0]} is" if near else ""


def _described(record: Record) -> str:
    kind, name = _ITEMS[record.signal][0], _text(record.name)
    own = f", through its own exporter {record.exporter.id}" if record.exporter.tenant else ""
    return f"{kind} {name} of tenant {record.tenant} at {record.exporter.destination}{own}"


def _called(signal: Signal | None) -> str:
    return _ITEMS[signal][1]


def _shown(record: Record) -> tuple[str, ...]:
    return tuple(line for _, line in _lines(record))


def _lines(record: Record) -> Iterator[tuple[str, str]]:
    """Return a line for each field that holds no others."""
    for path, value in record.fields.items():
        if not isinstance(value, dict | list) or not value:
            yield path, f"  {path}: {_text(value)}"


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _around(text: str, found: str) -> str:
    at = text.index(found)
    first = max(0, at - 60)
    return text[first : at + len(found) + 60].replace("\n", " ")
