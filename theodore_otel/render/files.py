"""Rendered files on disk: write them whole or not at all, and tell where they differ from what is there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from theodore_otel.errors import InputError
from theodore_otel.files import Draft, draft


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
    prepared: list[Draft] = []
    try:
        for file in changed:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Readable by the servers that run as other users.
            prepared.append(draft(target, file.text, 0o644))
        for each in prepared:
            each.commit()
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    finally:
        for each in prepared:
            each.discard()
    return changed


def _current(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, UnicodeDecodeError):
        return None
