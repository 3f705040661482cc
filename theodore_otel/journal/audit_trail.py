"""The files of one writer, for those that read them.

    DIR/key                                 the generated key, when none is given
    DIR/writers                             every writer there was, sealed, so that one that has vanished is missed
    DIR/open/CREDENTIAL/WRITER/             written by a process that lives, or not delivered yet
    DIR/kept/CREDENTIAL/WRITER/             delivered
        head                                number and hash of the newest record, sealed; locked while the writer lives
        000001.jsonl ...                    segments: a sealed line that says what follows, then a record a line
        sent                                how far the collector has taken them and what it refused, sealed
        removed                             up to where segments were removed after their time, sealed

CREDENTIAL is a hash of what the records may be delivered with, never the credential. Whatever else lies in these
folders, or in place of these files, is read without waiting, without following links and within bounds.

Journals of form 1, of the version before, lack the credential in the segments' first lines and the seal of `sent`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from theodore_otel.journal import places
from theodore_otel.journal.audit_keys import Key, Keyring
from theodore_otel.journal.audit_record import LARGEST, encode

FORM: Final = 2
"""The form of what is written now, in each segment's first line."""
HEAD: Final = "head"
SENT: Final = "sent"
REMOVED: Final = "removed"
HEAD_BYTES: Final = 512
OPEN, KEPT = "open", "kept"
LONGEST_LINE: Final = 1024 * 1024
"""Bytes; the longest that is ever written is an eighth of it."""
LARGEST_SEGMENT: Final = 64 * 1024 * 1024
"""Bytes after which a segment is not read on; the largest that is ever written is a quarter of it."""

_NOTE_BYTES: Final = 64 * 1024
_SEGMENT: Final = re.compile(r"([0-9]{6,18})\.jsonl", re.ASCII)


class UnfitError(ValueError):
    """A journal whose seals do not say that it may be delivered under the credential it lies under."""


@dataclass(frozen=True)
class Position:
    """A place in a trail: everything before it is delivered, but the records whose numbers are in `refused`."""

    segment: int = 1
    offset: int = 0
    sequence: int = 0
    refused: tuple[int, ...] = ()


class Line(NamedTuple):
    """One line of a segment."""

    text: bytes
    """Without its end; only the first megabyte of one that is longer."""
    behind: Position
    """The place behind it; `sequence` and `refused` are left to the reader."""
    whole: bool
    """Whether it has an end: it is being written, or its writer was killed, when it has none."""


@dataclass(frozen=True)
class Trail:
    """The folder of one writer."""

    path: Path

    @property
    def writer(self) -> str:
        """Return the writer's id."""
        return self.path.name

    @property
    def credential(self) -> str:
        """Return the hash of the credential that its records may be delivered with."""
        return self.path.parent.name

    def segments(self) -> list[tuple[int, Path]]:
        """Return its segments by number, oldest first."""
        with suppress(OSError), os.scandir(self.path) as entries:
            names = [match for entry in entries if (match := _SEGMENT.fullmatch(entry.name))]
            found = sorted((int(match[1]), match[0]) for match in names)
            return [(number, self.path / name) for number, name in found if name == segment_name(number)]
        return []

    def note(self, name: str) -> dict[str, Any]:
        """Return what `head`, `sent` or `removed` says; nothing where that cannot be read."""
        return read_json(self.path / name)

    def opening(self) -> dict[str, Any]:
        """Return the first line of its first segment. Raises OSError."""
        for _, path in self.segments():
            return parse(places.read(path, LONGEST_LINE).partition(b"\n")[0])
        return {}

    def sent(self, keys: Keyring) -> Position:
        """Return how far it is delivered; its beginning where nobody with a known key says so."""
        found = self.note(SENT)
        if self.unfit_note(found, keys, self._form()):
            return Position()
        return position_of(found)

    def unfit_note(self, sent: Mapping[str, Any], keys: Keyring, form: int) -> str | None:
        """Return what is wrong with the note of what was delivered: `unknown key`, `changed` or nothing."""
        if form == 1 and "seal" not in sent:
            return None
        return keys.sealed(sent) or (None if sent.get("writer") == self.writer else "changed")

    def note_sent(self, position: Position, key: Key) -> None:
        """Remember how far it is delivered. Raises OSError."""
        places.write(self.path / SENT, encode(key.signed({"writer": self.writer, **vars(position)})))

    def waiting(self) -> int:
        """Return how many records are not delivered, by what the notes say, without reading them all."""
        sent = position_of(self.note(SENT))
        return max(0, whole_number(self.note(HEAD).get("sequence")) - sent.sequence) + len(sent.refused)

    def unwritten(self) -> int:
        """Return how many records its writer had when it last could say so that no disk has and nobody took."""
        return whole_number(self.note(HEAD).get("unwritten"))

    def check(self, keys: Keyring) -> None:
        """Raise UnfitError unless a known key says that its records may go under its credential, OSError where it
        cannot be read.
        """
        opening = self.opening()
        if wrong := keys.sealed(opening):
            raise UnfitError("its key is not known" if wrong == "unknown key" else "its first line was changed")
        if opening.get("writer") != self.writer or opening.get("credential", self.credential) != self.credential:
            raise UnfitError("it was written under another credential")

    def is_delivered(self, keys: Keyring) -> bool:
        """Return True where the notes, sealed by known keys, say that nothing is left to deliver."""
        head, sent = self.note(HEAD), self.sent(keys)
        return not keys.sealed(head) and sent.sequence >= whole_number(head.get("sequence")) and not sent.refused

    def lines(self, start: Position) -> Iterator[Line]:
        """Yield the lines from a position on. Raises OSError for a segment that cannot be read."""
        for number, path in self.segments():
            if number < start.segment:
                continue
            with suppress(FileNotFoundError):  # removed meanwhile
                yield from lines_of(number, path, start.offset if number == start.segment else 0)

    def resource(self) -> dict[str, Any]:
        """Return what its first segment says of the process that wrote it. Raises OSError."""
        found = self.opening().get("process")
        return found if isinstance(found, dict) else {}

    def lives(self) -> bool:
        """Return True while its writer, or somebody who delivers it, has it."""
        try:
            claimed = places.claim(self.path / HEAD)
        except OSError:
            return False
        if claimed is None:
            return (self.path / HEAD).exists()
        claimed.release()
        return False

    def _form(self) -> int:
        with suppress(OSError):
            return whole_number(self.opening().get("journal"))
        return FORM


def identity(headers: Mapping[str, str]) -> str:
    """Return a name for a credential that does not give it away."""
    authorization = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    if not authorization:
        return "none"
    return hashlib.sha256(b"theodore-otel credential\0" + authorization.encode()).hexdigest()[:16]


def trails(folder: Path, credential: str | None = None, states: tuple[str, ...] = (OPEN, KEPT)) -> list[Trail]:
    """Return every writer's trail, of one credential when it is given. Folders that cannot be read give none."""
    found: list[Trail] = []
    for state in states:
        for group in _folders(folder / state):
            if credential in (None, group.name):
                found += [Trail(path) for path in _folders(group)]
    return found


def keep(trail: Trail, folder: Path) -> Trail:
    """Move a trail that is wholly delivered to those that are kept. Raises OSError."""
    group = places.folder(trail.credential, places.folder(KEPT, folder))
    target = group / trail.writer
    if target != trail.path:
        trail.path.rename(target)
    return replace(trail, path=target)


def head_line(key: Key, writer: str, sequence: int, hashed: str, unwritten: int) -> bytes:
    """Return the sealed content of the head, always of the same length."""
    fields = {"writer": writer, "sequence": sequence, "hash": hashed, "unwritten": unwritten}
    return encode(key.signed(fields)).ljust(HEAD_BYTES - 1) + b"\n"


def segment_name(number: int) -> str:
    """Return the name of a segment's file."""
    return f"{number:06d}.jsonl"


def position_of(note: Mapping[str, Any]) -> Position:
    """Return the position that a note of what was delivered holds; the beginning where it holds none."""
    segment, offset, sequence = (whole_number(note.get(name)) for name in ("segment", "offset", "sequence"))
    if not segment:
        return Position()
    listed = note.get("refused")
    refused = filter(None, map(whole_number, listed)) if isinstance(listed, list) else ()
    return Position(segment, offset, sequence, tuple(refused))


def whole_number(value: Any) -> int:
    """Return a value that is a number which can be counted to; otherwise 0."""
    return value if type(value) is int and 0 <= value <= LARGEST else 0


def lines_of(number: int, path: Path, at: int = 0) -> Iterator[Line]:
    """Yield the lines of one segment from an offset on. Raises OSError."""
    with os.fdopen(places.opened(path), "rb") as stream:
        stream.seek(at)
        while at < LARGEST_SEGMENT and (text := stream.readline(LONGEST_LINE)):
            at += len(text)
            end = text
            while not end.endswith(b"\n") and at < LARGEST_SEGMENT and (end := stream.readline(LONGEST_LINE)):
                at += len(end)
            yield Line(text.removesuffix(b"\n"), Position(number, at), end.endswith(b"\n"))


def parse(line: bytes) -> dict[str, Any]:
    """Return the object of a line; an empty one for what is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a small file; an empty one for what is none or cannot be read."""
    try:
        return parse(places.read(path, _NOTE_BYTES))
    except OSError:
        return {}


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
