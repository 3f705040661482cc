"""The manifest: which Parquet files make up the store, and how far each of the collector's files was read.

It is replaced by one rename, so new rows and the offsets they came from become true together or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from theodore_otel.errors import InputError
from theodore_otel.query.local import regular

_VERSION = 2
_READABLE = (1, 2)  # 1: before arrivals were counted
NAME = "manifest.json"


@dataclass(frozen=True)
class Increment:
    """One immutable Parquet file."""

    table: str
    day: str
    path: str
    """Relative to the store's folder."""
    rows: int
    bytes: int
    oldest: int
    """Least time in it, nanoseconds; `newest` likewise the greatest."""
    newest: int
    arrived: int = 0
    """Number of the newest load that brought a row of it."""


@dataclass(frozen=True)
class Consumed:
    """How far one of the collector's files was read, and how to know it again under another name."""

    name: str
    offset: int
    head: str
    """Digest of its first `head_size` bytes: an inode number alone is used again after a deletion."""
    head_size: int


_Entry = TypeVar("_Entry", Increment, Consumed)


@dataclass
class Manifest:
    """The store's state."""

    increments: list[Increment] = field(default_factory=list)
    consumed: dict[str, Consumed] = field(default_factory=dict)
    """By device and inode."""
    forgotten: dict[str, int] = field(default_factory=dict)
    """Table -> greatest time (ns) of what retention has deleted from it."""
    unreadable: int = 0
    """Lines and records that were no OTLP JSON, since the store began."""
    arrivals: int = 0
    """How many loads brought rows so far; each row has the number of its own in `arrived`."""
    keep: float = 7 * 86_400.0
    """Age in seconds at which files are forgotten; remembered, because not every question knows the configuration."""
    size: int = 2 * 2**30
    """Bytes above which the oldest files are forgotten."""


def read(folder: Path) -> Manifest:
    """Return the manifest of a store; an empty one when there is none yet.

    Raises:
        InputError: when it was damaged or written by a later version.
    """
    path = folder / NAME
    try:
        with regular.opened(path) as file:
            state = json.loads(file.read())
        if state["version"] not in _READABLE:
            raise InputError(
                f"{path}: version {state['version']} of the local store, this program knows {_VERSION}; "
                f"use the newer theodore-otel, or remove {folder} to start afresh"
            )
        return Manifest(
            increments=[_typed(Increment(**entry)) for entry in state["increments"]],
            consumed={key: _typed(Consumed(**entry)) for key, entry in state["consumed"].items()},
            forgotten={table: int(moment) for table, moment in state["forgotten"].items()},
            unreadable=int(state["unreadable"]),
            arrivals=int(state.get("arrivals", 0)),
            keep=float(state["keep"]),
            size=int(state["size"]),
        )
    except FileNotFoundError:
        return Manifest()
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); remove {folder} to start afresh") from error


def _typed(entry: _Entry) -> _Entry:
    """Return an entry of the file whose values are of the types that it declares."""
    for each in fields(entry):
        value = getattr(entry, each.name)
        if type(value).__name__ != each.type:
            raise TypeError(f"{each.name}: expected {each.type}, got {value!r}")
    return entry


def write(folder: Path, manifest: Manifest) -> None:
    """Make the manifest the store's state, durably."""
    draft = folder / f"{NAME}.new"
    with draft.open("w", encoding="utf-8") as file:
        json.dump({"version": _VERSION, **asdict(manifest)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    publish(draft, folder / NAME)


def publish(draft: Path, final: Path) -> None:
    """Rename a finished file to its name, so that nobody sees half of it, and make the name durable."""
    draft.replace(final)
    handle = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
