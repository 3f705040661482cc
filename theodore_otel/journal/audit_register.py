"""Which writers there were, so that a trail that vanishes as a whole is missed.

The first line says how many lines follow and what the last one's seal is; each line is sealed together with the seal
before it. None can be taken out, put in or moved without the key. Lines of the version before, which are writers'
names and nothing else, are taken over, and marked as such.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from theodore_otel.journal import places
from theodore_otel.journal.audit_keys import Key, Keyring, Keys
from theodore_otel.journal.audit_record import GENESIS, encode, seal
from theodore_otel.journal.audit_trail import parse, whole_number

FILE: Final = "writers"
_HEAD_BYTES: Final = 256
_LONGEST_LINE: Final = 4096
_TAIL_BYTES: Final = 64 * 1024
_MOST_WRONG: Final = 100
_TRIES: Final = 200
_NAME: Final = re.compile(rb"[0-9a-f]{32}")


@dataclass
class Register:
    """What the list says."""

    exists: bool = False
    signed: bool = False
    """Whether it has the first line that the version before lacks."""
    writers: dict[str, bool] = field(default_factory=dict)
    """Every writer, and whether it has written itself down."""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """Kind and text of what is wrong with the list."""


def add(folder: Path, writer: str, keys: Keys) -> None:
    """Write a writer down, durably. Raises OSError."""
    key = keys.current()
    with _claimed(folder) as claimed:
        descriptor = claimed.descriptor
        head = _head_of(os.pread(descriptor, _HEAD_BYTES, 0))
        if head is None:  # it is new, or of the version before
            taken_over = [(name, False) for name in _read(folder, Keyring(())).writers]
            _write(folder, [*taken_over, (writer, True)], key)
            return
        keyring = Keyring(keys.all())
        end = os.fstat(descriptor).st_size
        chain = _Chain(keyring, whole_number(head.get("writers")), str(head.get("last")))
        at = whole_number(head.get("size"))
        tail = os.pread(descriptor, _TAIL_BYTES, at) if at <= end else b""
        for line in tail.splitlines():  # of processes that were killed between their line and the head
            chain.follow(line)
        doubt = {"before": head} if keyring.sealed(head) else {}
        line, last = _line(key, chain.last, {"writer": writer, **doubt})
        line = b"\n" * (bool(tail) and not tail.endswith(b"\n")) + line
        try:
            _write_at(descriptor, line, end)
            _write_at(descriptor, _head(key, chain.count + 1, last, end + len(line)), 0)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise


def remove(folder: Path, gone: Collection[str], keys: Sequence[Key]) -> bool:
    """Forget writers whose records are removed after their time. Raises OSError.

    Returns False where the list is not what was written: nothing is forgotten then.
    """
    with _claimed(folder):
        found = _read(folder, Keyring(keys))
        if found.wrong:
            return False
        _write(folder, [each for each in found.writers.items() if each[0] not in gone], keys[0])
    return True


def read(folder: Path, keys: Keyring) -> Register:
    """Return what the list says and what is wrong with it; a process may be adding to it."""
    found = _read(folder, keys)
    for _ in range(2):
        if not found.wrong:
            break
        time.sleep(0.02)
        found = _read(folder, keys)
    return found


class _Chain:
    """Follows the lines."""

    def __init__(self, keys: Keyring, count: int = 0, last: str = GENESIS) -> None:
        self._keys = keys
        self.count = count
        self.last = last

    def follow(self, line: bytes) -> tuple[str, bool] | str:
        """Return the writer of a line and whether it has written itself down, or what is wrong with the line."""
        if _NAME.fullmatch(line):
            return line.decode(), False
        fields = parse(line)
        wrong = self._keys.sealed(fields, previous=self.last)
        if wrong:
            if wrong == "unknown key":  # what stands behind it may be judged
                self.count, self.last = self.count + 1, str(fields.get("seal"))
            return wrong
        before = fields.get("before")
        if before is not None:
            known = isinstance(before, dict) and before.get("last") == self.last and before.get("writers") == self.count
            wrong = self._keys.sealed(before) if known else "changed"
        self.count, self.last = self.count + 1, str(fields["seal"])
        return wrong or (str(fields.get("writer")), not fields.get("adopted"))


def _read(folder: Path, keys: Keyring) -> Register:
    try:
        with os.fdopen(places.opened(folder / FILE), "rb") as stream:
            return _follow(stream, keys)
    except FileNotFoundError:
        return Register()
    except OSError as error:
        return Register(True, wrong=[("unreadable", str(error.strerror).lower())])


def _follow(stream: IO[bytes], keys: Keyring) -> Register:
    found = Register(True)
    chain = _Chain(keys)
    first = stream.read(_HEAD_BYTES)
    head = _head_of(first)
    found.signed = head is not None
    if head is None:
        stream.seek(0)
    elif wrong := keys.sealed(head):
        found.wrong.append((wrong, "its first line"))
    wanted, last = (whole_number(head.get("writers")), head.get("last")) if head else (0, GENESIS)
    reached = wanted == 0 and last == GENESIS
    for line in _lines(stream):
        said = chain.follow(line.removesuffix(b"\n"))
        if isinstance(said, str):
            found.wrong.append((said, f"the line behind {chain.count} others"))
        else:
            found.writers[said[0]] = said[1] or found.writers.get(said[0], False)
        if len(found.wrong) > _MOST_WRONG:
            break
        reached = reached or (chain.count == wanted and chain.last == last)
    if head and not reached and not found.wrong:
        found.wrong.append(("gap", f"it ends before the last of {wanted} lines"))
    return found


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(_LONGEST_LINE):
        yield line


def _write(folder: Path, writers: Iterable[tuple[str, bool]], key: Key) -> None:
    lines, last, size = [], GENESIS, _HEAD_BYTES
    for writer, itself in writers:
        line, last = _line(key, last, {"writer": writer} if itself else {"writer": writer, "adopted": True})
        lines.append(line)
        size += len(line)
    content = _head(key, len(lines), last, size) + b"".join(lines)
    places.write(folder / FILE, content, durable=True)


def _head(key: Key, count: int, last: str, size: int) -> bytes:
    return encode(key.signed({"writers": count, "last": last, "size": size})).ljust(_HEAD_BYTES - 1) + b"\n"


def _head_of(content: bytes) -> dict[str, Any] | None:
    found = parse(content) if len(content) == _HEAD_BYTES else {}
    return found if "writers" in found else None


def _line(key: Key, last: str, fields: dict[str, Any]) -> tuple[bytes, str]:
    """Return a line and its seal, which covers the seal before it."""
    sealed = seal({**fields, "keyid": key.id, "previous": last}, key.secret)
    return encode({**fields, "keyid": key.id, "seal": sealed}) + b"\n", sealed


def _write_at(descriptor: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, at)
        content, at = content[written:], at + written
    os.fsync(descriptor)


def _claimed(folder: Path) -> places.Claim:
    for _ in range(_TRIES):
        claimed = places.claim(folder / FILE, make=True)
        if claimed is not None:
            return claimed
        time.sleep(0.005)
    raise TimeoutError(110, "another process keeps the list of writers to itself", str(folder / FILE))
