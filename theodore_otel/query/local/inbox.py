"""The files the collector writes: which there are, and what is new in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from theodore_otel.query.local import regular
from theodore_otel.query.local.manifest import Consumed
from theodore_otel.query.local.otlp import SIGNALS

_HEAD = 4096
# The collector takes requests of 16 MiB; as JSON they are a few times larger.
_LONGEST_LINE = 128 * 2**20


@dataclass(frozen=True)
class Inbox:
    """One of the collector's files, open: it stays the same file when the collector rotates it meanwhile."""

    path: Path
    signal: str
    rotated: bool
    """The collector has closed it and writes to another."""
    key: str
    size: int
    file: BinaryIO

    def resume(self, consumed: Consumed | None) -> int:
        """Return the offset of the first byte not yet read; 0 for a file that only took over a known inode."""
        if consumed is None or self.size < consumed.offset:
            return 0
        return consumed.offset if self._head(consumed.head_size) == consumed.head else 0

    def mark(self, offset: int) -> Consumed:
        """Return what to remember about the file once it was read up to `offset`."""
        size = min(offset, _HEAD)
        return Consumed(self.path.name, offset, self._head(size), size)

    def lines(self, offset: int) -> Iterator[tuple[bytes, int]]:
        """Yield each whole line from `offset` on, with the offset behind it.

        A last line without its newline is still being written, unless the file was rotated: nobody will finish it
        then.
        """
        self.file.seek(offset)
        while line := self.file.readline(_LONGEST_LINE):
            offset += len(line)
            rest = line
            while not rest.endswith(b"\n") and (rest := self.file.readline(_LONGEST_LINE)):
                # Too long to be a request: what is yielded cannot be read, and counts as such.
                offset += len(rest)
            if not rest.endswith(b"\n") and not self.rotated:
                return
            yield line, offset

    def _head(self, size: int) -> str:
        self.file.seek(0)
        return hashlib.blake2b(self.file.read(size), digest_size=16).hexdigest()


def paths(folder: Path) -> list[tuple[Path, str]]:
    """Return the collector's files and their signals, the oldest of each signal first."""
    return [
        (path, signal)
        for signal in SIGNALS
        for path in (*sorted(folder.glob(f"{signal}-*.jsonl")), folder / f"{signal}.jsonl")
    ]


@contextmanager
def opened(path: Path, signal: str) -> Iterator[Inbox | None]:
    """Open one of the collector's files; None when it is not there (not yet, or under its rotated name by now).

    Raises:
        NotRegularError: when it is a pipe, a device, a folder: reading it might never end.
    """
    try:
        file = regular.opened(path)
    except FileNotFoundError:
        yield None
        return
    with file:
        stat = os.fstat(file.fileno())
        yield Inbox(path, signal, path.stem != signal, f"{stat.st_dev}:{stat.st_ino}", stat.st_size, file)
