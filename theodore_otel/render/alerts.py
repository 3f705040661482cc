"""The alerts that a configuration asks for: the built-in rules with what differs from them, and own ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from theodore_otel.config import alerts as built_in
from theodore_otel.config.alerting import Alerting, AlertRule, Escalation
from theodore_otel.config.model import Config
from theodore_otel.config.units import parse_duration

OWN_GROUP = "own"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_STEPS = 30
_ESCALATION_CASES = {"escalates": "fires", "recovers": "silent"}


@dataclass(frozen=True)
class Alert:
    """One alert as Prometheus evaluates it and Alertmanager sends it."""

    rule: str
    """Name of its rule in the configuration, such as `high_error_rate`."""
    name: str
    """Its alertname, such as `HighErrorRate`."""
    group: str
    expr: str
    hold: timedelta | None
    """How long the expression must hold."""
    keep_firing_for: timedelta
    severity: str
    channels: tuple[str, ...] | None
    """Names and types of channels, as written; None for the default ones."""
    cooldown: timedelta
    annotations: dict[str, str]
    inhibits: bool
    """Whether it silences lesser alerts of the same tenant and service when it is critical."""
    threshold: float | None
    cases: dict[str, Any]
    """Cases of its promtool tests by name; empty for an own rule."""


def alerts(config: Config) -> list[Alert]:
    """Return every alert that is enabled, an escalation right behind the alert it belongs to."""
    found: list[Alert] = []
    for name in [*built_in.alerts(), *(own for own in config.alerting.rules if own not in built_in.alerts())]:
        differs = config.alerting.rules.get(name, AlertRule())
        if differs.enabled:
            data = built_in.alerts().get(name) or _own(differs)
            found.append(_alert(config, name, data, differs))
            escalation = _escalation(data, differs)
            if escalation and escalation.enabled:
                found.append(_escalated(found[-1], escalation, data.get("cases", {})))
    return found


def unanswered(config: Config) -> list[str]:
    """Return a line for each rule that names types of which no channel is configured; none where nobody wants any."""
    if config.alerting == Alerting():
        return []
    return [
        f"alerting.rules.{alert.rule}: {alert.name} goes to {' and '.join(missing)}, "
        f"but no such channel is configured{_instead(config.alerting, alert)}"
        for alert in alerts(config)
        if (missing := config.alerting.missing(alert.channels or ()))
    ]


def recipients(alerting: Alerting, alert: Alert) -> list[str]:
    """Return the channels that are told of an alert: its own, or the default ones where none of these is there."""
    own = alerting.called(alert.channels or ())
    return own if own or alert.channels == () else alerting.everybody()


def filled(text: str, values: dict[str, str]) -> str:
    """Return a text of alerts.yaml or of an own rule with its `${...}` replaced."""
    return _VARIABLE.sub(lambda match: values[match[1]], text)


def number(value: float) -> str:
    """Write a number as PromQL reads it."""
    return str(int(value)) if value == int(value) else repr(value)


def shared_values(config: Config) -> dict[str, str]:
    """Return what expressions and cases can name besides the rule's threshold."""
    return {"memory": str(config.collector.memory)}


def _alert(config: Config, name: str, data: dict[str, Any], differs: AlertRule) -> Alert:
    threshold = _threshold(config, data, differs)
    values = shared_values(config)
    if threshold is not None:
        values |= {"threshold": number(threshold), "percent": number(round(threshold * 100, 6))}
    cooldown = differs.cooldown or parse_duration(data["cooldown"])
    texts = {key: data[key] for key in ("summary", "description", "runbook_url") if data.get(key)}
    if name in built_in.alerts():
        texts["runbook_url"] = f"{config.alerting.runbooks}#{name}"
    return Alert(
        rule=name,
        name="".join(word.capitalize() for word in name.split("_")),
        group=data["group"],
        expr=filled(data["expr"], values).strip(),
        hold=parse_duration(data["for"]) if data.get("for") else None,
        keep_firing_for=parse_duration(data["keep_firing_for"]) if data.get("keep_firing_for") else cooldown,
        severity=differs.severity or data["severity"],
        channels=_channels(data["channels"] if differs.channels is None else differs.channels),
        cooldown=cooldown,
        annotations={key: filled(text, values) for key, text in texts.items()},
        inhibits=data.get("inhibits", True),
        threshold=threshold,
        cases={key: case for key, case in data.get("cases", {}).items() if key not in _ESCALATION_CASES},
    )


def _channels(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _own(rule: AlertRule) -> dict[str, Any]:
    defaults = {
        "group": OWN_GROUP,
        "severity": "medium",
        "channels": None,
        "cooldown": "15m",
        "summary": "{{ $labels }}",
    }
    return defaults | rule.model_dump(by_alias=True, exclude_none=True)


def _threshold(config: Config, data: dict[str, Any], differs: AlertRule) -> float | None:
    if differs.threshold is not None:
        return differs.threshold
    given = data.get("threshold")
    return config.tenants.defaults.budget_usd_per_hour if given == "budget" else given


def _escalation(data: dict[str, Any], differs: AlertRule) -> Escalation | None:
    own = differs.escalation.model_dump(exclude_unset=True) if differs.escalation else {}
    said = (data.get("escalation") or {}) | own
    return Escalation.model_validate(said) if said or differs.escalation else None


def _escalated(alert: Alert, escalation: Escalation, cases: dict[str, Any]) -> Alert:
    """Return the second alert: the first has been firing all the time, and not only because it is kept firing."""
    step = escalation.after / _STEPS
    window = f"[{promql(escalation.after)}:{promql(step)}]"
    firing = f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'
    return Alert(
        rule=alert.rule,
        name=f"{alert.name}Escalated",
        group=alert.group,
        expr=f"({alert.expr})\n  and ignoring (alertname, alertstate, severity)\n"
        f"    count_over_time({firing}{window}) >= {_STEPS}",
        hold=None,
        keep_firing_for=alert.keep_firing_for,
        severity=escalation.severity,
        channels=alert.channels if escalation.channels is None else tuple(escalation.channels),
        cooldown=alert.cooldown,
        annotations={
            **alert.annotations,
            "summary": f"For {promql(escalation.after)}: {alert.annotations['summary']}",
        },
        inhibits=alert.inhibits,
        threshold=alert.threshold,
        cases=_escalation_cases(cases, escalation),
    )


def _escalation_cases(cases: dict[str, Any], escalation: Escalation) -> dict[str, Any]:
    """Return its cases, a while after it has to fire: when it went on, and when it ended but is kept firing."""
    at = promql(escalation.after + timedelta(minutes=5))
    bad_minutes = max(1, round(escalation.after / timedelta(minutes=1)) - 10)
    return {
        name: {**cases[case], "at": at, "values": {"bad_minutes": str(bad_minutes)}}
        for case, name in _ESCALATION_CASES.items()
        if case in cases
    }


def promql(value: timedelta) -> str:
    """Write a duration as Prometheus and Alertmanager read it, in the largest unit that holds it whole."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _instead(alerting: Alerting, alert: Alert) -> str:
    told = recipients(alerting, alert)
    return f": {', '.join(told)} is told instead" if told and not alerting.called(alert.channels or ()) else ""
