"""The store's folder and its two locks: one writer at a time, and nothing deleted under a reader."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from theodore_otel.errors import DownError, InputError
from theodore_otel.query.local import damage, loader, manifest, regular, upkeep
from theodore_otel.query.local.damage import Damaged
from theodore_otel.query.local.duck import is_error
from theodore_otel.query.local.loader import Loaded
from theodore_otel.query.local.manifest import Manifest

_PATIENCE = 60.0


def refresh(source: Path, store: Path, keep: timedelta | None = None, size: int | None = None) -> Loaded:
    """Load what the collector wrote, then compact and clean up; `keep` and `size` are remembered when given.

    Raises:
        DownError: when another loader does not finish within a minute.
        InputError: when the folder cannot be written or DuckDB is not installed.
    """
    try:
        for folder in (store, store / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(store / "writer.lock"):
            damaged = damage.put_aside(store)
            done = loader.load(source, store)
            damaged += _compacted(store)
            upkeep.retain(store, keep, size)
            with _no_readers(store) as alone:
                if alone:
                    loader.sweep(store)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"the local store cannot be written: {error.strerror}: {error.filename}") from error
    except OSError as error:
        raise DownError(f"the local store {store} cannot be brought up to date: {error}") from error
    return replace(done, damaged=damaged)


def mended(store: Path) -> tuple[Damaged, ...]:
    """Put aside every file that DuckDB cannot read, after a question failed.

    Raises:
        DownError: when that cannot be done.
    """
    try:
        with _locked(store / "writer.lock"):
            return damage.put_aside(store, read=True)
    except OSError as error:
        raise DownError(f"the local store {store} cannot be mended: {error}") from error


def _compacted(store: Path) -> tuple[Damaged, ...]:
    try:
        upkeep.compact(store)
    except Exception as error:
        damaged = damage.put_aside(store, read=True) if is_error(error) else ()
        if not damaged:
            raise
        return damaged  # the next load compacts what is left
    return ()


@contextmanager
def reading(store: Path) -> Iterator[Manifest]:
    """Give the store's state; none of its files is deleted meanwhile."""
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with regular.made(store / "readers.lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield manifest.read(store)


@contextmanager
def _no_readers(store: Path) -> Iterator[bool]:
    with regular.made(store / "readers.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False  # whoever loads next will sweep
        else:
            yield True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE
    with regular.made(path) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DownError(
                        f"another theodore-otel has been loading the local store for a minute ({path} is locked)"
                    ) from None
                time.sleep(0.05)
        yield
