"""From what happens to who is told: the real collector, Prometheus and Alertmanager, with channels on loopback."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from backends.servers import Alertmanager, Prometheus
from standins.alerts import Mail, PagerDuty, Slack, Sns, Webhook
from support.collector import Collector, running, wait_for

from theodore_otel.config import load_text
from theodore_otel.render import files, render

# Of the mail server's: it is on loopback.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "token-of-the-webhook"
PASSWORD = "password-of-the-mail-server"
CHANNELS = """
alerting:
  channels:
    team: {{type: slack, url: {{file: {folder}/slack}}, channel: "#alerts"}}
    mail: {{type: email, smtp: "127.0.0.1:{mail}", from: otel@example.com, to: [a@example.com, b@example.com], username: otel, password: {{file: {folder}/mail}}, require_tls: false}}
    hook: {{type: webhook, url: {{file: {folder}/hook}}, token: {{file: {folder}/token}}}}
    life: {{type: webhook, url: {{file: {folder}/life}}}}
    phone: {{type: sms, to: ["+4915112345678"], region: {region}, api_url: "{sns}"}}
    pager: {{type: pagerduty, key: {{file: {folder}/key}}, url: "{pager}"}}
  rules:
    watchdog: {{channels: [life]}}
    critical_log: {{channels: [team, pager, hook]}}
    # What the tests post goes to one channel each, at once.
    high_error_rate: {{severity: critical, channels: [mail]}}
    system_overload: {{severity: critical, channels: [phone, hook]}}
"""  # noqa: E501


@dataclass
class Told:
    """Whoever can be told."""

    slack: Slack
    pager: PagerDuty
    hook: Webhook
    life: Webhook
    mail: Mail
    sns: Sns
    folder: Path
    """Where the secrets are."""


class Watching(Prometheus):
    """Prometheus that evaluates the rendered rules and knows Alertmanager."""

    alertmanager = ""

    def configure(self, targets: Sequence[str]) -> None:
        super().configure(targets)
        configuration = json.loads(self.file.read_text())
        configuration["rule_files"] = [f"{self.folder}/prometheus/rules.yaml"]
        configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self.alertmanager]}]}]}
        self.file.write_text(json.dumps(configuration))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("secrets")
    with (
        Slack() as slack,
        PagerDuty(KEY) as pager,
        Webhook(TOKEN) as hook,
        Webhook() as life,
        Mail("otel", PASSWORD) as mail,
        Sns() as sns,
    ):
        secrets = {"slack": slack.url + slack.path, "hook": hook.url + hook.path, "life": life.url + life.path}
        for name, secret in {**secrets, "mail": PASSWORD, "token": TOKEN, "key": KEY}.items():
            (folder / name).write_text(f"{secret}\n")
        yield Told(slack, pager, hook, life, mail, sns, folder)
        assert [*slack.wrong, *pager.wrong, *hook.wrong, *life.wrong] == []


@pytest.fixture(scope="module")
def configuration(told) -> str:
    places = {"mail": told.mail.port, "sns": told.sns.url, "region": told.sns.region, "folder": told.folder}
    return CHANNELS.format(**places, pager=told.pager.url + told.pager.path)


class Sending(Alertmanager):
    """Alertmanager with credentials of AWS in its environment, as SMS want it."""

    def start(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-aws")
            super().start()


@pytest.fixture(scope="module")
def sending(alertmanager, configuration, tmp_path_factory) -> Iterator[Sending]:
    """Alertmanager as it is rendered."""
    server = Sending(alertmanager.home, tmp_path_factory.mktemp("alertmanager"))
    (rendered,) = render(load_text(configuration, "t.yaml"), "t.yaml", ["alertmanager"])
    server.file.write_text(rendered.text)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def watching(prometheus, sending, configuration, tmp_path_factory) -> Iterator[Watching]:
    """Prometheus with the rendered rules."""
    Watching.alertmanager = sending.at("http")
    server = Watching(prometheus.home, tmp_path_factory.mktemp("prometheus"))
    files.write(render(load_text(configuration, "t.yaml"), "t.yaml", ["prometheus"]), server.folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def collector(watching, tmp_path_factory) -> Iterator[Collector]:
    destination = {"type": "prometheus", "endpoint": f"http://{watching.at('http')}"}
    with running(tmp_path_factory.mktemp("collector"), {"destinations": {"p": destination}}, ["acme"]) as started:
        yield started


def post(server: Alertmanager, name: str, **more: str) -> None:
    """Hand an alert to Alertmanager, as Prometheus would."""
    ends = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
    annotations = {"summary": f"{name} of {more['service']} for {more['tenant']}", "description": "It is a test."}
    alert = {"labels": {"alertname": name, **more}, "annotations": annotations, "endsAt": ends}
    request = urllib.request.Request(
        f"http://{server.at('http')}/api/v2/alerts",
        data=json.dumps([alert]).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert urllib.request.urlopen(request, timeout=10).status == 200


def test_a_critical_record_is_told_to_slack_to_pagerduty_and_to_a_webhook(told, sending, collector):
    record = (21, "the vector store is gone", {"theodore.category": "data_processing"})
    assert collector.send_logs([record, (9, "all is well", {})], "acme.1") == 200
    (alert,) = wait_for(lambda: sending.alerts(alertname="CriticalLog"), otherwise=collector.said)
    labels = {"tenant": "acme", "service": "theodore-v2", "category": "data_processing", "severity": "critical"}
    assert alert["labels"] == {"alertname": "CriticalLog", **labels}
    (message,) = wait_for(told.slack.messages)
    assert message["channel"] == "#alerts"
    assert message["attachments"][0]["title"] == "[CRITICAL] theodore-v2 logged a record of level CRITICAL"
    assert "Tenant: acme." in message["attachments"][0]["text"]
    assert "docs/alerting.md#critical_log" in message["attachments"][0]["text"]
    (event,) = wait_for(told.pager.messages)
    assert (event["event_action"], event["payload"]["severity"]) == ("trigger", "critical")
    assert event["payload"]["summary"] == "[CRITICAL] theodore-v2 logged a record of level CRITICAL"
    (posted,) = wait_for(lambda: told.hook.alerts(alertname="CriticalLog"))
    assert (posted["status"], posted["labels"]) == ("firing", alert["labels"])
    assert "the vector store is gone" not in json.dumps([message, event, posted])


def test_the_watchdog_is_heard_by_its_channel_and_nothing_else_is(told, watching):
    assert wait_for(lambda: told.life.alerts(alertname="Watchdog"))[0]["status"] == "firing"
    assert {alert["labels"]["alertname"] for alert in told.life.alerts()} == {"Watchdog"}


def test_an_alert_is_mailed_with_the_password_of_its_file(told, sending):
    post(sending, "HighErrorRate", severity="critical", tenant="acme", service="mailed")
    (mail,) = wait_for(lambda: told.mail.mails)
    assert mail["Subject"] == "[CRITICAL] HighErrorRate of mailed for acme"
    assert "It is a test. Tenant: acme." in mail.get_payload()[0].get_payload(decode=True).decode()
    assert told.mail.recipients == [["a@example.com", "b@example.com"]]


def test_an_alert_is_texted_and_posted(told, sending):
    post(sending, "SystemOverload", severity="critical", tenant="acme", service="texted")
    assert wait_for(told.sns.texts) == [("+4915112345678", "[CRITICAL] SystemOverload of texted for acme")]
    (alert,) = wait_for(lambda: told.hook.alerts(service="texted"))
    assert alert["annotations"]["description"] == "It is a test."


def test_what_is_critical_silences_what_is_less_about_the_same_tenant_and_service(told, sending):
    def state(**labels: str) -> dict[str, Any]:
        (alert,) = sending.alerts(alertname="BackendDown", **labels)
        return alert["status"]

    post(sending, "StorageOperationFailuresEscalated", severity="critical", tenant="acme", service="silent")
    for severity, tenant, service in (
        ("high", "acme", "silent"),
        ("medium", "acme", "silent"),
        ("low", "acme", "silent"),
        ("high", "globex", "silent"),
        ("high", "acme", "other"),
    ):
        post(sending, "BackendDown", severity=severity, tenant=tenant, service=service)
    silenced = lambda **labels: bool(state(**labels)["inhibitedBy"])  # noqa: E731
    wait_for(lambda: silenced(severity="high", tenant="acme", service="silent"))
    wait_for(lambda: silenced(severity="medium", tenant="acme", service="silent"))
    assert not silenced(severity="low", tenant="acme", service="silent")
    assert not silenced(tenant="globex")
    assert not silenced(service="other")
    told_of = {"[LOW] BackendDown of silent for acme", "[HIGH] BackendDown of silent for globex"}
    told_of.add("[HIGH] BackendDown of other for acme")
    wait_for(lambda: told_of <= set(titles(told)), otherwise=lambda: titles(told))
    assert sorted(title for title in titles(told) if "BackendDown" in title) == sorted(told_of)


def titles(told: Told) -> list[str]:
    return [message["attachments"][0]["title"] for message in told.slack.messages()]


def test_a_critical_record_silences_nothing(sending):
    post(sending, "CriticalLog", severity="critical", tenant="acme", service="logged", category="system")
    post(sending, "BackendDown", severity="high", tenant="acme", service="logged")
    wait_for(lambda: sending.alerts(alertname="BackendDown", service="logged"))
    (alert,) = sending.alerts(alertname="BackendDown", service="logged")
    assert alert["status"]["inhibitedBy"] == []


def test_a_secret_is_read_from_its_file_when_something_is_sent_and_is_nowhere_else(told, sending):
    assert sending._process
    status = json.dumps(sending.get("http", "/api/v2/status"))
    command = Path(f"/proc/{sending._process.pid}/cmdline")
    shown = command.read_text() if command.exists() else subprocess.check_output(["ps", "ax"], text=True)
    for place in (status, shown, sending.file.read_text(), sending.log.read_text()):
        for secret in (KEY, TOKEN, PASSWORD, Slack.path, "secret-of-aws"):
            assert secret not in place
    told.pager.key = KEY[::-1]
    (told.folder / "key").write_text(told.pager.key + os.linesep)
    before = len(told.pager.messages())
    post(sending, "CriticalLog", severity="critical", tenant="acme", service="turned", category="system")
    wait_for(lambda: len(told.pager.messages()) > before)
    assert told.pager.messages()[-1]["routing_key"] == KEY[::-1]
