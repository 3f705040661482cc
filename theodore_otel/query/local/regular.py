"""Regular files only: opening a pipe waits for a writer, and reading a device may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """A name stands for something else than a regular file."""


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        NotRegularError: when it is something else.
        OSError: when it cannot be opened.
    """
    return _file(path, os.O_RDONLY, "rb")


def made(path: Path) -> BinaryIO:
    """Open a regular file for reading and writing, made when it is missing; raises as `opened` does."""
    return _file(path, os.O_RDWR | os.O_CREAT, "r+b")


def _file(path: Path, flags: int, mode: str) -> BinaryIO:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except IsADirectoryError:
        raise NotRegularError(22, "expected a regular file", str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(22, "expected a regular file", str(path))
    return os.fdopen(descriptor, mode)  # type: ignore[return-value]
