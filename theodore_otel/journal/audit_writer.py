"""Writes the records of one process, durably, as one chain.

Several threads share one disk write: the first one writes what all have brought until then, the others wait for it.
What cannot be written is kept in memory and given to whoever delivers.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal import audit_register, places
from theodore_otel.journal.audit_keys import Keys
from theodore_otel.journal.audit_record import GENESIS, Record, encode, seal
from theodore_otel.journal.audit_trail import HEAD, OPEN, REMOVED, Position, Trail, head_line, parse

SEGMENT_BYTES: Final = 8 * 1024 * 1024
_IN_MEMORY: Final = 20_000
_PAUSE: Final = 1.0
"""Seconds between two attempts to make files where that failed."""
_sync = getattr(os, "fdatasync", os.fsync)


class Files:
    """The files of one writer, opened for writing."""

    def __init__(self, folder: Path, credential: str, first: Record, process: Mapping[str, Any], keys: Keys) -> None:
        """Make the files, so that they survive a power cut, for a chain that begins with `first`. Raises OSError."""
        writer = first.writer
        group = places.folder(credential, places.folder(OPEN, folder))
        self.trail = Trail(places.folder(writer, group))
        self._process = process
        self._keys = keys
        self._writer = writer
        self._number = 0
        self._descriptor = -1
        self._size = 0
        self._head = places.create(self.trail.path / HEAD)
        try:
            self._note_head(first.sequence - 1, first.previous)
            self._next_segment(first.sequence - 1, first.previous)
            places.settle(group)
            audit_register.add(folder, writer)
        except BaseException:
            self.close()
            self._undo()
            raise

    def write(self, records: list[Record]) -> None:
        """Add records and wait until the disk has them. Raises OSError; the file is then as it was before."""
        if self._size >= SEGMENT_BYTES:
            self._next_segment(records[0].sequence - 1, records[0].previous)
        try:
            self._append(b"".join(record.line() for record in records))
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._note_head(records[-1].sequence, records[-1].hash)

    def close(self) -> None:
        """Close everything; the trail can then be claimed by others."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        self._head.release()

    def abandon(self) -> None:
        """Close the segment only: the claim on the head is the parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def trim(self, sent: Position, seconds: float) -> None:
        """Remove old segments before the one that is being delivered, and say so in a sealed note. Raises OSError."""
        segments = self.trail.segments()
        old = [each for each in segments if each[0] < sent.segment and each[1].stat().st_mtime < time.time() - seconds]
        if not old:
            return
        following = segments[len(old)][1]
        with following.open("rb") as stream:
            begin = parse(stream.readline())
        key = self._keys.current()
        note = {"writer": self._writer, "through": begin["after"], "keyid": key.id}
        places.write(self.trail.path / REMOVED, encode({**note, "seal": seal(note, key.secret)}), durable=True)
        for _, path in old:
            path.unlink()

    def _undo(self) -> None:
        with contextlib.suppress(OSError):
            for path in self.trail.path.iterdir():
                path.unlink()
            self.trail.path.rmdir()

    def _append(self, content: bytes) -> None:
        size = self._size
        while content:
            written = os.write(self._descriptor, content)
            content = content[written:]
            size += written
        _sync(self._descriptor)
        self._size = size

    def _note_head(self, sequence: int, hashed: str) -> None:
        key = self._keys.current()
        os.pwrite(self._head.descriptor, head_line(self._writer, sequence, hashed, key.secret, key.id), 0)

    def _next_segment(self, after: int, previous: str) -> None:
        path = self.trail.path / f"{self._number + 1:06d}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size, self._number = descriptor, 0, self._number + 1
        key = self._keys.current()
        fields = {
            "journal": 1,
            "writer": self._writer,
            "segment": self._number,
            "after": after,
            "previous": previous,
            "process": self._process,
            "keyid": key.id,
        }
        self._append(encode({**fields, "seal": seal(fields, key.secret)}) + b"\n")
        places.settle(self.trail.path)


class Writer:
    """One chain. Threads may use it at once; a forked child needs a new one."""

    def __init__(self, keys: Keys, open_files: Callable[[Record], Files], failed: Callable[[Exception], None]) -> None:
        """`open_files` makes the files for a chain's first record; `failed` is told why records are not on disk."""
        self.id = uuid.uuid4().hex
        self.unwritten: deque[Record] = deque(maxlen=_IN_MEMORY)
        """Records that could not be written; whoever delivers takes them from the left."""
        self._keys = keys
        self._open_files = open_files
        self._failed = failed
        self._files: Files | None = None
        self._waiting: list[Record] = []
        self._last: Record | None = None
        self._settled = 0
        self._retry_at = 0.0
        self._sealing = threading.Lock()
        self._writing = threading.Lock()
        self._inside: set[int] = set()
        self._interrupting: Writer | None = None

    def append(self, **fields: str | None) -> Record:
        """Add one record: action, outcome and what else is known. Returns when the disk has it, or cannot have it."""
        thread = threading.get_ident()
        if thread in self._inside:
            return self._of_interrupting().append(**fields)
        self._inside.add(thread)
        try:
            with self._sealing:
                record = self._seal(fields)
            with self._writing:
                if record.sequence > self._settled:
                    self._settle()
        finally:
            self._inside.discard(thread)
        return record

    def trails(self) -> list[Trail]:
        """Return where its records are."""
        more = self._interrupting.trails() if self._interrupting else []
        return ([self._files.trail] if self._files else []) + more

    def take_unwritten(self) -> list[Record]:
        """Return the oldest records that could not be written, and forget them."""
        taken = [self.unwritten.popleft() for _ in range(min(len(self.unwritten), 512))]
        return taken + (self._interrupting.take_unwritten() if self._interrupting else [])

    def abandon(self) -> None:
        """Close, in a forked child, what belongs to its parent."""
        if self._files is not None:
            self._files.abandon()
        if self._interrupting is not None:
            self._interrupting.abandon()

    def trim(self, sent: Position, seconds: float) -> None:
        """Remove segments that were delivered and written longer ago than that. Raises OSError."""
        with self._writing:
            if self._files is not None:
                self._files.trim(sent, seconds)

    def _of_interrupting(self) -> Writer:
        # A signal handler, or a finalizer, in the middle of this thread's own call: it cannot wait for its end.
        if self._interrupting is None:
            self._interrupting = Writer(self._keys, self._open_files, self._failed)
        return self._interrupting

    def _seal(self, fields: Mapping[str, str | None]) -> Record:
        newest = self._waiting[-1:]  # at once: another thread may just be emptying it
        last = newest[0] if newest else self._last
        key = self._keys.current()
        made: dict[str, Any] = {
            **fields,
            "writer": self.id,
            "sequence": last.sequence + 1 if last else 1,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "keyid": key.id,
            "previous": last.hash if last else GENESIS,
        }
        record = Record(**made, hash=Record(**made).seal(key.secret))
        self._waiting.append(record)
        return record

    def _settle(self) -> None:
        batch = list(self._waiting)
        try:
            self._opened(batch[0]).write(batch)
        except Exception as error:  # noqa: BLE001 - the program goes on; the records are delivered from memory
            self.unwritten.extend(batch)
            self._failed(error)
        # Forgotten last: what interrupts this has them written twice rather than never.
        self._last = batch[-1]
        self._settled = batch[-1].sequence
        del self._waiting[: len(batch)]

    def _opened(self, first: Record) -> Files:
        if self._files is None:
            if time.monotonic() < self._retry_at:
                raise OSError(11, "its folder could not be written a moment ago")
            self._retry_at = time.monotonic() + _PAUSE
            self._files = self._open_files(first)
        return self._files
