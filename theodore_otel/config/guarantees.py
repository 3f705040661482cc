"""What is guaranteed for each type of destination and signal; the facts stand in guarantees.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from theodore_otel.config.base import Signal
from theodore_otel.config.destinations import AnyDestination

QUEUES = {
    "disk": "on disk",
    "passed": "on disk, until the exporter takes it",
    "none": "none",
}


@dataclass(frozen=True)
class Guarantee:
    """What holds for some signals of a type of destination."""

    signals: tuple[Signal, ...]
    queue: Literal["disk", "passed", "none"]
    down: str
    """What happens while the destination is down."""
    killed: str
    """What is lost when the collector is killed."""
    refused: str
    """What happens to what the destination refuses for good."""
    audit: Literal["strong", "weak"] | None = None
    """Whether audit and security records can be trusted to it; None where no logs go."""
    why: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the destination, and the values they have where this holds."""

    def holds_for(self, destination: AnyDestination, signal: Signal) -> bool:
        """Say whether this is about a signal of a destination."""
        return signal in self.signals and all(getattr(destination, key) == value for key, value in self.when.items())


@dataclass(frozen=True)
class Part:
    """What a part of the pipelines holds in memory."""

    part: str
    killed: str
    """What is lost with kill -9."""
    stopped: str
    """What becomes of it when the collector is stopped, or reads its configuration again."""


def guarantee(destination: AnyDestination, signal: Signal) -> Guarantee:
    """Return what is guaranteed for a signal that a destination takes."""
    return next(each for each in guarantees()[destination.type] if each.holds_for(destination, signal))


@cache
def guarantees() -> dict[str, tuple[Guarantee, ...]]:
    """Return the rows of each type of destination."""
    return {
        kind: tuple(Guarantee(**{**row, "signals": tuple(row["signals"])}) for row in rows)
        for kind, rows in _facts()["destinations"].items()
    }


def pipelines() -> list[Part]:
    """Return what the pipelines hold in memory."""
    return [Part(**row) for row in _facts()["pipelines"]]


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("guarantees.yaml").read_text(encoding="utf-8"))
    return facts
