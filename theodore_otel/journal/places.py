"""Files on disk that only their owner can open, and whose writer can be seen to live or to be gone.

A process holds an advisory lock (flock) on a file for as long as it works on it. The lock ends with the process,
however that ends, so whoever gets it knows that nobody else does. A forked child gives up what it inherited: it would
keep its parent's locks after the parent's death.
"""

from __future__ import annotations

import os
import stat
import threading
import uuid
from pathlib import Path
from typing import Final

from theodore_otel import paths

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600

_changing = threading.RLock()  # a signal handler may need it in the middle of its holder's work
_held: set[Claim] = set()


class Claim:
    """An open file that no other process can claim until this one releases it or ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Hold a descriptor that is locked already; `claim` and `create` do that."""
        self.path = path
        self.descriptor = descriptor
        self._file = identity(descriptor)

    def release(self) -> None:
        """Close the file, and with it give up the claim. A second call does nothing."""
        with _changing:
            if self in _held:
                _held.discard(self)
                self._close()

    def is_open(self) -> bool:
        """Return False where the program has closed the descriptor; its number may be another file's by now."""
        return identity(self.descriptor) == self._file

    def _close(self) -> None:
        if self.is_open():
            os.close(self.descriptor)

    def __enter__(self) -> Claim:
        """Hold the claim for the length of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give up the claim."""
        self.release()


def folder(name: str, parent: Path | None = None) -> Path:
    """Return a folder of this user's alone below `parent` (the state folder when not given), made when it is missing.

    Raises OSError when it cannot be made, and PermissionError when it is a link or another user's.
    """
    try:
        path = (parent or paths.home()) / name
    except RuntimeError as error:  # a user without a home
        raise FileNotFoundError(2, str(error)) from None
    _make(path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "expected a folder", str(path))
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise PermissionError(13, "expected a folder of this user's own", str(path))
    if found.st_mode & 0o077:
        path.chmod(_FOLDER_MODE)
    return path


def claim(path: Path, *, make: bool = False) -> Claim | None:
    """Claim an existing file for reading and writing; with `make`, one that is made when it is missing.

    Returns None when another process has it or when it is gone. Raises OSError when it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if make else 0)
    with _changing:
        try:
            descriptor = _regular(os.open(path, flags, _FILE_MODE), path)
        except FileNotFoundError:
            if make:
                raise
            return None
        if not _lock(descriptor) or not _is_at(path, descriptor):
            os.close(descriptor)
            return None
        return _hold(path, descriptor)


def opened(path: Path) -> int:
    """Return the descriptor of a regular file, open for reading; a pipe is not waited for, a link not followed.

    Raises OSError, also for what is no regular file.
    """
    return _regular(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), path)


def read(path: Path, most: int) -> bytes:
    """Return the first `most` bytes of a regular file. Raises OSError, also for what is no regular file."""
    with os.fdopen(opened(path), "rb") as stream:
        return stream.read(most)


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return which file a descriptor is of; None for a closed one."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def create(path: Path) -> Claim:
    """Make a new file, 0600, that is claimed before anybody can see it; its name must be this process's own.

    Raises FileExistsError when there is one.
    """
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with _changing:
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        try:
            _lock(descriptor)
            _rename(hidden, path)
        except BaseException:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return _hold(path, descriptor)


def write(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a whole file, 0600, that appears complete or not at all; with `durable`, it survives a power cut too.

    Raises OSError, such as when the disk is full; nothing is left behind then.
    """
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(descriptor)
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    if durable:
        settle(path.parent)


def settle(directory: Path) -> None:
    """Have the names in a folder survive a power cut, after files were made, renamed or deleted in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def _regular(descriptor: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(22, "expected a regular file", str(path))
    return descriptor


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        raise OSError(95, "this system has no file locks")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rename(source: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError(17, "exists already", str(target))
    source.rename(target)


def _is_at(path: Path, descriptor: int) -> bool:
    """Say whether the locked file is still the one at the path: its last owner may have deleted it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _hold(path: Path, descriptor: int) -> Claim:
    made = Claim(path, descriptor)
    _held.add(made)
    return made


def _before_fork() -> None:
    _changing.acquire()


def _in_parent() -> None:
    _changing.release()


def _in_child() -> None:
    global _changing
    for inherited in _held:
        inherited._close()
    _held.clear()
    _changing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
