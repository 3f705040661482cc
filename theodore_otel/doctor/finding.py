"""What a check is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from theodore_otel.config.model import Config
from theodore_otel.config.source import Source

State = Literal["ok", "note", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """How one thing is."""

    state: State
    found: str
    """What was found; never a secret."""
    todo: str = ""
    """What to do about it; empty when there is nothing to do."""


@dataclass(frozen=True)
class Setup:
    """What is looked at."""

    source: Source
    file: Path | None
    """The configuration file; None for the defaults of profile local."""
    config: Config
    environment: Mapping[str, str]
    """The environment that the checks take for the collector's and for Theodore's."""

    @property
    def folder(self) -> Path:
        """Return the folder of the configuration, where rendered files are."""
        return self.file.parent if self.file else Path()

    @property
    def option(self) -> str:
        """Return what names the configuration on a command line."""
        return f" -c {self.file}" if self.file else ""


def ok(found: str) -> Finding:
    """Return that something is well."""
    return Finding("ok", found)


def note(found: str, todo: str = "") -> Finding:
    """Return something that is good to know; all is well with it."""
    return Finding("note", found, todo)


def warning(found: str, todo: str) -> Finding:
    """Return that something works, but not as it should."""
    return Finding("warning", found, todo)


def failed(found: str, todo: str) -> Finding:
    """Return that something does not work."""
    return Finding("failed", found, todo)
