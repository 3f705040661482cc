"""The recipes of recipes.yaml, and where in the cache what they make is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from theodore_otel import paths

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """How one server is made; `data` is its entry of recipes.yaml."""

    name: str
    data: dict[str, Any]

    @property
    def lock(self) -> Path:
        """Return the folder with what fixes every version: go.mod and go.sum, or pom.xml and jars.sha256."""
        return _HERE / self.name

    @property
    def home(self) -> Path:
        """Return the folder in the cache that holds it once it is made."""
        return cache() / f"{self.name}-{self.data['version']}-{self._digest()}"

    def _digest(self) -> str:
        parts = [yaml.safe_dump(self.data).encode()]
        parts += [file.read_bytes() for file in sorted(self.lock.iterdir()) if file.is_file()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def cache() -> Path:
    """Return the folder of the cache with one folder per server."""
    return paths.cache() / "backends"


def recipes() -> dict[str, Recipe]:
    """Return every recipe by name, in the order they are built."""
    said = yaml.safe_load((_HERE / "recipes.yaml").read_text())
    return {name: Recipe(name, data) for name, data in said.items()}
