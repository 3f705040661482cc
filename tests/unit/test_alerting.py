"""What alert rules and channels accept, what becomes of them, and who is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from theodore_otel.config import alerts as built_in
from theodore_otel.config import load_text
from theodore_otel.config.explain import explain_key
from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.conventions.registry import metrics
from theodore_otel.errors import InputError
from theodore_otel.render import render
from theodore_otel.render.alerts import Alert, alerts, recipients, unanswered

CHANNELS = """
alerting:
  channels:
    team: {type: slack, url: {env: SLACK_URL}}
    mail: {type: email, smtp: "mail:587", from: otel@example.com, to: [a@example.com], username: otel, password: {env: SMTP_PASSWORD}}
    hook: {type: webhook, url: {file: /etc/hook}, token: {env: HOOK_TOKEN}}
    life: {type: webhook, url: {env: LIFE_URL}}
    phone: {type: sms, to: ["+4915112345678"], region: eu-central-1}
    pager: {type: pagerduty, key: {env: PAGER_KEY}}
"""  # noqa: E501


def found(text: str) -> dict[str, Alert]:
    return {alert.name: alert for alert in alerts(load_text(text, "t.yaml"))}


def rules(text: str) -> dict[str, dict]:
    (file, _) = render(load_text(text, "t.yaml"), "t.yaml", ["prometheus"])
    every = [rule for group in yaml.safe_load(file.text)["groups"] for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule for rule in every}


def told(text: str, name: str) -> list[str]:
    config = load_text(text, "t.yaml")
    return recipients(config.alerting, next(alert for alert in alerts(config) if alert.name == name))


@pytest.mark.parametrize(
    ("name", "severity", "channels", "cooldown"),
    [
        ("HighErrorRate", "high", ("slack", "email"), "10m"),
        ("AiOperationFailureSpike", "medium", ("slack",), "5m"),
        ("SystemOverload", "high", ("slack", "webhook"), "2m"),
        ("CostThresholdExceeded", "medium", ("email",), "1h"),
        ("StorageOperationFailures", "high", ("slack", "pagerduty"), "15m"),
        ("StorageOperationFailuresEscalated", "critical", ("sms", "pagerduty"), "15m"),
    ],
)
def test_a_rule_is_as_it_was_asked_for(name, severity, channels, cooldown):
    alert = found("")[name]
    assert (alert.severity, alert.channels) == (severity, channels)
    assert rules("")[name]["keep_firing_for"] == cooldown
    assert rules("")[name]["labels"] == {"severity": severity}


def test_every_built_in_alert_is_complete():
    page = Path(__file__).parents[2].joinpath("docs/alerting.md").read_text(encoding="utf-8")
    for rule, data in built_in.alerts().items():
        assert {"fires", "silent"} <= data["cases"].keys() or rule == "watchdog", rule
        assert {"summary", "description"} <= data.keys(), rule
        assert f"\n### {rule}\n" in page, f"{rule} has no heading that its runbook_url leads to"
    for alert in found("").values():
        assert alert.annotations["runbook_url"].endswith(f"/docs/alerting.md#{alert.rule}")


def test_the_page_says_of_each_rule_what_its_data_says():
    page = Path(__file__).parents[2].joinpath("docs/alerting.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]
    rows = {row[0]: row[1:] for row in cells if len(row) == 6}
    for rule, data in built_in.alerts().items():
        _, threshold, severity, channels, cooldown = rows[rule]
        assert threshold == {"budget": "the budget", None: ""}.get(data.get("threshold"), str(data.get("threshold"))), (
            rule
        )
        assert severity.split(",")[0] == data["severity"], rule
        assert channels.split(";")[0] == (", ".join(data["channels"]) or "none"), rule
        assert cooldown == data["cooldown"], rule


def test_rules_name_metrics_and_labels_of_the_registry_only():
    known = {metric.prometheus: {*metric.labels, "tenant", "service"} for metric in metrics().values()}
    recorded = {record["record"] for record in built_in.recordings()}
    written = [record.get("of") or record["expr"] for record in built_in.recordings()]
    written += [data["expr"] for data in built_in.alerts().values()]
    series = [(name, labels) for text in written for name, labels in re.findall(r"\b(theodore_\w+)(\{[^}]*\})?", text)]
    assert len(series) > 10
    for name, labels in series:
        assert name in known, name
        assert set(re.findall(r"(\w+)[=!]", labels)) <= known[name], name
    for text in written:
        for name in re.findall(r"\btheodore:\w+(?::\w+)?", text):
            assert name in recorded or name == "theodore:ai_budget_usd_per_hour"


def test_critical_records_are_looked_for_every_five_seconds():
    (file, _) = render(load_text("", "t.yaml"), "t.yaml", ["prometheus"])
    (group,) = [each for each in yaml.safe_load(file.text)["groups"] if each["name"] == "logs"]
    assert (group["interval"], [rule["alert"] for rule in group["rules"]]) == ("5s", ["CriticalLog"])
    assert "for" not in group["rules"][0]


def test_a_rule_is_changed_by_the_keys_that_are_given_and_no_other():
    text = """
alerting:
  channels: {team: {type: slack, url: {env: X}}}
  rules: {high_error_rate: {threshold: 0.2, severity: low, channels: [team], cooldown: 30m}}
"""
    rule, before = rules(text)["HighErrorRate"], rules("")["HighErrorRate"]
    assert rule["expr"] == before["expr"].replace("> 0.05", "> 0.2")
    assert rule["labels"] == {"severity": "low"}
    assert rule["keep_firing_for"] == "30m"
    assert "20 %" in rule["annotations"]["summary"]
    others = {"HighErrorRate"}
    assert {n: r for n, r in rules(text).items() if n not in others} == {
        n: r for n, r in rules("").items() if n not in others
    }


def test_a_rule_that_is_not_enabled_is_left_out_with_its_escalation():
    names = set(rules("")) - set(rules("alerting: {rules: {storage_operation_failures: {enabled: false}}}"))
    assert names == {"StorageOperationFailures", "StorageOperationFailuresEscalated"}


def test_every_rule_can_escalate():
    text = CHANNELS + "  rules: {system_overload: {escalation: {after: 10m, channels: [pager]}}}"
    alert = found(text)["SystemOverloadEscalated"]
    assert alert.severity == "critical"
    assert "[10m:20s]) >= 30" in alert.expr
    assert told(text, "SystemOverloadEscalated") == ["pager"]


def test_an_escalation_is_changed_by_what_is_given_or_left_out():
    text = CHANNELS + "  rules: {storage_operation_failures: {escalation: {after: 1h}}}"
    alert = found(text)["StorageOperationFailuresEscalated"]
    assert (alert.severity, alert.channels) == ("critical", ("sms", "pagerduty"))
    assert "[1h:2m]) >= 30" in alert.expr
    without = CHANNELS + "  rules: {storage_operation_failures: {escalation: {enabled: false}}}"
    assert set(found(CHANNELS)) - set(found(without)) == {"StorageOperationFailuresEscalated"}
    assert told(CHANNELS + "  rules: {high_error_rate: {escalation: {}}}", "HighErrorRateEscalated") == ["team", "mail"]


def test_an_own_rule_is_rendered_with_what_it_says():
    text = """
alerting:
  channels: {team: {type: slack, url: {env: X}}}
  rules:
    nightly_batch_missing:
      expr: time() - max_over_time(theodore_command_last_success_seconds{command="batch"}[7d]) > ${threshold}
      threshold: 90000
      for: 5m
      severity: high
      channels: [team]
      cooldown: 6h
      summary: No nightly batch
      description: The last one was {{ $value | humanizeDuration }} ago.
"""
    rule = rules(text)["NightlyBatchMissing"]
    assert rule == {
        "alert": "NightlyBatchMissing",
        "expr": 'time() - max_over_time(theodore_command_last_success_seconds{command="batch"}[7d]) > 90000',
        "for": "5m",
        "keep_firing_for": "6h",
        "labels": {"severity": "high"},
        "annotations": {
            "summary": "No nightly batch",
            "description": "The last one was {{ $value | humanizeDuration }} ago.",
        },
    }
    assert told(text, "NightlyBatchMissing") == ["team"]


def test_an_own_rule_needs_an_expression_only():
    text = CHANNELS + "  rules: {own: {expr: up == 0}}"
    rule = rules(text)["Own"]
    assert (rule["labels"], rule["keep_firing_for"]) == ({"severity": "medium"}, "15m")
    assert told(text, "Own") == ["team", "mail", "hook", "life", "phone", "pager"]
    assert told(text[:-2] + ", channels: []}}", "Own") == []


def test_a_tenant_has_its_own_budget_and_the_rest_the_general_one():
    text = "tenants: {defaults: {budget_usd_per_hour: 40}, list: {acme: {budget_usd_per_hour: 7.5}, globex: {}}}"
    every = rules(text)
    assert every["theodore:ai_budget_usd_per_hour"]["expr"] == "vector(7.5)"
    assert every["theodore:ai_budget_usd_per_hour"]["labels"] == {"tenant": "acme"}
    assert every["CostThresholdExceeded"]["expr"].endswith("> 40")
    general = rules(text + "\nalerting: {rules: {cost_threshold_exceeded: {threshold: 60}}}")
    assert general["CostThresholdExceeded"]["expr"].endswith("> 60")
    assert "theodore:ai_budget_usd_per_hour" not in rules("")


def test_a_channel_is_called_by_its_name_or_with_all_others_of_its_type():
    second = CHANNELS + "    other: {type: slack, url: {env: OTHER}}\n"
    assert told(second, "AiOperationFailureSpike") == ["team", "other"]
    named = second.replace("team:", "slack:")
    assert told(named, "AiOperationFailureSpike") == ["slack"]


def test_the_watchdogs_channel_is_told_of_nothing_else():
    text = CHANNELS + "  rules: {watchdog: {channels: [life]}}"
    assert told(text, "Watchdog") == ["life"]
    assert told(text, "SystemOverload") == ["team", "hook"]
    assert load_text(text, "t.yaml").alerting.everybody() == ["team", "mail", "hook", "phone", "pager"]


def test_the_watchdog_without_a_channel_tells_nobody():
    assert told(CHANNELS, "Watchdog") == []


def test_what_has_no_channel_goes_to_the_default_ones():
    text = "alerting: {channels: {hook: {type: webhook, url: {env: X}}, other: {type: webhook, url: {env: Y}}}}"
    assert told(text, "HighErrorRate") == ["hook", "other"]
    assert told(text[:-1] + ", default_channels: [other]}", "HighErrorRate") == ["other"]
    assert told("", "HighErrorRate") == []


def test_rules_without_a_channel_are_told_one_by_one():
    lines = unanswered(load_text("alerting: {channels: {hook: {type: webhook, url: {env: X}}}}", "t.yaml"))
    assert lines[0] == (
        "alerting.rules.high_error_rate: HighErrorRate goes to slack and email, but no such channel is configured: "
        "hook is told instead"
    )
    assert [line for line in lines if "system_overload" in line] == [
        "alerting.rules.system_overload: SystemOverload goes to slack, but no such channel is configured"
    ]
    assert unanswered(load_text(CHANNELS, "t.yaml")) == []
    assert unanswered(load_text("", "t.yaml")) == []


def test_no_secret_and_no_variable_is_in_what_alertmanager_reads():
    config = load_text(CHANNELS, "t.yaml")
    (file,) = render(config, "t.yaml", ["alertmanager"])
    keys = dict(re.findall(r'(\w+_file): "([^"]+)"', file.text))
    assert keys == {
        "api_url_file": "/run/secrets/SLACK_URL",
        "auth_password_file": "/run/secrets/SMTP_PASSWORD",
        "url_file": "/run/secrets/LIFE_URL",
        "credentials_file": "/run/secrets/HOOK_TOKEN",
        "routing_key_file": "/run/secrets/PAGER_KEY",
    }
    assert 'url_file: "/etc/hook"' in file.text
    assert config.alerting.secret_names() == ["SLACK_URL", "SMTP_PASSWORD", "HOOK_TOKEN", "LIFE_URL", "PAGER_KEY"]


@pytest.mark.parametrize(
    ("key", "value", "layers"),
    [
        ("own.for", "5m", [("t.yaml:1", '"5m"')]),
        ("high_error_rate.threshold", 0.05, [("built in", "0.05")]),
        ("high_error_rate.channels", ["x"], [("built in", '["slack", "email"]'), ("t.yaml:1", '["x"]')]),
        ("storage_operation_failures.escalation.after", "30m", [("built in", '"30m"')]),
    ],
)
def test_a_rules_key_is_explained_with_what_is_built_in(key, value, layers):
    channels = "channels: {x: {type: webhook, url: {env: X}}}"
    rules = "rules: {own: {expr: up, for: 5m}, high_error_rate: {channels: [x]}}"
    source = parse(f"alerting: {{{channels}, {rules}}}", "t.yaml")
    explained = explain_key(load_layers(source), source, f"alerting.rules.{key}")
    assert (explained.value, list(explained.layers)) == (value, layers)
    assert explained.description


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: {high_eror_rate: {threshold: 0.1}}", r"rules\.high_eror_rate: .* did you mean 'high_error_rate'\?"),
        ("rules: {high_error_rate: {threshold: 5}}", r"threshold: expected a share from 0 to below 1, got 5"),
        ("rules: {watchdog: {threshold: 5}}", r"rules\.watchdog\.threshold: this rule has none, got 5"),
        ("rules: {high_error_rate: {expr: up}}", r"high_error_rate\.expr: this rule is built in"),
        ("rules: {high_error_rate: {for: 5m}}", r"high_error_rate\.for: this rule is built in"),
        ("rules: {high_error_rate: {cooldown: 0s}}", r"cooldown: expected greater than"),
        ("rules: {high_error_rate: {severity: hgih}}", r"severity: expected .*did you mean 'high'\?"),
        ("rules: {high_error_rate: {channels: [slak]}}", r"channels: .* got 'slak'; did you mean 'slack'\?"),
        ("default_channels: [mial]", r"default_channels: expected names .* got 'mial'"),
        ("rules: {own: {expr: 'up > ${threshold}'}}", r"rules\.own: expected `threshold`"),
        ("rules: {own: {expr: 'up > ${x}', threshold: 1}}", r"rules\.own\.expr: .* got '\$\{x\}'"),
        (
            "rules: {own_escalated: {expr: up}}",
            r"rules\.own_escalated: expected a name that does not end in _escalated",
        ),
        ("rules: {Own: {expr: up}}", r"rules\.Own: expected text of the form"),
        ("channels: {a: {type: slak, url: {env: X}}}", r"type: expected one of .* did you mean 'slack'\?"),
        ("channels: {a: {type: slack, url: https://hooks.example.com/T/B/x}}", r"got a value in clear"),
        ("channels: {a: {type: sms, region: eu-central-1, to: ['0151']}}", r"to\.0: expected text .* got the string"),
        (
            "channels: {a: {type: email, smtp: 'm:25', from: a@b, to: [c@d], username: u}}",
            r"both username and password",
        ),
    ],
)
def test_a_mistake_is_told_with_its_key(text, expected):
    with pytest.raises(InputError, match=expected) as caught:
        load_text(f"alerting: {{{text}}}", "t.yaml")
    assert str(caught.value).startswith("t.yaml:1: alerting.")
    assert "hooks.example.com" not in str(caught.value)
