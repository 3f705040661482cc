"""The files of one writer, for those that read them.

    DIR/key                                 the generated key, when none is given
    DIR/writers                             every writer there was, so that one that has vanished is missed
    DIR/open/CREDENTIAL/WRITER/             written by a process that lives, or not delivered yet
    DIR/kept/CREDENTIAL/WRITER/             delivered
        head                                number and hash of the newest record, sealed; locked while the writer lives
        000001.jsonl ...                    segments: a sealed line that says what follows, then a record a line
        sent                                how far the collector has taken them
        removed                             up to where segments were removed after their time, sealed

CREDENTIAL is a hash of what the records may be delivered with, never the credential.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal import places
from theodore_otel.journal.audit_record import encode, seal

HEAD: Final = "head"
SENT: Final = "sent"
REMOVED: Final = "removed"
HEAD_BYTES: Final = 512
OPEN, KEPT = "open", "kept"


@dataclass(frozen=True)
class Position:
    """A place in a trail: everything before it is delivered."""

    segment: int = 1
    offset: int = 0
    sequence: int = 0


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
        return sorted((int(path.stem), path) for path in self.path.glob("*.jsonl") if path.stem.isdigit())

    def sent(self) -> Position:
        """Return how far it is delivered; its beginning where that cannot be read."""
        found = read_json(self.path / SENT)
        try:
            return Position(int(found["segment"]), int(found["offset"]), int(found["sequence"]))
        except (KeyError, TypeError, ValueError):
            return Position()

    def note_sent(self, position: Position) -> None:
        """Remember how far it is delivered. Raises OSError."""
        places.write(self.path / SENT, encode(vars(position)))

    def waiting(self) -> int:
        """Return how many records are not delivered, by the head, without reading them all."""
        newest = read_json(self.path / HEAD).get("sequence", 0)
        return max(0, newest - self.sent().sequence) if isinstance(newest, int) else 0

    def lines(self, start: Position) -> Iterator[tuple[bytes, Position]]:
        """Give every whole line from a position on, with the position behind it; `sequence` is left to the reader."""
        for number, path in self.segments():
            if number < start.segment:
                continue
            at = start.offset if number == start.segment else 0
            try:
                stream = path.open("rb")
            except FileNotFoundError:
                continue
            with stream:
                stream.seek(at)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # is being written, or its writer was killed
                    at += len(line)
                    yield line, Position(number, at)

    def resource(self) -> dict[str, Any]:
        """Return what its first segment says of the process that wrote it."""
        for _, path in self.segments():
            with path.open("rb") as stream:
                found = parse(stream.readline()).get("process")
                return found if isinstance(found, dict) else {}
        return {}

    def lives(self) -> bool:
        """Say whether its writer, or somebody who delivers it, has it now."""
        claimed = places.claim(self.path / HEAD)
        if claimed is None:
            return (self.path / HEAD).exists()
        claimed.release()
        return False


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
                found += [Trail(path) for path in _folders(group) if (path / HEAD).exists()]
    return found


def keep(trail: Trail, folder: Path) -> Trail:
    """Move a trail that is wholly delivered to those that are kept. Raises OSError."""
    group = places.folder(trail.credential, places.folder(KEPT, folder))
    target = group / trail.writer
    trail.path.rename(target)
    return replace(trail, path=target)


def head_line(writer: str, sequence: int, hashed: str, key: bytes, keyid: str) -> bytes:
    """Return the sealed content of the head, always of the same length."""
    fields = {"writer": writer, "sequence": sequence, "hash": hashed, "keyid": keyid}
    return encode({**fields, "seal": seal(fields, key)}).ljust(HEAD_BYTES - 1) + b"\n"


def parse(line: bytes) -> dict[str, Any]:
    """Return the object of a line; an empty one for what is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a file; an empty one for what is none or not there."""
    try:
        return parse(path.read_bytes())
    except OSError:
        return {}


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
