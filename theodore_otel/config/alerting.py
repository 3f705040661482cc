"""Alert rules and who is told of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from theodore_otel.config import alerts
from theodore_otel.config.base import Name, Section, Url
from theodore_otel.config.channels import TYPES, Channel, secrets
from theodore_otel.config.units import Duration

Severity = Literal["low", "medium", "high", "critical"]
RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*$")]
Cooldown = Annotated[Duration, Field(gt=timedelta(0))]
_OWN_ONLY = {"expr", "hold", "keep_firing_for", "summary", "description", "runbook_url"}
_RESERVED = "_escalated"
_VARIABLES = {"expr": ["threshold"], "summary": ["threshold", "percent"], "description": ["threshold", "percent"]}
"""What ${...} may name in the texts of an own rule."""


class Escalation(Section):
    """A second alert, when the first one has been firing for long and its condition still holds."""

    enabled: bool = Field(True, description="false leaves out the escalation of a built-in rule.")
    after: Cooldown = Field("30m", validate_default=True, description="How long the alert has to be firing.")
    severity: Severity = Field("critical", description="Severity of the second alert.")
    channels: list[Name] | None = Field(
        None, description="Channels that are told then, by name or type; those of the rule when left out."
    )


class AlertRule(Section):
    """What differs from a built-in alert rule, or a rule of your own (one with `expr`)."""

    enabled: bool = Field(True, description="false leaves the rule out.")
    threshold: float | None = Field(None, ge=0, description="The rule's threshold; ${threshold} in `expr`.")
    severity: Severity | None = Field(None, description="Severity; medium for an own rule that says none.")
    channels: list[Name] | None = Field(
        None,
        description="Channels that are told: names of alerting.channels, or types that stand for all of a type; "
        "the default ones for an own rule that says none.",
    )
    cooldown: Cooldown | None = Field(
        None, description="Least time between two messages; 15m for an own rule that says none."
    )
    escalation: Escalation | None = Field(None, description="A second alert when it goes on.")
    expr: str | None = Field(None, min_length=1, description="PromQL of an own rule; it alerts on every series.")
    hold: Duration | None = Field(None, alias="for", description="How long `expr` must hold before it alerts.")
    keep_firing_for: Duration | None = Field(
        None, description="How long an own rule goes on when `expr` no longer holds; the cooldown when empty."
    )
    summary: str | None = Field(None, min_length=1, description="One line for people; may use {{ $labels.tenant }}.")
    description: str | None = Field(None, min_length=1, description="More of it; may use {{ $value }} as well.")
    runbook_url: Url | None = Field(None, description="Page that says what to do.")


class Alerting(Section):
    """Alert rules and channels."""

    channels: dict[Name, Channel] = Field({}, description="Who can be told, by a name of your choice.")
    default_channels: list[Name] = Field(
        [], description="Channels for rules whose own are not configured; all but the watchdog's when empty."
    )
    runbooks: Url = Field(
        "https://github.com/theodore-otel/theodore-otel/blob/main/docs/alerting.md",
        description="Page with a heading for each built-in rule.",
    )
    rules: dict[RuleName, AlertRule] = Field({}, description="What differs from the built-in rules, and own rules.")

    @model_validator(mode="after")
    def _rules_can_be_made(self) -> Self:
        for name, rule in self.rules.items():
            if built_in := alerts.alerts().get(name):
                _check_built_in(name, rule, ratio=built_in.get("ratio", False))
            else:
                _check_own(name, rule)
        return self

    @model_validator(mode="after")
    def _channels_exist(self) -> Self:
        self._check_channels("alerting.default_channels", self.default_channels)
        for name, rule in self.rules.items():
            self._check_channels(f"alerting.rules.{name}.channels", rule.channels or ())
            if rule.escalation:
                self._check_channels(f"alerting.rules.{name}.escalation.channels", rule.escalation.channels or ())
        return self

    def _check_channels(self, where: str, names: Iterable[str]) -> None:
        known = list(dict.fromkeys([*self.channels, *TYPES]))
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{where}: expected names of alerting.channels or types ({', '.join(known)}), "
                    f"got {name!r}{_near(name, known) or _defined(name)}"
                )

    def secret_names(self) -> list[str]:
        """Return the environment variables that channels' secrets stand in, each once."""
        found = (secret.env for channel in self.channels.values() for secret in secrets(channel))
        return list(dict.fromkeys(name for name in found if name))

    def called(self, names: Iterable[str]) -> list[str]:
        """Return the channels that names and types stand for."""
        return list(dict.fromkeys(channel for name in names for channel in self._called(name)))

    def everybody(self) -> list[str]:
        """Return the channels that are told where a rule's own are not configured."""
        return self.called(self.default_channels) or [name for name in self.channels if name not in self._watching]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the types of which no channel is configured."""
        return [name for name in names if not self._called(name)]

    def _called(self, name: str) -> list[str]:
        if name in self.channels:
            return [name]
        return [each for each, channel in self.channels.items() if channel.type == name and each not in self._watching]

    @property
    def _watching(self) -> list[str]:
        """Return the channels that the watchdog names: what else came there would be no sign of life."""
        return self.rules.get("watchdog", AlertRule()).channels or []


def _check_built_in(name: str, rule: AlertRule, *, ratio: bool) -> None:
    where = f"alerting.rules.{name}"
    for field in sorted(_OWN_ONLY & rule.model_fields_set):
        key = AlertRule.model_fields[field].alias or field
        raise ValueError(f"{where}.{key}: this rule is built in, and `{key}` is for own ones: give yours another name")
    if rule.threshold is not None and "threshold" not in alerts.alerts()[name]:
        raise ValueError(f"{where}.threshold: this rule has none, got {rule.threshold:g}")
    if ratio and rule.threshold is not None and rule.threshold >= 1:
        raise ValueError(f"{where}.threshold: expected a share from 0 to below 1, got {rule.threshold:g}")


def _check_own(name: str, rule: AlertRule) -> None:
    where = f"alerting.rules.{name}"
    if name.endswith(_RESERVED):
        raise ValueError(f"{where}: expected a name that does not end in {_RESERVED}, as escalations do")
    if rule.expr is None:
        known = list(alerts.alerts())
        raise ValueError(
            f"{where}: expected a built-in rule ({', '.join(known)}) or `expr` of an own one{_near(name, known)}"
        )
    for key, known in _VARIABLES.items():
        for used in re.findall(r"\$\{(\w*)\}", getattr(rule, key) or ""):
            if used not in known:
                raise ValueError(
                    f"{where}.{key}: expected no ${{...}} other than {' and '.join(f'${{{each}}}' for each in known)}, "
                    f"got '${{{used}}}'" + (f"; a label is written {{{{ $labels.{used} }}}}" if key != "expr" else "")
                )
            if rule.threshold is None:
                raise ValueError(f"{where}: expected `threshold`, because `{key}` names it")


def _defined(name: str) -> str:
    return f"; define it, such as alerting.channels.{name}: {{type: slack, url: {{env: SLACK_WEBHOOK_URL}}}}"


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
