"""The images of images.yaml, and the digest by which one that is out of date is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from backends.recipes import recipes as servers

from theodore_otel import __version__, paths
from theodore_otel.otelcol import places

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_MAKERS = ("debian.py", "layer.py", "make.py", "python.py")
_COPIED = ("pyproject.toml", "README.md", "LICENSE", "theodore_otel", "templates", "collector", "tests/sample_app")


@dataclass(frozen=True)
class Image:
    """One entry of images.yaml; `key` is its short name."""

    key: str
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """Return what compose calls it, with its tag."""
        return str(self.data["name"]).format(version=__version__)

    @property
    def own(self) -> bool:
        """Whether it holds this checkout, and no registry has it."""
        return "target" in self.data

    @property
    def digest(self) -> str:
        """Return a digest of all that decides what is in it, but for the versions that Debian has today."""
        parts = [f"{self.key} {self.data}".encode()]
        parts += [(HERE / name).read_bytes() for name in (*_MAKERS, *self.data.get("own_files", ()))]
        server = self.data.get("server")
        if server:
            parts.append((places.recipe().digest if server == "collector" else servers()[server].home.name).encode())
        if self.own:
            parts += [part for file in sources() for part in (str(file).encode(), (ROOT / file).read_bytes())]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def sources() -> Iterator[Path]:
    """Yield what of the checkout is in our own images, as deploy/compose/Dockerfile copies it, relative to it."""
    for name in _COPIED:
        for folder, folders, files in os.walk(ROOT / name):
            folders[:] = sorted(folder for folder in folders if folder != "__pycache__" and ".egg-info" not in folder)
            yield from (Path(folder, file).relative_to(ROOT) for file in sorted(files))
        if (ROOT / name).is_file():
            yield Path(name)


def images() -> dict[str, Image]:
    """Return every image by its short name, in the order they are made."""
    said = yaml.safe_load((HERE / "images.yaml").read_text())
    return {key: Image(key, data) for key, data in said.items()}


def cache() -> Path:
    """Return the folder of what images are made from."""
    return paths.cache() / "images"
