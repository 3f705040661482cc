"""Read a bbolt file, in which the collector keeps a queue, without changing it: its pages, and what they hold.

https://github.com/etcd-io/bbolt: a file of pages. The first two are heads, of which the valid one with the higher
transaction counts; it names the root of a tree of branch and leaf pages. There are checksums for the heads alone.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF = 0x01, 0x02
_BUCKET = 0x01
_PAGE = struct.Struct("<QHHI")  # id, kind, elements, further pages
_HEAD = struct.Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root, sequence, free list, pages, transaction
_IN_BRANCH = struct.Struct("<IIQ")  # where the key begins, its length, page
_IN_LEAF = struct.Struct("<IIII")  # flags, where the key begins, lengths of key and value
_IN_BUCKET = struct.Struct("<QQ")  # root page, sequence
_LEAST_PAGE, _MOST_PAGE = 1 << 10, 1 << 24


class DamagedError(Exception):
    """The file is no whole bbolt file; the message says what is wrong with it."""


@dataclass(frozen=True)
class Head:
    """What a head page says."""

    page_size: int
    root: int
    pages: int
    transaction: int


class Reader:
    """The pairs of keys and values in the one bucket that the collector uses."""

    BUCKET = b"default"

    def __init__(self, content: bytes | mmap.mmap) -> None:
        """Take a file's content. Raises DamagedError when it has no whole head, or is cut."""
        self._content = content
        self._seen: set[int] = set()
        self.head = _head(content)
        if self.head.pages * self.head.page_size > len(content):
            raise DamagedError(
                f"it is cut: {len(content):,} bytes, and {self.head.pages * self.head.page_size:,} are in use"
            )

    def pairs(self) -> Iterator[tuple[bytes, memoryview]]:
        """Yield every key and value in the order of keys. Raises DamagedError where a page is not what it should be."""
        self._seen = set()
        for flags, key, value in self._tree(self.head.root):
            if flags & _BUCKET and key == self.BUCKET:
                yield from self._bucket(value)

    def _bucket(self, value: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        if len(value) < _IN_BUCKET.size:
            raise DamagedError("its bucket has no root")
        root, _ = _IN_BUCKET.unpack_from(value)
        # A small bucket's only page is inside the value.
        found = self._tree(root) if root else self._leaf(0, value[_IN_BUCKET.size :])
        last = b""
        for _, key, content in found:
            if key <= last:
                raise DamagedError(f"its keys are out of order at {key!r}")
            last = key
            yield key, content

    def _tree(self, page: int) -> Iterator[tuple[int, bytes, memoryview]]:
        kind, content = self._page(page)
        if kind == _LEAF:
            yield from self._leaf(page, content)
            return
        _, _, count, _ = _PAGE.unpack_from(content)
        if not count:
            raise DamagedError(f"page {page} leads nowhere")
        for number in range(count):
            place = _PAGE.size + number * _IN_BRANCH.size
            if place + _IN_BRANCH.size > len(content):
                raise DamagedError(f"page {page} holds less than it says")
            yield from self._tree(_IN_BRANCH.unpack_from(content, place)[2])

    def _page(self, page: int) -> tuple[int, memoryview]:
        size = self.head.page_size
        if not 2 <= page < self.head.pages:
            raise DamagedError(f"page {page} is outside of the file's {self.head.pages}")
        said, kind, _, more = _PAGE.unpack_from(self._content, page * size)
        if said != page or kind not in (_BRANCH, _LEAF) or page + more >= self.head.pages:
            raise DamagedError(f"page {page} is destroyed")
        if not self._seen.isdisjoint(range(page, page + more + 1)):
            raise DamagedError(f"page {page} is used twice")
        self._seen.update(range(page, page + more + 1))
        return kind, memoryview(self._content)[page * size : (page + more + 1) * size]

    def _leaf(self, page: int, content: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
        if len(content) < _PAGE.size:
            raise DamagedError("its bucket is cut")
        _, kind, count, _ = _PAGE.unpack_from(content)
        if kind != _LEAF:
            raise DamagedError(f"page {page} is destroyed")
        for number in range(count):
            place = _PAGE.size + number * _IN_LEAF.size
            if place + _IN_LEAF.size > len(content):
                raise DamagedError(f"page {page} holds less than it says")
            flags, begin, key, value = _IN_LEAF.unpack_from(content, place)
            start, end = place + begin, place + begin + key
            if end + value > len(content):
                raise DamagedError(f"page {page} holds less than it says")
            yield flags, bytes(content[start:end]), content[end : end + value]


def opened(file: Path) -> Reader:
    """Return a reader of a file. Raises OSError when it cannot be read, DamagedError when it has no head."""
    with file.open("rb") as handle:
        if not file.stat().st_size:
            raise DamagedError("it is empty")
        return Reader(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


def _head(content: bytes | mmap.mmap) -> Head:
    places = [0, *(_LEAST_PAGE << shift for shift in range(15))]
    found = [head for place in places if (head := _head_at(content, place))]
    if not found:
        raise DamagedError("both of its head pages are destroyed")
    return max(found, key=lambda head: head.transaction)


def _head_at(content: bytes | mmap.mmap, place: int) -> Head | None:
    start = place + _PAGE.size
    end = start + _HEAD.size
    if end + 8 > len(content):
        return None
    magic, version, size, _, root, _, _, pages, transaction = _HEAD.unpack_from(content, start)
    if (magic, version) != (_MAGIC, _VERSION) or place not in (0, size) or not _LEAST_PAGE <= size <= _MOST_PAGE:
        return None
    (said,) = struct.unpack_from("<Q", content, end)
    return Head(size, root, pages, transaction) if said == _fnv(content[start:end]) else None


def _fnv(content: bytes) -> int:
    """Return the 64-bit FNV-1a hash."""
    result = 0xCBF29CE484222325
    for byte in content:
        result = (result ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return result
