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
    """spans, logs, process or rule: the only place that reports it."""
    description: str


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric by its instrument name."""
    text = Path(__file__).with_name("metrics.yaml").read_text(encoding="utf-8")
    entries = (Metric(**{**entry, "labels": tuple(entry["labels"])}) for entry in yaml.safe_load(text))
    return {metric.name: metric for metric in entries}
