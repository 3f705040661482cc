"""Whom Alertmanager tells of each alert: amtool judges the rendered routes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.render import files, render
from theodore_otel.render.alerts import alerts

CHANNELS = """
alerting:
  channels:
    team: {type: slack, url: {env: SLACK_URL}, channel: "#alerts"}
    mail: {type: email, smtp: "mail:587", from: otel@example.com, to: [a@example.com, b@example.com]}
    hook: {type: webhook, url: {file: /etc/hook}, token: {env: HOOK_TOKEN}}
    life: {type: webhook, url: {env: LIFE_URL}, resolved: false}
    phone: {type: sms, to: ["+4915112345678", "+4915112345679"], region: eu-central-1, role_arn: "arn:x"}
    pager: {type: pagerduty, key: {env: PAGER_KEY}, url: "http://127.0.0.1:1/v2/enqueue"}
  rules: {watchdog: {channels: [life]}}
"""
TWO = """
alerting:
  channels: {hook: {type: webhook, url: {env: X}}, page: {type: pagerduty, key: {env: Y}}}
  default_channels: [hook]
"""
OTHERWISE = CHANNELS.replace(
    "  rules: {watchdog: {channels: [life]}}",
    """
  rules:
    watchdog: {channels: [life]}
    high_error_rate: {severity: critical, channels: [pager, sms], cooldown: 45m}
    own: {expr: up, channels: [hook]}
""",
)
EXPECTED = {
    "HighErrorRate": ["team", "mail"],
    "AiOperationFailureSpike": ["team"],
    "SystemOverload": ["team", "hook"],
    "CostThresholdExceeded": ["mail"],
    "CostProjected": ["mail"],
    "StorageOperationFailures": ["team", "pager"],
    "StorageOperationFailuresEscalated": ["phone", "pager"],
    "CriticalLog": ["team", "pager"],
    "Watchdog": ["life"],
    "CollectorDown": ["team", "pager"],
    "CollectorQueueFilling": ["team"],
    "CollectorQueueFull": ["team"],
    "CollectorStuck": ["team"],
    "CollectorDataLost": ["team"],
    "CollectorRefusesData": ["team"],
    "CollectorMemory": ["team"],
    "BackendDown": ["team", "pager"],
    "SomebodyElses": ["team", "mail", "hook", "phone", "pager"],
}
PAGED = {"StorageOperationFailures", "StorageOperationFailuresEscalated", "CriticalLog", "CollectorDown", "BackendDown"}
BY_TWO = {name: ["page" if name in PAGED else "hook"] for name in EXPECTED} | {"Watchdog": ["Nobody"]}


@pytest.fixture
def amtool(alertmanager, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that renders a configuration and asks amtool about it."""

    def ask(text: str, *command: str) -> subprocess.CompletedProcess[str]:
        files.write(render(load_text(text, "t.yaml"), "t.yaml", ["alertmanager"]), tmp_path)
        return subprocess.run([alertmanager.home / "amtool", *command], cwd=tmp_path, capture_output=True, text=True)

    return ask


def routed(
    amtool: Callable[..., subprocess.CompletedProcess[str]], text: str, name: str, severity: str, told: Sequence[str]
):
    labels = [f"alertname={name}", f"severity={severity}", "tenant=acme", "service=api"]
    file = "--config.file=alertmanager/alertmanager.yml"
    return amtool(text, "config", "routes", "test", file, f"--verify.receivers={','.join(told)}", *labels)


@pytest.mark.parametrize("text", ["", CHANNELS, TWO, OTHERWISE], ids=["no channel", "all", "two", "changed"])
def test_alertmanager_takes_the_configuration(amtool, text):
    checked = amtool(text, "check-config", "alertmanager/alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 inhibit rules" in checked.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHANNELS, EXPECTED),
        (TWO, BY_TWO),
        ("", {name: ["Nobody"] for name in EXPECTED}),
        (OTHERWISE, EXPECTED | {"HighErrorRate": ["pager", "phone"], "Own": ["hook"]}),
    ],
    ids=["all", "two", "no channel", "changed"],
)
def test_each_alert_of_each_severity_goes_to_its_channels(amtool, text, expected):
    assert {alert.name for alert in alerts(load_text(text, "t.yaml"))} == expected.keys() - {"SomebodyElses"}
    for name, told in expected.items():
        for severity in ("low", "medium", "high", "critical"):
            answer = routed(amtool, text, name, severity, told)
            assert answer.returncode == 0, f"{name}: {answer.stdout}{answer.stderr}"


def test_an_alert_that_goes_elsewhere_is_told(amtool):
    assert routed(amtool, CHANNELS, "HighErrorRate", "high", ["team"]).returncode != 0


def test_each_route_repeats_after_the_cooldown_and_what_is_critical_waits_for_nothing():
    (file,) = render(load_text(OTHERWISE, "t.yaml"), "t.yaml", ["alertmanager"])
    config = yaml.safe_load(file.text)
    assert config["route"]["group_by"] == ["alertname", "tenant", "service"]
    for alert in alerts(load_text(OTHERWISE, "t.yaml")):
        (route,) = [r for r in config["route"]["routes"] if r["matchers"] == [f'alertname = "{alert.name}"']]
        assert ("group_wait" in route) == (alert.severity == "critical"), alert.name
        assert route.get("group_wait", "0s") == "0s"
    repeats = {r["matchers"][0].split('"')[1]: r["repeat_interval"] for r in config["route"]["routes"] if r["matchers"]}
    assert (repeats["HighErrorRate"], repeats["SystemOverload"], repeats["Own"]) == ("45m", "2m", "15m")
