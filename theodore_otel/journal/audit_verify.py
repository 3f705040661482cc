"""Whether audit records are whole: every gap, change, reorder, truncation and unknown key, by writer and sequence.

Verifying takes bounded memory and time whatever lies in the folder: it reads regular files only, a line at a time, and
keeps a bounded number of findings.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal import audit_register
from theodore_otel.journal.audit_keys import Keyring
from theodore_otel.journal.audit_record import GENESIS, Record, record
from theodore_otel.journal.audit_register import Register
from theodore_otel.journal.audit_trail import (
    FORM,
    HEAD,
    KEPT,
    LARGEST_SEGMENT,
    OPEN,
    REMOVED,
    SENT,
    Line,
    Position,
    Trail,
    lines_of,
    parse,
    position_of,
    read_json,
    segment_name,
    trails,
    whole_number,
)

KINDS: Final = {
    "gap": "records are missing",
    "changed": "the hash does not fit what the record says",
    "reordered": "the record stands behind a later one",
    "repeated": "the record is there twice",
    "broken": "the record was made to follow another one than the one before it",
    "truncated": "records are missing at the end",
    "unfinished": "the last line has no end: its call never returned, or somebody wrote it",
    "unknown key": "none of the known keys signed it",
    "unreadable": "the line is no audit record",
    "unexpected": "no process of ours made this",
    "missing": "the journal of this writer is gone",
    "undelivered": "it lies among the delivered journals and is not delivered",
    "lost": "records were neither written to disk nor delivered",
    "more": "there is more wrong than is told",
}

_MOST_FINDINGS: Final = 1000
"""For each writer."""
_REMEMBERED: Final = 4096
"""Hashes that are kept to tell a copy of a record from another record of its number."""
_NAME: Final = re.compile("[0-9a-f]{32}")
_CREDENTIAL: Final = re.compile("[0-9a-f]{16}|none")


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong."""

    writer: str
    sequence: int
    kind: str
    detail: str


@dataclass
class Verdict:
    """What was looked at and what is wrong with it."""

    records: int = 0
    writers: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


class _Findings:
    """What is wrong with one writer's records, up to a bound."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._found: list[Finding] = []
        self._more = 0

    def add(self, sequence: int, kind: str, detail: str = "") -> None:
        if len(self._found) < _MOST_FINDINGS:
            self._found.append(Finding(self._writer, sequence, kind, detail or KINDS[kind]))
        else:
            self._more += 1

    def all(self) -> list[Finding]:
        more = [Finding(self._writer, 0, "more", f"{self._more} further findings")] if self._more else []
        return self._found + more

    def __bool__(self) -> bool:
        return bool(self._found)


class _Chain:
    """Follows a writer's records, which come behind the one of number `after` and hash `previous`."""

    def __init__(self, found: _Findings, keys: Keyring, after: int, previous: str, *, copies: bool) -> None:
        """`copies`: a copy of a record is no finding."""
        self._found = found
        self._keys = keys
        self._copies = copies
        self._hashes: OrderedDict[int, str] = OrderedDict({after: previous})
        self._gaps: list[tuple[int, int]] = []
        self.last = after
        self.records = 0

    def follow(self, each: Record) -> None:
        """Look at the next record."""
        number = each.sequence
        wrong = self._keys.judge(each)
        if wrong:
            self._found.add(number, wrong, f"{KINDS[wrong]} (key {each.keyid})")
        if number > self.last + 1:
            self._open(self.last + 1, number - 1)
        elif number <= self.last and not self._is_late(number, each.hash):
            return
        before = self._hashes.get(number - 1)
        if before is not None and before != each.previous and not wrong:
            self._found.add(number, "broken")
        self.records += 1
        self.last = max(self.last, number)
        self._hashes[number] = each.hash
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)

    def hash_of(self, number: int) -> str | None:
        """Return the hash of one of the latest records."""
        return self._hashes.get(number)

    def end(self) -> None:
        """Tell of records that never came."""
        for first, last in self._gaps:
            self._found.add(first, "gap", f"records {first} to {last} are missing")

    def _open(self, first: int, last: int) -> None:
        if len(self._gaps) < _MOST_FINDINGS:
            self._gaps.append((first, last))
        else:
            self._found.add(first, "gap")

    def _is_late(self, number: int, hashed: str) -> bool:
        """Return True for a record that comes behind later ones, False for one that was there already."""
        for index, (first, last) in enumerate(self._gaps):
            if first <= number <= last:
                self._gaps[index : index + 1] = [
                    gap for gap in ((first, number - 1), (number + 1, last)) if gap[0] <= gap[1]
                ]
                self._found.add(number, "reordered", f"it stands behind record {self.last}")
                return True
        known = self._hashes.get(number)
        if known != hashed:
            self._found.add(number, "changed", f"it stands behind record {self.last}, where another of this number was")
        elif not self._copies:
            self._found.add(number, "repeated")
        return False


def journal(folder: Path, keys: Keyring) -> Verdict:
    """Verify every trail of a journal's folder; processes may be writing and delivering meanwhile."""
    before = audit_register.read(folder, keys)  # first: a writer is there before it is written down
    verdict = Verdict()
    forms: dict[str, int] = {}
    for trail in _all_trails(folder, verdict):
        one, form = _verify(trail, keys)
        if not trail.path.exists():  # it was delivered and put away meanwhile
            one, form = _verify(Trail(folder / KEPT / trail.credential / trail.writer), keys)
        verdict.records += one.records
        verdict.findings += one.findings
        if one.writers:
            verdict.writers.add(trail.writer)
        if one.records:
            forms[trail.writer] = form
    after = audit_register.read(folder, keys)  # again: those whose time was over are removed
    removed = before.writers.keys() - after.writers.keys()
    verdict.findings = [each for each in verdict.findings if each.writer not in removed]
    verdict.findings += _missing(folder, before, after, verdict.writers, forms)
    return verdict


def verify_trail(trail: Trail, keys: Keyring) -> Verdict:
    """Verify the files of one writer."""
    return _verify(trail, keys)[0]


def delivered(records: Iterable[Record], keys: Keyring, *, partial: bool) -> Verdict:
    """Verify records that arrived somewhere, in whatever order; one that came twice is one.

    With `partial` they may begin anywhere: they are of a period, or older ones are removed by now.
    """
    writers: dict[str, list[Record]] = {}
    for each in records:
        writers.setdefault(each.writer, []).append(each)
    verdict = Verdict(writers=set(writers))
    for writer, made in sorted(writers.items()):
        ordered = sorted(dict.fromkeys(made), key=lambda each: each.sequence)
        first = ordered[0]
        after, previous = (first.sequence - 1, first.previous) if partial else (0, GENESIS)
        found = _Findings(writer)
        chain = _Chain(found, keys, after, previous, copies=True)
        for each in ordered:
            chain.follow(each)
        chain.end()
        verdict.findings += found.all()
        verdict.records += chain.records
    return verdict


def _all_trails(folder: Path, verdict: Verdict) -> Iterable[Trail]:
    """Return every writer's trail once, and note what else lies there."""
    for state in (OPEN, KEPT):
        for group, is_folder in _entries(folder / state):
            if not (is_folder and _CREDENTIAL.fullmatch(group.name)):
                verdict.findings.append(_stray(group))
            for entry, is_trail in _entries(group) if is_folder else ():
                if not (is_trail and _NAME.fullmatch(entry.name)):
                    verdict.findings.append(_stray(entry))
            if len(verdict.findings) > _MOST_FINDINGS:
                break
    found: dict[str, Trail] = {}
    for trail in trails(folder):
        other = found.get(trail.writer)
        if other is not None and other.path.exists():  # else it was put away between two looks
            both = f"there are two: {other.path} and {trail.path}"
            verdict.findings.append(Finding(trail.writer, 0, "unexpected", both))
            yield trail
            continue
        found[trail.writer] = trail
    yield from found.values()


def _missing(
    folder: Path, before: Register, after: Register, there: set[str], forms: Mapping[str, int]
) -> Iterable[Finding]:
    """Yield what the list of writers tells, and what is wrong with it."""
    file = folder / audit_register.FILE
    for kind, detail in after.wrong:
        yield Finding("-", 0, kind, f"{file}: {detail}: {KINDS[kind]}")
    if not after.exists or not (after.signed or after.writers or there):
        detail = "the list of writers is gone" if there else "there is no journal: none was written, or it is gone"
        yield Finding("-", 0, "missing", f"{file}: {detail}")
    for writer in sorted(before.writers.keys() & after.writers.keys() - there):
        yield Finding(writer, 0, "missing", KINDS["missing"])
    for writer, form in sorted(forms.items()) if after.exists and not after.wrong else ():
        if writer not in after.writers or (form >= FORM and not after.writers[writer]):
            yield Finding(writer, 0, "unexpected", f"{file} does not hold what this writer wrote there")


class _Reading:
    """The lines of one trail."""

    def __init__(self, trail: Trail, keys: Keyring, found: _Findings) -> None:
        self._trail = trail
        self._keys = keys
        self._found = found
        self.form = FORM
        self._segment = 0
        self.chain: _Chain | None = None

    def read(self) -> None:
        """Follow every line."""
        numbers = [number for number, _ in self._trail.segments()]
        for number, path in self._trail.segments():
            try:
                if path.lstat().st_size > LARGEST_SEGMENT:
                    self._add("unexpected", f"segment {number} is larger than any that was ever written")
                for line in lines_of(number, path):
                    self._look(line, last=number == numbers[-1])
            except OSError as error:
                self._add("unreadable", f"segment {number}: {str(error.strerror).lower()}")
        self._chained().end()

    def _look(self, line: Line, *, last: bool) -> None:
        number = line.behind.segment
        fields = parse(line.text)
        if not line.whole:
            if not (last and self._trail.lives()):
                self._add("unfinished", f"segment {number}: {KINDS['unfinished']}")
            return
        first, self._segment = number != self._segment, number
        if first and "segment" in fields:
            self._begin(number, fields)
            return
        if first:
            self._add("changed", f"segment {number} does not begin with the line that says what follows")
        chain = self._chained()
        try:
            each = record(fields)
        except ValueError as error:
            self._add("unreadable", f"segment {number}: {error}")
            return
        if each.writer != self._trail.writer:
            self._found.add(each.sequence, "changed", f"it is a record of {each.writer}")
        if each.line() != line.text + b"\n":
            self._found.add(each.sequence, "changed", "it is not written as it was")
        chain.follow(each)

    def _begin(self, number: int, fields: Mapping[str, Any]) -> None:
        """Look at the first line of a segment."""
        wrong = self._keys.sealed(fields)
        if not wrong and (fields.get("segment"), fields.get("writer")) != (number, self._trail.writer):
            wrong = "changed"
        if wrong:
            self._add(wrong, f"the first line of segment {number}: {KINDS[wrong]}")
        elif fields.get("credential", self._trail.credential) != self._trail.credential:
            self._add("unexpected", "it lies under another credential than it was written with")
        if self.chain is None:
            self.form = FORM if wrong else whole_number(fields.get("journal"))
            self._chained(number, {} if wrong else fields)

    def _chained(self, number: int = 1, begin: Mapping[str, Any] | None = None) -> _Chain:
        """Return the chain; it begins with the first record, or behind those that were rightly removed."""
        if self.chain is None:
            after, previous = 0, GENESIS
            if number > 1 and begin:
                after, previous = whole_number(begin.get("after")), str(begin.get("previous"))
                note = self._trail.note(REMOVED)
                if (note.get("writer"), note.get("through")) != (self._trail.writer, after):
                    self._found.add(1, "gap", f"the segments before {number} are missing")
            self.chain = _Chain(self._found, self._keys, after, previous, copies=self.form < FORM)
        return self.chain

    def _add(self, kind: str, detail: str) -> None:
        self._found.add(self.chain.last + 1 if self.chain else 1, kind, detail)


def _verify(trail: Trail, keys: Keyring) -> tuple[Verdict, int]:
    """Return the verdict on the files of one writer, and their form."""
    found = _Findings(trail.writer)
    head, sent = _head(trail, keys), trail.note(SENT)  # first: its writer may be at work
    if not head and not trail.segments():
        return Verdict(), FORM  # nothing is written yet; of a writer that is written down, something is
    reading = _Reading(trail, keys, found)
    reading.read()
    chain = reading.chain
    assert chain is not None  # noqa: S101 - for type checkers
    _look_at_entries(trail, keys, found)
    if sent and (wrong := trail.unfit_note(sent, keys, reading.form)):
        found.add(chain.last, wrong, f"{SENT}: {KINDS[wrong]}")
        sent = {}
    _end(trail, keys, chain, found, head, position_of(sent))
    return Verdict(chain.records, {trail.writer}, found.all()), reading.form


def _end(trail: Trail, keys: Keyring, chain: _Chain, found: _Findings, head: Mapping[str, Any], sent: Position) -> None:
    """Tell what is missing at the end, by what the head and the note of what was delivered say."""
    wrong = keys.sealed(head)
    if wrong or head.get("writer") != trail.writer:
        found.add(chain.last, wrong or "changed", f"{HEAD}: {KINDS[wrong or 'changed']}")
        head = {}
    sequence, newest = whole_number(head.get("sequence")), chain.last
    reached = max(sequence, sent.sequence)
    if reached > newest:
        found.add(newest + 1, "truncated", f"records {newest + 1} to {reached} are missing at the end")
    known = chain.hash_of(sequence)
    if known is not None and known != head.get("hash") and head:
        found.add(sequence, "changed", f"{HEAD} knows another hash")
    if trail.path.parent.parent.name == KEPT and (sent.sequence < sequence or sent.refused):
        found.add(sent.sequence + 1, "undelivered")
    if (unwritten := whole_number(head.get("unwritten"))) and not trail.lives():
        found.add(sequence + 1, "lost", f"{unwritten} records were neither written to disk nor delivered")


def _head(trail: Trail, keys: Keyring) -> dict[str, Any]:
    """Return the head; read again when its writer was just in the middle of it."""
    for _ in range(3):
        head = read_json(trail.path / HEAD)
        if keys.sealed(head) is None:
            break
    return head


def _look_at_entries(trail: Trail, keys: Keyring, found: _Findings) -> None:
    """Tell of files that are none of ours, and of a note of removed segments that nobody signed."""
    ours = {HEAD, SENT, REMOVED} | {segment_name(number) for number, _ in trail.segments()}
    with suppress(FileNotFoundError), os.scandir(trail.path) as entries:
        for entry in entries:
            # Hidden ones are left by a process that was killed while it wrote a note.
            known = entry.name in ours or entry.name.startswith((f".{SENT}.", f".{REMOVED}.", f".{HEAD}."))
            if not (known and entry.is_file(follow_symlinks=False)):
                found.add(0, "unexpected", f"{entry.name}: {KINDS['unexpected']}")
    note = trail.note(REMOVED)
    if (trail.path / REMOVED).exists():
        wrong = keys.sealed(note) or (None if note.get("writer") == trail.writer else "changed")
        if wrong:
            found.add(1, wrong, f"{REMOVED}: {KINDS[wrong]}")


def _entries(parent: Path) -> list[tuple[Path, bool]]:
    """Return what lies in a folder, and whether each is a folder itself."""
    try:
        with os.scandir(parent) as entries:
            return sorted((Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        return []


def _stray(path: Path) -> Finding:
    return Finding("-", 0, "unexpected", f"{path}: {KINDS['unexpected']}")
