"""Encoded, redacted telemetry that waits on disk for a collector.

One file is one request; its name tells all there is to know of it, so that nothing is opened for looking. It appears
whole, by rename, and disappears when it was delivered. Files of a process that is killed stay as they are.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from theodore_otel import paths
from theodore_otel.journal import places
from theodore_otel.journal.places import Claim

SIZE: Final = 256 * 1024 * 1024
METRICS_AGE: Final = 3600.0
"""Seconds after which metric points are not sent any more: Datadog and Prometheus refuse older ones."""

_SUFFIX: Final = ".otlp"
_ASIDE: Final = ".damaged"
_NAME: Final = (
    r"(?P<credential>[0-9a-f]{16})-(?P<made>\d{20})-(?P<writer>[0-9a-f]+)-(?P<number>\d{6})"
    r"-(?P<signal>traces|logs|metrics)-(?P<count>\d+)(?P<kept>-audit)?(?P<state>\.otlp|\.damaged)"
)
_MAGIC: Final = b"theodore-otel spool 1"
_MERGED_BYTES: Final = 512 * 1024
_SMALLEST_SHARE: Final = 8
"""Into how many files at least a full spool is divided: what is oldest goes a file at a time."""
_TOO_LARGE: Final = "larger than the spool may be"
_LEFT_OVER_SECONDS: Final = 3600.0
_LOCK_TRIES: Final = 20
_LOCK_WAIT: Final = 0.005


class DamagedError(Exception):
    """A file does not hold what was written."""


@dataclass(frozen=True)
class Item:
    """One request to keep."""

    signal: str
    body: bytes
    count: int
    """Spans, log records or metrics in it."""
    made: float = field(default_factory=time.time)
    """When it was encoded, in seconds since the epoch."""
    audit: bool = False
    """Whether audit records are in it: these are the last to go when the spool is full."""


@dataclass(frozen=True)
class Entry:
    """One file of the spool."""

    path: Path
    credential: str
    made: float
    signal: str
    count: int
    audit: bool
    size: int
    damaged: bool


@dataclass
class Kept:
    """What came of keeping items."""

    counts: Counter[str] = field(default_factory=Counter)
    """Records written, by signal."""
    evicted: Counter[str] = field(default_factory=Counter)
    """Older records that were deleted to make room, by signal."""
    reason: str = ""
    """Why some were not written."""


def identity(url: str, headers: Mapping[str, str]) -> str:
    """Return what stands for an endpoint and everything that is said to it about who sends, without giving it away."""
    import hashlib  # takes 5 ms, which a run that has nothing to keep does not spend

    base = url.rstrip("/").rpartition("/v1/")[0] or url
    words = [base, *(f"{name.lower()}:{value}" for name, value in sorted(headers.items()))]
    return hashlib.sha256("\0".join(["theodore-otel spool", *words]).encode()).hexdigest()[:16]


class Spool:
    """The folder, and how much it may hold."""

    def __init__(self, directory: Path | None = None, size: int = SIZE) -> None:
        """Nothing is made or opened yet. Without a directory it is `spool` in the state folder; `size` is in bytes."""
        self._directory = directory
        self._size = size
        self._number = 0

    def keep(self, credential: str, items: Sequence[Item]) -> Kept:
        """Write items, in their order, as far as the spool may grow: what is oldest goes or is not written.

        Never raises: what was not written is told.
        """
        kept = Kept()
        try:
            folder = self._made()
            merged = list(_merged(items, min(_MERGED_BYTES, self._size // _SMALLEST_SHARE)))
            claim = _patiently(folder / "room.lock")
            try:
                for item in self._fitting(folder, merged, kept, evict=claim is not None):
                    places.write(folder / self._name(credential, item), _sealed(item.body))
                    kept.counts[item.signal] += item.count
            finally:
                if claim is not None:
                    claim.release()
        except (OSError, RuntimeError, ValueError) as error:
            kept.reason = _why(error)
        return kept

    def entries(self, credential: str | None = None) -> list[Entry]:
        """Return what is there, oldest first; nothing when there is no folder. Raises OSError when it is closed."""
        try:
            with os.scandir(self.folder()) as files:
                found = [entry for file in files if (entry := _entry(file))]
        except (FileNotFoundError, RuntimeError):
            return []
        return sorted((each for each in found if credential in (None, each.credential)), key=_age)

    def waiting(self) -> bool:
        """Say whether anything waits for delivery, under whatever credential. Never raises."""
        with suppress(OSError, RuntimeError), os.scandir(self.folder()) as files:
            return any(file.name.endswith(_SUFFIX) for file in files)
        return False

    def claim(self, credential: str) -> Claim | None:
        """Return the right to deliver what waits under a credential; None while another process has it."""
        return places.claim(self._made() / f"{credential}.lock", make=True)

    def folder(self) -> Path:
        """Return where the files lie, whether there is such a folder or not. Raises RuntimeError without a home."""
        return self._directory or paths.home() / "spool"

    def _made(self) -> Path:
        folder = self.folder()
        return places.folder(folder.name, folder.parent)

    def _name(self, credential: str, item: Item) -> str:
        self._number += 1
        writer = f"{os.getpid():x}{os.urandom(4).hex()}"
        audit = "-audit" if item.audit else ""
        made = f"{int(item.made * 1e9):020d}"
        return f"{credential}-{made}-{writer}-{self._number % 10**6:06d}-{item.signal}-{item.count}{audit}{_SUFFIX}"

    def _fitting(self, folder: Path, items: Sequence[Item], kept: Kept, *, evict: bool) -> list[Item]:
        """Return the items that there is room for. Older files go for newer items, what holds audit records last; while
        another process makes room, none go.
        """
        if evict:
            _remove_left_over(folder)
        there = self.entries()
        too_much = sum(each.size for each in there) + sum(map(_file_size, items)) - self._size
        files: list[Entry | Item] = [*(there if evict else ()), *items]
        dropped: set[int] = set()
        for oldest in sorted(files, key=_worth):
            if too_much <= 0:
                break
            if isinstance(oldest, Item):
                dropped.add(id(oldest))
                too_much -= _file_size(oldest)
                kept.reason = "the spool is too small" if _file_size(oldest) <= self._size else _TOO_LARGE
                continue
            too_much -= oldest.size
            if remove(oldest) and not oldest.damaged:
                kept.evicted[oldest.signal] += oldest.count
        return [item for item in items if id(item) not in dropped]


def read(entry: Entry) -> bytes:
    """Return the request. Raises DamagedError, and OSError when the file is gone or cannot be read."""
    head, newline, body = entry.path.read_bytes().partition(b"\n")
    if not newline or head != _head(body):
        raise DamagedError(entry.path.name)
    return body


def remove(entry: Entry) -> bool:
    """Delete one file. Returns whether it was this call that did."""
    try:
        entry.path.unlink()
    except FileNotFoundError:
        return False
    return True


def set_aside(entry: Entry) -> None:
    """Keep a damaged file, for a person to look at, out of the way of the others."""
    with suppress(FileNotFoundError):
        entry.path.replace(entry.path.with_suffix(_ASIDE))


def too_old(entry: Entry) -> bool:
    """Say whether backends would refuse it: metric points only, and by their age."""
    return entry.signal == "metrics" and time.time() - entry.made > METRICS_AGE


def _merged(items: Sequence[Item], most: int) -> Iterator[Item]:
    """Join small requests that follow each other, up to `most` bytes: OTLP requests one after the other are one.
    Metrics stay, as their age decides whether they are sent.
    """
    group: list[Item] = []
    for item in items:
        size = sum(len(each.body) for each in group) + len(item.body)
        alike = group and (group[0].signal, group[0].audit) == (item.signal, item.audit) and item.signal != "metrics"
        if group and not (alike and size <= most):
            yield _joined(group)
            group = []
        group.append(item)
    if group:
        yield _joined(group)


def _joined(group: list[Item]) -> Item:
    first = group[0]
    body = b"".join(item.body for item in group)
    return Item(first.signal, body, sum(item.count for item in group), first.made, first.audit)


def _sealed(body: bytes) -> bytes:
    return _head(body) + b"\n" + body


def _worth(each: Entry | Item) -> tuple[bool, bool, float]:
    """Return what comes first in the order in which files go."""
    return (isinstance(each, Item) or not each.damaged, each.audit, each.made)


def _file_size(item: Item) -> int:
    return len(_head(item.body)) + 1 + len(item.body)


def _head(body: bytes) -> bytes:
    return b"%s %08x %d" % (_MAGIC, zlib.crc32(body), len(body))


def _entry(file: os.DirEntry[str]) -> Entry | None:
    match = re.fullmatch(_NAME, file.name)
    if not match:
        return None
    try:
        if not file.is_file(follow_symlinks=False):
            return None
        size = file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # delivered meanwhile
        return None
    return Entry(
        path=Path(file.path),
        credential=match["credential"],
        made=int(match["made"]) / 1e9,
        signal=match["signal"],
        count=int(match["count"]),
        audit=bool(match["kept"]),
        size=size,
        damaged=match["state"] == _ASIDE,
    )


def _age(entry: Entry) -> str:
    return entry.path.name.partition("-")[2]


def _patiently(path: Path) -> Claim | None:
    for _ in range(_LOCK_TRIES):
        claim = places.claim(path, make=True)
        if claim is not None:
            return claim
        time.sleep(_LOCK_WAIT)
    return None


def _remove_left_over(folder: Path) -> None:
    """Delete what processes that were killed while writing left behind."""
    with os.scandir(folder) as files:
        for file in files:
            if file.name.startswith("."):
                with suppress(FileNotFoundError):
                    if time.time() - file.stat().st_mtime > _LEFT_OVER_SECONDS:
                        Path(file.path).unlink()


def _why(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return (text or str(error) or type(error).__name__).lower()
