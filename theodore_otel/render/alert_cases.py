"""The cases of promtool's tests, with numbers that fit the thresholds of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from theodore_otel.config import alerts as built_in
from theodore_otel.config.model import Config
from theodore_otel.render.alerts import Alert, filled, number

_PARTS = 1000


@dataclass(frozen=True)
class Case:
    """One test of promtool: what a query answers after series have come in."""

    name: str
    interval: str
    """Time between two samples of a series."""
    series: dict[str, str]
    at: str
    expr: str
    samples: dict[str, float]
    """Value by series; empty when nothing may come."""


def cases(config: Config, wanted: Sequence[Alert]) -> list[Case]:
    """Return the cases of what is recorded and of every alert."""
    found = [
        Case(f"{record['record']} {index}", "1m", case["series"], case["at"], record["record"], _named(record, case))
        for record in built_in.recordings()
        for index, case in enumerate(record.get("cases", []), 1)
    ]
    for alert in wanted:
        values = _values(config, alert)
        found += [_of_alert(alert, name, case, values | case.get("values", {})) for name, case in alert.cases.items()]
    return found


def _named(record: dict[str, Any], case: dict[str, Any]) -> dict[str, float]:
    return {f"{record['record']}{labels}": value for labels, value in case["samples"].items()}


def _of_alert(alert: Alert, name: str, case: dict[str, Any], values: dict[str, str]) -> Case:
    expected = {}
    if "labels" in case:
        labels = {**case["labels"], "alertname": alert.name, "alertstate": "firing", "severity": alert.severity}
        written = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        expected = {f"ALERTS{{{written}}}": 1.0}
    return Case(
        name=f"{alert.name} {name}",
        interval=case.get("interval", "1m"),
        series={series: filled(str(points), values) for series, points in case["series"].items()},
        at=case["at"],
        expr=f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}',
        samples=expected,
    )


def _values(config: Config, alert: Alert) -> dict[str, str]:
    """Return numbers on both sides of the alert's threshold."""
    if alert.threshold is None:
        return {}
    if built_in.alerts().get(alert.rule, {}).get("ratio"):
        above, below = _PARTS * (1 + alert.threshold) / 2, _PARTS * alert.threshold / 2
    else:
        above, below = alert.threshold * 2 + 1, alert.threshold / 2
    memory = config.collector.memory / _PARTS
    return {
        "above": number(above),
        "below": number(below),
        "above_rest": number(_PARTS - above),
        "below_rest": number(_PARTS - below),
        "memory_above": number(round(memory * above)),
        "memory_below": number(round(memory * below)),
    }
