"""Whether audit records are whole: every gap, change, reorder, truncation and unknown key, by writer and sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal import audit_register
from theodore_otel.journal.audit_keys import Key
from theodore_otel.journal.audit_record import GENESIS, Record, record, seal
from theodore_otel.journal.audit_trail import HEAD, KEPT, REMOVED, Position, Trail, parse, read_json, trails

KINDS: Final = {
    "gap": "records are missing",
    "changed": "the hash does not fit what the record says",
    "reordered": "the record stands behind a later one",
    "broken": "the record was made to follow another one than the one before it",
    "truncated": "records are missing at the end",
    "unknown key": "none of the known keys signed it",
    "unreadable": "the line is no audit record",
    "missing": "the journal of this writer is gone",
}


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


class Keyring:
    """The known keys by their ids."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """Remember the keys."""
        self._keys = {key.id: key.secret for key in keys}

    def judge(self, made: Record) -> str | None:
        """Return what is wrong with a record by itself: `unknown key`, `changed` or nothing."""
        secret = self._keys.get(made.keyid)
        if secret is None:
            return "unknown key"
        return None if made.seal(secret) == made.hash else "changed"

    def sealed(self, fields: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a sealed line: `unknown key`, `changed` or nothing."""
        secret = self._keys.get(str(fields.get("keyid")))
        if secret is None:
            return "unknown key"
        content = {name: value for name, value in fields.items() if name != "seal"}
        return None if seal(content, secret) == fields.get("seal") else "changed"


def journal(folder: Path, keys: Keyring) -> Verdict:
    """Verify every trail of a journal's folder; processes may be writing and delivering meanwhile."""
    written_down = set(audit_register.known(folder) or ())  # first: a writer is there before it is written down
    verdict = Verdict()
    for trail in {trail.writer: trail for trail in trails(folder)}.values():
        if _is_being_made(trail):
            continue
        one = verify_trail(trail, keys)
        if not trail.path.exists():  # it was delivered and put away meanwhile
            one = verify_trail(Trail(folder / KEPT / trail.credential / trail.writer), keys)
        verdict.records += one.records
        verdict.writers.add(trail.writer)
        verdict.findings += one.findings
    still = audit_register.known(folder)  # again: those whose time was over are removed
    if still is None and verdict.records:
        verdict.findings.append(
            Finding("-", 0, "missing", f"{folder / audit_register.FILE}: the list of writers is gone")
        )
    for writer in sorted(written_down.intersection(still or ()) - verdict.writers):
        verdict.findings.append(Finding(writer, 0, "missing", KINDS["missing"]))
    return verdict


def verify_trail(trail: Trail, keys: Keyring) -> Verdict:
    """Verify the files of one writer."""
    head, sent = _head(trail, keys), trail.sent()  # first: its writer may be at work
    made, findings = _read(trail, keys)
    after, previous = _begin(trail, keys, findings)
    findings += chain(trail.writer, made, keys, after, previous)
    newest = max((each.sequence for each in made), default=after)
    findings += _end(trail.writer, keys, newest, made, head, sent.sequence)
    return Verdict(len({each.sequence for each in made}), {trail.writer}, findings)


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
        verdict.findings += chain(writer, ordered, keys, after, previous)
        verdict.records += len(ordered)
    return verdict


def chain(writer: str, made: Sequence[Record], keys: Keyring, after: int, previous: str) -> Iterator[Finding]:
    """Give what is wrong with a writer's records, which follow the one of number `after` and hash `previous`."""
    last, seen, hashes = after, set[int](), {after: previous}
    present = {each.sequence for each in made}
    for each in made:
        wrong = keys.judge(each)
        if wrong:
            yield Finding(writer, each.sequence, wrong, f"{KINDS[wrong]} (key {each.keyid})")
        if hashes.get(each.sequence) == each.hash:
            continue  # written twice: a write was interrupted
        if each.sequence in seen:
            yield Finding(writer, each.sequence, "changed", "there is another record of this number")
        elif each.sequence <= last:
            yield Finding(writer, each.sequence, "reordered", f"it stands behind record {last}")
        missing = [number for number in range(last + 1, each.sequence) if number not in present]
        if missing:
            yield Finding(writer, missing[0], "gap", f"records {missing[0]} to {missing[-1]} are missing")
        before = hashes.get(each.sequence - 1)
        if before is not None and before != each.previous and not wrong:
            yield Finding(writer, each.sequence, "broken", KINDS["broken"])
        seen.add(each.sequence)
        hashes[each.sequence] = each.hash
        last = max(last, each.sequence)


def _head(trail: Trail, keys: Keyring) -> dict[str, Any]:
    """Return the head; read again when its writer was just in the middle of it."""
    for _ in range(3):
        head = read_json(trail.path / HEAD)
        if keys.sealed(head) is None:
            break
    return head


def _is_being_made(trail: Trail) -> bool:
    """Say whether nothing is written yet; of a writer that is written down, something is."""
    return not read_json(trail.path / HEAD) and not trail.segments()


def _read(trail: Trail, keys: Keyring) -> tuple[list[Record], list[Finding]]:
    """Return a trail's records as they stand, and what is wrong with single lines."""
    made: list[Record] = []
    findings: list[Finding] = []
    for line, position in trail.lines(Position()):
        fields = parse(line)
        number = made[-1].sequence + 1 if made else 1
        if "segment" in fields:
            wrong = keys.sealed(fields)
            if wrong or fields["segment"] != position.segment or fields.get("writer") != trail.writer:
                detail = f"the first line of segment {position.segment}: {KINDS[wrong or 'changed']}"
                findings.append(Finding(trail.writer, number, wrong or "changed", detail))
            continue
        try:
            each = record(fields)
        except ValueError as error:
            findings.append(Finding(trail.writer, number, "unreadable", f"segment {position.segment}: {error}"))
            continue
        if each.writer != trail.writer:
            findings.append(Finding(trail.writer, each.sequence, "changed", f"it is a record of {each.writer}"))
        made.append(each)
    return made, findings


def _begin(trail: Trail, keys: Keyring, findings: list[Finding]) -> tuple[int, str]:
    """Return after which record a trail rightly begins: after none, unless old segments were removed."""
    segments = trail.segments()
    if not segments or segments[0][0] == 1:
        return 0, GENESIS
    with segments[0][1].open("rb") as stream:
        begin = parse(stream.readline())
    note = read_json(trail.path / REMOVED)
    after = begin.get("after")
    if keys.sealed(note) is None and note.get("writer") == trail.writer and note.get("through") == after:
        return int(begin["after"]), str(begin.get("previous"))
    findings.append(Finding(trail.writer, 1, "gap", f"the segments before {segments[0][0]} are missing"))
    return int(after) if isinstance(after, int) else 0, str(begin.get("previous"))


def _end(
    writer: str, keys: Keyring, newest: int, made: Sequence[Record], head: Mapping[str, Any], sent: int
) -> Iterator[Finding]:
    """Give what is missing at the end, by what the head and the note of what was delivered say."""
    wrong = keys.sealed(head)
    if wrong or head.get("writer") != writer:
        yield Finding(writer, newest, wrong or "changed", f"{HEAD}: {KINDS[wrong or 'changed']}")
        head = {}
    sequence = int(head.get("sequence", 0))
    reached = max(sequence, sent)
    if reached > newest:
        yield Finding(writer, newest + 1, "truncated", f"records {newest + 1} to {reached} are missing at the end")
    if any(each.sequence == sequence and each.hash != head.get("hash") for each in made):
        yield Finding(writer, sequence, "changed", f"{HEAD} knows another hash")
