"""Rendered files on disk: write them whole or not at all, and tell where they differ from what is there."""

from __future__ import annotations

import contextlib
import difflib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from theodore_otel.errors import InputError


@dataclass(frozen=True)
class RenderedFile:
    """One file as it should be."""

    path: str
    """Path below the output folder."""
    text: str
    """Its whole content."""


def stale(files: Sequence[RenderedFile], folder: Path) -> list[RenderedFile]:
    """Return the files that are missing below the folder or differ from it."""
    return [file for file in files if _current(folder / file.path) != file.text]


def diff(files: Sequence[RenderedFile], folder: Path) -> str:
    """Return a unified diff from what is on disk to what would be written; empty when nothing changes."""
    parts: list[str] = []
    for file in stale(files, folder):
        before = (_current(folder / file.path) or "").splitlines(keepends=True)
        name = str(folder / file.path)
        parts += difflib.unified_diff(before, file.text.splitlines(keepends=True), name, f"{name} (rendered)")
    return "".join(parts)


def write(files: Sequence[RenderedFile], folder: Path) -> list[RenderedFile]:
    """Write what differs and return it. All new content is on disk before the first file is replaced.

    Raises:
        InputError: when the folder cannot be written; nothing has changed then.
    """
    changed = stale(files, folder)
    prepared: list[tuple[Path, Path]] = []
    try:
        for file in changed:
            prepared.append((_prepare(folder / file.path, file.text), folder / file.path))
        for temporary, target in prepared:
            temporary.replace(target)
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    finally:
        for temporary, _ in prepared:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return changed


def _prepare(target: Path, text: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(target))
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary = Path(name)
    temporary.chmod(0o644)
    return temporary


def _current(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
