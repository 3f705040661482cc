"""Render Alertmanager's routes and receivers."""

from __future__ import annotations

from theodore_otel.config.base import Secret
from theodore_otel.config.model import Config
from theodore_otel.render.alerts import alerts, promql, recipients
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.templates import environment

NOBODY = "Nobody"
"""The receiver that tells nobody; no channel can have this name."""
_SECRETS = "/run/secrets"
_KINDS = {
    "email": "email_configs",
    "slack": "slack_configs",
    "webhook": "webhook_configs",
    "sms": "sns_configs",
    "pagerduty": "pagerduty_configs",
}


def render(config: Config, header: str) -> list[RenderedFile]:
    """Return alertmanager/alertmanager.yml."""
    wanted = alerts(config)
    text = (
        environment()
        .get_template("alertmanager/alertmanager.yml.j2")
        .render(
            header=header,
            config=config,
            alerts=wanted,
            told={alert.name: recipients(config.alerting, alert) for alert in wanted},
            default=config.alerting.everybody(),
            nobody=NOBODY,
            never_inhibit=[alert.name for alert in wanted if not alert.inhibits],
            kinds=_KINDS,
            promql=promql,
            secret_file=secret_file,
        )
    )
    return [RenderedFile("alertmanager/alertmanager.yml", text)]


def secret_file(secret: Secret) -> str:
    """Return the file in which Alertmanager finds a secret; what stands in a variable is mounted under its name."""
    return secret.file or f"{_SECRETS}/{secret.env}"
