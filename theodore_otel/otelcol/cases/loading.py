"""Case files: found, read, and checked against the configuration they are about."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from theodore_otel.config.base import Signal
from theodore_otel.config.errors import explain
from theodore_otel.config.model import Config
from theodore_otel.config.source import KeyPath, Source, read
from theodore_otel.errors import InputError
from theodore_otel.otelcol.cases.model import GOLDEN_SUFFIX, Case, CaseFile, Selection


@dataclass(frozen=True)
class Loaded:
    """A case, and where it stands."""

    case: Case
    source: Source
    index: int
    """Its number in the file, from 0."""

    @property
    def path(self) -> KeyPath:
        """Return its key path in the file."""
        return ("cases", self.index)

    @property
    def golden(self) -> Path | None:
        """Return the file that holds what must arrive."""
        return Path(self.source.name).parent / self.case.golden if self.case.golden else None

    def where(self, path: KeyPath) -> str:
        """Return file, line and key path as messages begin; `path` counts from the case."""
        return where(self.source, (*self.path, *path))


def where(source: Source, path: KeyPath) -> str:
    """Return file, line and key path as messages begin."""
    line = source.line(path)
    return f"{source.name}{f':{line}' if line else ''}: {'.'.join(map(str, path))}"


def load(paths: Iterable[Path]) -> list[Loaded]:
    """Read the cases of files and folders, in order; a folder stands for all case files in it.

    Raises InputError for a file that cannot be read or is not of the form, and when there is no case at all.
    """
    given = list(paths)
    files = [file for path in given for file in _files(path)]
    if not files:
        raise InputError(f"{', '.join(map(str, given))}: expected case files (*.yaml), got none")
    return [loaded for file in dict.fromkeys(files) for loaded in _read(file)]


def check(cases: Sequence[Loaded], config: Config, destinations: Mapping[str, frozenset[Signal]]) -> None:
    """Make sure that what the cases say of the configuration can be; `destinations` with the signals each one takes.

    Raises InputError with a line for each problem.
    """
    problems = [problem for loaded in cases for problem in _problems(loaded, config, destinations)]
    owners: dict[Path, Loaded] = {}
    for loaded in cases:
        if loaded.golden and (first := owners.setdefault(loaded.golden, loaded)) is not loaded:
            problems.append(f"{loaded.where(('golden',))}: expected a file of its own, but {first.case.name!r} has it")
    if problems:
        raise InputError("\n".join(problems))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for pattern in ("*.yaml", "*.yml") for file in path.rglob(pattern))
    return [file for file in found if not file.name.endswith(GOLDEN_SUFFIX)]


def _read(file: Path) -> list[Loaded]:
    source = read(file, tags=True)
    try:
        cases = CaseFile.model_validate(source.data).cases
    except ValidationError as error:
        raise explain(error, CaseFile, source) from None
    names: dict[str, int] = {}
    for index, case in enumerate(cases):
        if case.name in names:
            first = source.line(("cases", names[case.name], "name"))
            raise InputError(
                f"{where(source, ('cases', index, 'name'))}: {case.name!r} stands twice, first on line {first}"
            )
        names[case.name] = index
    return [Loaded(case, source, index) for index, case in enumerate(cases)]


def _problems(loaded: Loaded, config: Config, destinations: Mapping[str, frozenset[Signal]]) -> Iterator[str]:
    case = loaded.case
    for number, request in enumerate(case.send):
        if request.credential and config.tenants.identify_by == "none":
            yield (
                f"{loaded.where(('send', number, 'credential'))}: expected no credential, because "
                f"tenants.identify_by is none, got {request.credential!r}"
            )
    for number, expectation in enumerate(case.expect):
        yield from _unknown(loaded, ("expect", number), expectation, expectation.signal, destinations)
    sent = json.dumps([request.model_dump() for request in case.send], ensure_ascii=False, default=_text)
    for number, nowhere in enumerate(case.nowhere):
        yield from _unknown(loaded, ("nowhere", number), nowhere, nowhere.signal, destinations)
        if nowhere.text and json.dumps(nowhere.text, ensure_ascii=False)[1:-1] not in sent:
            yield (
                f"{loaded.where(('nowhere', number))}: expected a text that the case sends, "
                f"got {nowhere.text!r}: it could not arrive anywhere"
            )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _unknown(
    loaded: Loaded,
    path: KeyPath,
    selection: Selection,
    signal: Signal | None,
    destinations: Mapping[str, frozenset[Signal]],
) -> Iterator[str]:
    at = loaded.where((*path, "destination"))
    for name in selection.destination:
        if name not in destinations:
            near = difflib.get_close_matches(name, destinations, n=1)
            known = ", ".join(destinations) or "none is configured"
            yield f"{at}: expected a destination ({known}), got {name!r}" + (
                f"; did you mean {near[0]!r}?" if near else ""
            )
        elif signal and signal not in destinations[name]:
            takes = ", ".join(sorted(destinations[name]))
            yield f"{at}: expected a destination that takes {signal}, but {name} takes {takes}"
    if signal and not selection.destination and not any(signal in takes for takes in destinations.values()):
        yield f"{loaded.where((*path, 'signal'))}: expected a signal that a destination takes, but none takes {signal}"
