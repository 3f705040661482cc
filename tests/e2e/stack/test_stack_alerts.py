"""A critical record becomes an alert in time, and reaches who is to be told."""

from __future__ import annotations

import json
import time
import urllib.request

import yaml
from e2e.stack import engine
from support.collector import wait_for

IN_TIME = 15.0
"""Seconds from the call that logs a critical record to the alert in Alertmanager: a requirement, not a measure."""
PROGRAM = """
import time
from theodore_otel import LoggerFactory
log = LoggerFactory.get_logger("e2e")
print(time.time(), flush=True)
log.critical("the vector store is gone")
"""


def told(stack) -> list[dict]:
    """Return the alerts that reached the webhook."""
    url = f"http://127.0.0.1:{stack.client.ports['webhook']}/"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return [alert for message in json.load(answer) for alert in message["alerts"]]


def test_a_critical_record_is_an_alert_within_15_seconds_and_reaches_the_webhook(stack, measured):
    def of_globex():
        return stack.servers.alerts(alertname="CriticalLog", tenant="globex")

    assert of_globex() == []
    process = stack.start("globex.1", "python", "-c", PROGRAM)
    logged = float(process.stdout.readline())
    wait_for(of_globex, logged + IN_TIME - time.time(), lambda: stack.servers.alerts())
    measured.alert = time.time() - logged
    assert process.wait(60) == 0
    (alert,) = of_globex()
    assert alert["labels"]["severity"] == "critical"
    assert {"service": "theodore-v2", "category": "system"}.items() <= alert["labels"].items()

    def arrived():
        return [each for each in told(stack) if each["labels"]["alertname"] == "CriticalLog"]

    (sent,) = wait_for(arrived, 60, lambda: told(stack))
    assert (sent["status"], sent["labels"]["tenant"]) == ("firing", "globex")


def test_every_rule_is_loaded_and_every_alert_evaluates(stack):
    """Some recordings are evaluated once in a long while: of these none may have failed."""
    written = yaml.safe_load((engine.COMPOSE_FILE.parent / "prometheus/rules.yaml").read_text(encoding="utf-8"))
    wanted = [rule.get("alert") or rule["record"] for group in written["groups"] for rule in group["rules"]]

    def rules() -> list[dict]:
        groups = stack.servers.get("prometheus", "/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    assert sorted(rule["name"] for rule in rules()) == sorted(wanted)
    wait_for(lambda: all(rule["health"] == "ok" for rule in rules() if rule["type"] == "alerting"), 60, rules)
    assert [rule for rule in rules() if rule["health"] == "err"] == []


def test_the_watchdog_always_fires(stack):
    wait_for(lambda: stack.servers.alerts(alertname="Watchdog"), 60, lambda: stack.servers.alerts())
