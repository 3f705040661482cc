"""Where the binary comes from: given, cached, downloaded, built; the first that is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from theodore_otel.errors import DownError, InputError, TheodoreOtelError
from theodore_otel.otelcol import COLLECTOR_VERSION, build, places, release
from theodore_otel.otelcol.binary import check_given, version

VARIABLE = "THEODORE_OTEL_COLLECTOR"


def installed(note: places.Note) -> Path:
    """Return the binary that is there: the one THEODORE_OTEL_COLLECTOR names, else the cached one.

    Raises InputError when there is none, saying how to get one, or when the variable names something else.
    """
    if named := os.environ.get(VARIABLE):
        return check_given(Path(named), VARIABLE, note)
    if cached := cached_binary():
        return cached
    raise InputError(
        f"there is no collector on this machine: run `theodore-otel collector install`, or name one in {VARIABLE}"
    )


def cached_binary() -> Path | None:
    """Return the cached binary: the one given with `--from`, else our own build, else the official release."""
    candidates = (
        places.given_binary(),
        places.built_binary(places.recipe()),
        places.downloaded_binary(),
    )
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def install(
    note: places.Note,
    *,
    given: Path | None = None,
    base_url: str | None = None,
    only_build: bool = False,
    limit: float = release.ANSWER_LIMIT,
) -> Path:
    """Return a collector, getting one when there is none: see the order in this module's first line.

    `given` is copied into the cache. `only_build` passes over everything but our own build. `limit`: seconds a
    download server may stay silent. Raises InputError for a bad `given`, DownError with all that was tried.
    """
    if given:
        return _keep(check_given(given, "--from", note))
    if not only_build and (os.environ.get(VARIABLE) or cached_binary()):
        return installed(note)
    wanted = release.release(base_url)
    with places.locked(places.collectors() / "lock", lambda: note("waiting for another install to end")):
        # Whoever held the lock may have put it there.
        if cached := _built() if only_build else cached_binary():
            return cached
        _sweep()
        return _get(wanted, note, only_build, limit)


def _sweep() -> None:
    """Remove what an install that was killed left behind; only the holder of the lock may do that."""
    for pattern in ("*/.download-*", "*/.build-*"):
        for left in places.collectors().glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def _built() -> Path | None:
    path = places.built_binary(places.recipe())
    return path if os.access(path, os.X_OK) else None


def _get(wanted: release.Release, note: places.Note, only_build: bool, limit: float) -> Path:
    def downloaded() -> Path:
        target = places.downloaded_binary()
        release.download(wanted, target, note, limit=limit)
        return target

    def built() -> Path:
        made_of = places.recipe()
        target = places.built_binary(made_of)
        build.build(made_of, target, note)
        return target

    ways: dict[str, Callable[[], Path]] = {"download": downloaded, "build": built}
    failed = []
    for way in ("build",) if only_build else ("download", "build"):
        try:
            return _runnable(ways[way]())
        except TheodoreOtelError as error:
            note(f"{way}: {error}")
            failed.append(f"{way}: {error}")
    tried = "\n- ".join(failed)
    raise DownError(
        f"collector {COLLECTOR_VERSION} could not be installed. Tried:\n- {tried}\n"
        "Give one you have with `theodore-otel collector install --from PATH`."
    )


def _runnable(binary: Path) -> Path:
    """Return the binary if it runs on this machine; a useless one is not left in the cache."""
    try:
        version(binary)
    except TheodoreOtelError:
        binary.unlink()
        raise
    return binary


def _keep(binary: Path) -> Path:
    target = places.given_binary()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        shutil.copyfile(binary, scratch)
        scratch.chmod(0o755)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target
