"""The one layer of an image: a tar whose owners and modes are what is said here, whoever makes it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from images.debian import MERGED


class Layer:
    """A tar that is being written; paths are those in the container."""

    def __init__(self, file: Path) -> None:
        self._tar = tarfile.TarFile(file, "w", format=tarfile.PAX_FORMAT)
        self._there: set[str] = set()
        self._merged = False

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def merge(self) -> None:
        """Have /bin and its like be links into /usr; to be called before all else."""
        self._merged = True
        for name in MERGED:
            self._put(self._folder(f"usr/{name}"))
            self.link(f"/{name}", f"usr/{name}")

    def tree(self, source: Path, path: str = "/", *, without: Iterable[str] = ()) -> None:
        """Add all below a folder of this machine, owned by root; `without` names folders left out."""
        left_out = {source / name for name in without}

        def place(file: Path) -> None:
            for each in sorted(file.iterdir()):
                if each in left_out:
                    continue
                self.file(each, f"{path}/{each.relative_to(source)}")
                if each.is_dir() and not each.is_symlink():
                    place(each)

        place(source)

    def file(self, source: Path, path: str) -> None:
        """Add one file, link or folder of this machine, owned by root."""
        entry = self._tar.gettarinfo(source, self._name(path))
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = int(entry.mtime)
        if entry.isreg() or entry.islnk():
            # A second hard link is a file of its own: the first may be left out.
            entry.type, entry.size = tarfile.REGTYPE, source.stat().st_size
            with source.open("rb") as content:
                self._put(entry, content)
        else:
            self._put(entry)

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(self._name(path))
        entry.size, entry.mode = len(content.encode()), mode
        self._put(entry, io.BytesIO(content.encode()))

    def folder(self, path: str, owner: str = "0:0", mode: int = 0o755) -> None:
        """Add a folder with an owner, UID:GID; a new volume mounted on it takes both."""
        entry = self._folder(self._name(path), mode)
        entry.uid, entry.gid = map(int, owner.split(":"))
        self._put(entry)

    def link(self, path: str, target: str) -> None:
        entry = tarfile.TarInfo(path.strip("/") if path.strip("/") in MERGED else self._name(path))
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        self._put(entry)

    def has(self, path: str) -> bool:
        return self._name(path) in self._there

    def _folder(self, name: str, mode: int = 0o755) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        return entry

    def _name(self, path: str) -> str:
        parts = [part for part in path.split("/") if part]
        if self._merged and parts[0] in MERGED:
            parts.insert(0, "usr")
        return "/".join(parts)

    def _put(self, entry: tarfile.TarInfo, content: io.IOBase | None = None) -> None:
        """Write it and, before it, the folders it is in; what is there already stays as it is."""
        if entry.name in self._there:
            return
        parent = entry.name.rpartition("/")[0]
        if parent and parent not in self._there:
            self._put(self._folder(parent))
        self._there.add(entry.name)
        self._tar.addfile(entry, content)
