"""Packages of Debian with all they depend on, unpacked into a folder: no root, no container, no script of a package.

apt chooses, fetches and verifies them for a machine that has none; it keeps its lists in the cache, not in the system.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from backends.build import _run as run

from images.recipes import cache
from theodore_otel.errors import DownError
from theodore_otel.otelcol import places

MERGED = ("bin", "lib", "lib64", "sbin")
"""Folders that are links to those of the same name in /usr."""
_CONFIGURATION = """\
Dir::State::lists "{0}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{0}/cache";
Debug::NoLocking "1";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
pkgCacheGen::ForceEssential ",";
"""


def tree(packages: Sequence[str], note: places.Note) -> Path:
    """Return a folder with the packages unpacked, made once; whoever wants newer packages deletes the cache.

    Raises DownError where there is no apt, or a package cannot be had.
    """
    made = cache() / f"debian-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    if not made.is_dir():
        _unpack(packages, made, note)
    return made


def _unpack(packages: Sequence[str], made: Path, note: places.Note) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise DownError("apt-get and dpkg-deb are needed, this is no Debian")
    note(f"  fetching {', '.join(packages)} and what they depend on")
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".debian-") as scratch:
        archives = _download(packages, Path(scratch), note)
        root = Path(scratch) / "root"
        for name in MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        for archive in archives:
            run(
                ["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -xf - --keep-directory-symlink', "-", archive],
                root,
                note,
            )
        run(["chmod", "-R", "u+rwX", root], root, note)
        root.rename(made)


def _download(packages: Sequence[str], folder: Path, note: places.Note) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    configuration = folder / "apt.conf"
    configuration.write_text(_CONFIGURATION.format(folder))
    environment = {**os.environ, "APT_CONFIG": str(configuration)}
    run(["apt-get", "-q", "update"], folder, note, environment)
    run(["apt-get", "-q", "--download-only", "install", *packages], folder, note, environment)
    return sorted((folder / "cache/archives").glob("*.deb"))


def applets(root: Path) -> list[str]:
    """Return the programs that busybox is, which its package leaves to the system to link."""
    listed = subprocess.run([root / "bin/busybox", "--list"], capture_output=True, text=True, check=True)
    return listed.stdout.split()
