"""Which writers there were: a line each, so that a trail that vanishes as a whole is missed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from theodore_otel.journal import places

FILE: Final = "writers"
_TRIES: Final = 200


def add(folder: Path, writer: str) -> None:
    """Write a writer down, durably. Raises OSError."""
    with _claimed(folder) as claimed:
        os.lseek(claimed.descriptor, 0, os.SEEK_END)
        os.write(claimed.descriptor, writer.encode("ascii") + b"\n")
        os.fsync(claimed.descriptor)


def remove(folder: Path, gone: Collection[str]) -> None:
    """Forget writers whose records are removed after their time. Raises OSError."""
    with _claimed(folder):
        left = [writer for writer in known(folder) or [] if writer not in gone]
        places.write(folder / FILE, "".join(f"{writer}\n" for writer in left).encode("ascii"), durable=True)


def known(folder: Path) -> list[str] | None:
    """Return every writer; None when there is no register."""
    try:
        lines = (folder / FILE).read_text(encoding="ascii", errors="replace").splitlines(keepends=True)
    except OSError:
        return None
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


def _claimed(folder: Path) -> places.Claim:
    for _ in range(_TRIES):
        claimed = places.claim(folder / FILE, make=True)
        if claimed is not None:
            return claimed
        time.sleep(0.005)
    raise TimeoutError(110, "another process keeps the list of writers to itself", str(folder / FILE))
