"""Writes the records of one process, durably, as one chain.

Several threads share one disk write: the first one writes what all have brought until then, the others wait for it.
What cannot be written is kept in memory within bounds, given to whoever delivers, and written as soon as that is
possible. How many records are nowhere but in memory stands in the head, which needs no room on the disk.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from theodore_otel.journal import audit_register, places
from theodore_otel.journal.audit_keys import Keyring, Keys
from theodore_otel.journal.audit_record import GENESIS, Record, encode
from theodore_otel.journal.audit_trail import (
    FORM,
    HEAD,
    LONGEST_LINE,
    OPEN,
    REMOVED,
    Position,
    Trail,
    head_line,
    parse,
    segment_name,
)

SEGMENT_BYTES: Final = 8 * 1024 * 1024
_IN_MEMORY: Final = 20_000
_MEMORY_BYTES: Final = 64 * 1024 * 1024
_AT_ONCE: Final = 256
"""Records of one write: what waits in memory must not make a segment larger than its readers allow."""
_PAUSE: Final = 1.0
"""Seconds between two attempts to write where that failed and much waits."""
_LOCK_SECONDS: Final = 1.0
_sync = getattr(os, "fdatasync", os.fsync)


class LostError(Exception):
    """A record that neither disk nor memory has room for."""


class Files:
    """The files of one writer, opened for writing."""

    def __init__(self, folder: Path, credential: str, first: Record, process: Mapping[str, Any], keys: Keys) -> None:
        """Make the files, so that they survive a power cut, for a chain that begins with `first`. Raises OSError."""
        writer = first.writer
        group = places.folder(credential, places.folder(OPEN, folder))
        self.trail = Trail(places.folder(writer, group))
        self.newest = first.sequence - 1
        """The number of the newest record that the disk has."""
        self._newest_hash = first.previous
        self._credential = credential
        self._process = process
        self._keys = keys
        self._number = 0
        self._descriptor = -1
        self._file: tuple[int, int] | None = None
        self._size = 0
        self._head = places.create(self.trail.path / HEAD)
        try:
            self.note_unwritten(0)
            self._next_segment()
            places.settle(group)
            audit_register.add(folder, writer, keys)
        except BaseException:
            self.close()
            self._undo()
            raise

    def write(self, records: Sequence[Record]) -> None:
        """Add those records that are not there yet and wait until the disk has them.

        Raises OSError; the segment is then as it was before.
        """
        if not (self._head.is_open() and places.identity(self._descriptor) == self._file):
            raise OSError(9, "the program has closed the journal's files")
        added = [record for record in records if record.sequence > self.newest]
        if added:
            if self._size >= SEGMENT_BYTES:
                self._next_segment()
            size = self._append(self._descriptor, self._size, b"".join(record.line() for record in added))
            self._size, self.newest, self._newest_hash = size, added[-1].sequence, added[-1].hash
        self.note_unwritten(0)

    def note_unwritten(self, count: int) -> None:
        """Write into the head what is on the disk, and how many records are not. Raises OSError."""
        if self._head.is_open():
            line = head_line(self._keys.current(), self.trail.writer, self.newest, self._newest_hash, count)
            os.pwrite(self._head.descriptor, line, 0)

    def close(self) -> None:
        """Close everything; the trail can then be claimed by others."""
        self.abandon()
        self._head.release()

    def abandon(self) -> None:
        """Close the segment only: the claim on the head is the parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and places.identity(descriptor) == self._file:
            os.close(descriptor)

    def trim(self, sent: Position, seconds: float) -> None:
        """Remove old segments before the one that is being delivered, and say so in a sealed note. Raises OSError.

        Nothing is removed where the segment behind them does not say, sealed, what it follows.
        """
        segments = self.trail.segments()
        old = [each for each in segments if each[0] < sent.segment and each[1].stat().st_mtime < time.time() - seconds]
        if not old or sent.refused:
            return
        begin = parse(places.read(segments[len(old)][1], LONGEST_LINE).partition(b"\n")[0])
        if Keyring(self._keys.all()).sealed(begin):
            return
        note = {"writer": self.trail.writer, "through": begin["after"]}
        places.write(self.trail.path / REMOVED, encode(self._keys.current().signed(note)), durable=True)
        for _, path in old:
            path.unlink()

    def _undo(self) -> None:
        with contextlib.suppress(OSError):
            for path in self.trail.path.iterdir():
                path.unlink()
            self.trail.path.rmdir()

    def _append(self, descriptor: int, size: int, content: bytes) -> int:
        """Write at the end of a segment that holds `size` bytes; return how many it holds then."""
        before = size
        if os.fstat(descriptor).st_size > size:  # left by a call that was interrupted
            os.ftruncate(descriptor, size)
        try:
            while content:
                written = os.write(descriptor, content)
                content, size = content[written:], size + written
            _sync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
        return size

    def _next_segment(self) -> None:
        number = self._number + 1
        path = self.trail.path / segment_name(number)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fields = {
            "journal": FORM,
            "writer": self.trail.writer,
            "credential": self._credential,
            "segment": number,
            "after": self.newest,
            "previous": self._newest_hash,
            "process": self._process,
        }
        descriptor = os.open(path, flags, 0o600)
        try:
            size = self._append(descriptor, 0, encode(self._keys.current().signed(fields)) + b"\n")
            places.settle(self.trail.path)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self.abandon()
        self._descriptor, self._file = descriptor, places.identity(descriptor)
        self._size, self._number = size, number


class Writer:
    """One chain. Threads may use it at once; a forked child needs a new one."""

    def __init__(self, keys: Keys, open_files: Callable[[Record], Files], failed: Callable[[Exception], None]) -> None:
        """`open_files` makes the files for a chain's first record; `failed` is told why records are not on disk."""
        self.id = uuid.uuid4().hex
        self.unwritten: deque[Record] = deque()
        """Records that could not be written and were not delivered, oldest first."""
        self._handled: deque[Record] = deque()
        """Records before those, which could not be written, and were delivered or refused from memory."""
        self._refused: set[int] = set()
        self._dropped: set[int] = set()
        self._dropped_count = 0
        self._bytes = 0
        self._keys = keys
        self._open_files = open_files
        self._failed = failed
        self._files: Files | None = None
        self._waiting: list[Record] = []
        self._last: Record | None = None
        self._settled = 0
        self._retry_at = 0.0
        self._error: Exception | None = None
        self._sealing = threading.Lock()
        self._writing = threading.Lock()
        self._inside: set[int] = set()
        self._interrupting: Writer | None = None

    def append(self, **fields: str | None) -> Record:
        """Add one record: action, outcome and what else is known. Returns when the disk has it, or cannot have it.

        Raises LostError where memory is full of records that the disk cannot have.
        """
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
        if record.sequence in self._dropped:
            self._dropped.discard(record.sequence)
            raise LostError(f"memory is full of records that are not on the disk ({self._error})")
        return record

    def trails(self) -> list[Trail]:
        """Return where its records are."""
        more = self._interrupting.trails() if self._interrupting else []
        return ([self._files.trail] if self._files else []) + more

    def lost(self) -> int:
        """Return how many records are neither on the disk nor in memory to be delivered."""
        return len(self._refused) + self._dropped_count + (self._interrupting.lost() if self._interrupting else 0)

    def in_memory(self) -> int:
        """Return how many records are nowhere but in memory, and not delivered."""
        return len(self.unwritten) + (self._interrupting.in_memory() if self._interrupting else 0)

    def oldest_unwritten(self, most: int) -> list[Record]:
        """Return the oldest records that could not be written and were not delivered."""
        with self._held() as held:
            found = [self.unwritten[n] for n in range(min(len(self.unwritten), most))] if held else []
        return found or (self._interrupting.oldest_unwritten(most) if self._interrupting else [])

    def handled(self, records: Sequence[Record], *, refused: bool = False) -> None:
        """Note that records of `oldest_unwritten` were delivered, or will never be taken by the collector."""
        with self._held() as held:
            for record in records if held else ():
                if self.unwritten and self.unwritten[0] is record:
                    self._handled.append(self.unwritten.popleft())
                    if refused:
                        self._refused.add(record.sequence)
            self._note_unwritten()
        if self._interrupting is not None:
            self._interrupting.handled(records, refused=refused)

    def retry(self) -> None:
        """Write what could not be written, if that is possible by now."""
        with self._held() as held:
            if held and (self.unwritten or self._handled):
                with contextlib.suppress(Exception):
                    self._to_disk([])
        if self._interrupting is not None:
            self._interrupting.retry()

    def abandon(self) -> None:
        """Close, in a forked child, what belongs to its parent."""
        if self._files is not None:
            self._files.abandon()
        if self._interrupting is not None:
            self._interrupting.abandon()

    def trim(self, sent: Position, seconds: float) -> None:
        """Remove segments that were delivered and written longer ago than that. Raises OSError."""
        with self._held() as held:
            if held and self._files is not None:
                self._files.trim(sent, seconds)

    @contextlib.contextmanager
    def _held(self) -> Iterator[bool]:
        # Bounded: at the end of the process a signal handler may wait for the call that it interrupts.
        held = self._writing.acquire(timeout=_LOCK_SECONDS)
        try:
            yield held
        finally:
            if held:
                self._writing.release()

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
            self._to_disk(batch)
        except Exception as error:  # noqa: BLE001 - the program goes on; the records are delivered from memory
            self._error = error
            there = [*self._handled, *self.unwritten][-1:]
            newest = there[0].sequence if there else self._files.newest if self._files else 0
            self._to_memory([record for record in batch if record.sequence > newest])
            self._failed(error)
        # Forgotten last: what interrupts this has them tried again rather than never; `Files` writes each once.
        self._last = batch[-1]
        self._settled = batch[-1].sequence
        del self._waiting[: len(batch)]

    def _to_disk(self, batch: Sequence[Record]) -> None:
        """Write what waits in memory and a batch behind it, so that the chain stays in order."""
        pending = [*self._handled, *self.unwritten, *batch]
        if not pending:
            return
        waiting = len(pending) - len(batch)
        if waiting > (_AT_ONCE if self._files else 0) and time.monotonic() < self._retry_at:
            raise self._error or OSError(11, "the disk could not be written a moment ago")
        self._retry_at = time.monotonic() + _PAUSE
        files = self._opened(pending[0])
        for start in range(0, len(pending), _AT_ONCE):
            files.write(pending[start : start + _AT_ONCE])
            self._forget(files.newest)
        self._retry_at = 0.0
        if self._dropped_count:
            self._note_unwritten()

    def _forget(self, newest: int) -> None:
        """Forget what was in memory and is on the disk now."""
        for kept in (self._handled, self.unwritten):
            while kept and kept[0].sequence <= newest:
                record = kept.popleft()
                self._bytes -= _size(record)
                self._refused.discard(record.sequence)

    def _to_memory(self, batch: Sequence[Record]) -> None:
        for record in batch:
            size = _size(record)
            while self._is_full(size) and self._handled and self._handled[0].sequence not in self._refused:
                self._bytes -= _size(self._handled.popleft())
            if self._is_full(size):
                self._dropped.add(record.sequence)
                self._dropped_count += 1
            else:
                self.unwritten.append(record)
                self._bytes += size
        self._note_unwritten()

    def _is_full(self, size: int) -> bool:
        return len(self.unwritten) + len(self._handled) >= _IN_MEMORY or self._bytes + size > _MEMORY_BYTES

    def _note_unwritten(self) -> None:
        if self._files is not None:
            with contextlib.suppress(OSError):
                self._files.note_unwritten(len(self.unwritten) + len(self._refused) + self._dropped_count)

    def _opened(self, first: Record) -> Files:
        if self._files is None:
            self._files = self._open_files(first)
        return self._files


def _size(record: Record) -> int:
    """Return about how much memory a record takes."""
    return 500 + sum(len(text) for text in (record.action, record.actor, record.resource, record.context) if text)
