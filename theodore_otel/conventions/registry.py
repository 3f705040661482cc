"""The full entries of the registry: type, unit, labels, source and the name Prometheus shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Metric:
    """One metric of the registry."""

    name: str
    """Instrument name, such as `theodore.ai.tokens`."""
    type: str
    """counter, updowncounter, gauge or histogram."""
    unit: str
    """UCUM unit; curly units vanish on the way to Prometheus."""
    prometheus: str
    """The name in Prometheus; a histogram's series add `_bucket`, `_sum` and `_count`."""
    labels: tuple[str, ...]
    """Labels besides `tenant` and `service`."""
    source: str
    """spans, logs, checks, process or rule: the only place that reports it."""
    description: str
    together: str = "mean"
    """What several series of a gauge are as one: mean, min or max."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of the registry."""

    name: str
    constant: str
    """Its name in `theodore_otel.conventions`."""
    level: str
    """resource, record (spans and log records), span or log."""
    type: str
    """string, int, double or bool."""
    description: str


@cache
def attributes() -> dict[str, Attribute]:
    """Return every attribute by its name."""
    text = Path(__file__).with_name("attributes.yaml").read_text(encoding="utf-8")
    return {entry["name"]: Attribute(**entry) for entry in yaml.safe_load(text)}


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric by its instrument name."""
    text = Path(__file__).with_name("metrics.yaml").read_text(encoding="utf-8")
    entries = (Metric(**{**entry, "labels": tuple(entry["labels"])}) for entry in yaml.safe_load(text))
    return {metric.name: metric for metric in entries}
