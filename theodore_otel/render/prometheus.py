"""Render Prometheus' rules, and the tests that promtool makes of them."""

from __future__ import annotations

from typing import Any

from theodore_otel.config import alerts as built_in
from theodore_otel.config.model import Config
from theodore_otel.config.units import parse_duration
from theodore_otel.render.alert_cases import cases
from theodore_otel.render.alerts import OWN_GROUP, alerts, promql
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.templates import environment

_MEMORY = "memory"
_REMEMBERED = "1d"
"""How far back a counter's last value is looked for: so long the collector remembers it (`max_stale`)."""
_LOOKBACK = parse_duration("5m")
"""How far back Prometheus itself looks for a series' value."""


def render(config: Config, header: str) -> list[RenderedFile]:
    """Return prometheus/rules.yaml and prometheus/rules_test.yaml."""
    wanted = alerts(config)
    given = {
        "header": header,
        "groups": {**built_in.groups(), OWN_GROUP: "15s"},
        "recordings": [*_memory(), *({**record, "expr": _expr(record)} for record in built_in.recordings())],
        "budgets": _budgets(config),
        "alerts": wanted,
        "cases": cases(config, wanted),
        "promql": promql,
    }
    return [
        RenderedFile(f"prometheus/{name}", environment().get_template(f"prometheus/{name}.j2").render(given))
        for name in ("rules.yaml", "rules_test.yaml")
    ]


def _budgets(config: Config) -> dict[str, float]:
    """Return the budgets of tenants that have their own."""
    listed = config.tenants.list.items()
    return {name: tenant.budget_usd_per_hour for name, tenant in listed if tenant.budget_usd_per_hour is not None}


def _memory() -> list[dict[str, Any]]:
    """Return the recording rules that remember the last values of counters."""
    names = dict.fromkeys(record["of"].partition("{")[0] for record in built_in.recordings() if "of" in record)
    return [{"record": _remembered(name), "group": _MEMORY, "expr": name} for name in names]


def _remembered(series: str) -> str:
    """Return the series that remembers another one, with the same choice of labels."""
    name, brace, labels = series.partition("{")
    return f"theodore:{name.removeprefix('theodore_')}:last{brace}{labels}"


def _expr(record: dict[str, Any]) -> str:
    """Return what a recording rule evaluates: its own expression, or by how much its counters grew.

    That is the difference to the value before the window; all of it when there was none, or a larger one.
    """
    if "expr" in record:
        return str(record["expr"])
    series, window, memory = record["of"], record["window"], _remembered(record["of"])
    now = f"({series} or last_over_time({memory}[{window}]))" if parse_duration(window) > _LOOKBACK else series
    before = f"({series} offset {window} or last_over_time({memory}[{_REMEMBERED}] offset {window}))"
    return f"sum by ({', '.join(record['by'])}) (\n  {now}\n    - {before} >= 0\n    or {now}\n)"
