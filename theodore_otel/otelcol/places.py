"""Where the binary lies in the cache, and what the data files in `collector/` say about it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from theodore_otel import paths
from theodore_otel.otelcol import COLLECTOR_VERSION

Note = Callable[[str], None]
"""Where a line of progress goes."""

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i686": "386"}


@dataclass(frozen=True)
class Recipe:
    """What a build is made of: the folder with manifest and lock, and the tools that turn it into a binary."""

    folder: Path
    binary: str
    builder: str
    go_wheel: str

    @property
    def digest(self) -> str:
        """Return a short digest of all that decides what is in the binary."""
        names = ("manifest.yaml", "go.mod", "go.sum")
        return hashlib.sha256(b"\0".join((self.folder / name).read_bytes() for name in names)).hexdigest()[:16]

    @property
    def go_version(self) -> str:
        """Return the oldest Go that go.mod accepts, such as `1.24.0`."""
        lines = (self.folder / "go.mod").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("go "))


def recipe() -> Recipe:
    """Return the build that this version of the package stands for."""
    folder = paths.data("collector")
    said = read_yaml(folder / "build.yaml")
    return Recipe(folder, said["binary"], said["builder"], said["go_wheel"])


def read_yaml(file: Path) -> dict[str, Any]:
    """Return what one of the package's own data files says."""
    return cast("dict[str, Any]", yaml.safe_load(file.read_text()))


def platform_name() -> str:
    """Return this machine as the releases call it, such as `linux_amd64`."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_MACHINES.get(machine, machine)}"


def collectors() -> Path:
    """Return the folder in the cache with one folder per binary."""
    return paths.cache() / "collector"


def given_binary() -> Path:
    """Return where a binary that the user gave with `--from` is kept."""
    return collectors() / f"{COLLECTOR_VERSION}-given" / "otelcol"


def built_binary(made_of: Recipe) -> Path:
    """Return where the build of that recipe is kept."""
    return collectors() / f"{COLLECTOR_VERSION}-{made_of.digest}" / made_of.binary


def downloaded_binary() -> Path:
    """Return where the official release is kept."""
    return collectors() / COLLECTOR_VERSION / "otelcol-contrib"


@contextlib.contextmanager
def locked(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock on `file`; call `waiting` once when another process has it. Ends with the process."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
