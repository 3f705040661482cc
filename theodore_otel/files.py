"""Files that a person names: written whole or not at all, and never through a link that somebody else planted."""

from __future__ import annotations

import os
import re
import stat
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LINKS = 40
_DESCRIPTOR = re.compile(r"/proc/(self|\d+|thread-self)/fd")


@dataclass(frozen=True)
class Draft:
    """The new content of a file, on disk under a name of its own until it is put in place."""

    target: Path
    """Where it goes: what a link of the user's own leads to."""
    content: bytes
    temporary: Path | None
    """None where the target is no file to replace but a device, a pipe or an open descriptor: it is written to."""

    def commit(self) -> None:
        """Put it in place. Raises OSError when that fails."""
        if self.temporary is not None:
            self.temporary.replace(self.target)
            return
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY
        in_process = _DESCRIPTOR.fullmatch(str(self.target.parent))
        with os.fdopen(os.dup(int(self.target.name)) if in_process else os.open(self.target, flags), "wb") as file:
            file.write(self.content)

    def discard(self) -> None:
        """Remove what was not put in place."""
        if self.temporary is not None:
            with suppress(OSError):
                self.temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a text file: a regular file is replaced whole and keeps its permissions, a device or pipe is written to.

    Raises:
        OSError: when it cannot be written, or leads through another user's link; nothing has changed then.
    """
    made = draft(path, text)
    try:
        made.commit()
    finally:
        made.discard()


def draft(path: Path, text: str, mode: int | None = None) -> Draft:
    """Prepare a file without changing what is there; a new one gets `mode` when it is given. Raises as `write` does."""
    # Half a surrogate pair may stand in what somebody sent, and in no file.
    content = text.encode("utf-8", "replace")
    target = _followed(path)
    if _DESCRIPTOR.fullmatch(str(target.parent)):
        return Draft(target, content, None)
    try:
        found = target.lstat()
    except FileNotFoundError:
        found = None
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "Is a directory", str(target))
    if found is not None and not stat.S_ISREG(found.st_mode):
        _check_owner(target, found)
        return Draft(target, content, None)
    return Draft(target, content, _prepared(target, content, found, mode))


def _followed(path: Path) -> Path:
    """Return where a path leads. Only the last part is looked at: folders are the user's own affair."""
    target = path.parent.resolve() / path.name
    for _ in range(_LINKS):
        if _DESCRIPTOR.fullmatch(str(target.parent)) or not target.is_symlink():
            return target
        _check_owner(target, target.lstat())
        led = target.parent / target.readlink()
        target = led.parent.resolve() / led.name
    raise OSError(40, "Too many levels of symbolic links", str(path))


def _check_owner(path: Path, found: os.stat_result) -> None:
    """Refuse a link, pipe or device that neither this user nor the system has made."""
    if hasattr(os, "geteuid") and found.st_uid not in (0, os.geteuid()):
        raise PermissionError(13, "is another user's link or device", str(path))


def _prepared(target: Path, content: bytes, found: os.stat_result | None, mode: int | None) -> Path:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    # As readable as any new file; a file that is there and this user's keeps its permissions.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if found is not None and found.st_uid == os.fstat(descriptor).st_uid:
                mode = stat.S_IMODE(found.st_mode)
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(content)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
