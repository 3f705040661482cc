"""Presets: pieces of `instrument:` for common libraries, switched on by name with `instrument.presets`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class Preset:
    """One preset."""

    name: str
    description: str
    instrument: dict[str, Any]
    """What it adds below `instrument:`, as a file would say it."""


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def preset(name: str) -> Preset:
    """Return a preset. Raises KeyError when there is none of this name."""
    if name not in preset_names():
        raise KeyError(name)
    data = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return Preset(name, data["description"], data["instrument"])


def unknown_preset(name: str) -> str:
    """Return what to say of a name that is none."""
    import difflib

    near = difflib.get_close_matches(name, preset_names(), n=1)
    return (
        f"unknown preset {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else "")
        + (f" (known: {', '.join(preset_names())})")
    )
