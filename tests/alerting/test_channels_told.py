"""`theodore-otel validate` says what is wrong with alerting, with the real promtool and amtool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from theodore_otel.cli import _alert_checks
from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.errors import InputError

HOOK = {"channels": {"hook": {"type": "webhook", "url": {"env": "HOOK_URL"}}}, "default_channels": ["hook"]}


@pytest.fixture
def tools(prometheus, alertmanager, monkeypatch) -> str:
    path = os.pathsep.join([str(prometheus.home), str(alertmanager.home), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    return path


def said(alerting: dict) -> list[str]:
    source = parse(yaml.safe_dump({"alerting": alerting}), "t.yaml")
    notes: list[str] = []
    _alert_checks.check(load_layers(source).config, source, notes.append)
    return notes


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"expr": "rate(up)"}, "expected type range vector"),
        ({"expr": "up ="}, "could not parse expression"),
        ({"expr": "up", "summary": "{{ $labels.tenant "}, "unclosed action"),
        ({"expr": "up", "description": "{{ $value | humanise }}"}, '"humanise" not defined'),
    ],
)
def test_an_own_rule_that_prometheus_would_refuse_is_named(tools, rule, why):
    with pytest.raises(InputError, match=r"^t\.yaml:\d+: alerting\.rules\.mine: promtool refuses this: ") as caught:
        said({**HOOK, "rules": {"mine": rule}})
    assert why in str(caught.value)


def test_a_good_rule_passes(tools):
    assert not [note for note in said({**HOOK, "rules": {"mine": {"expr": "up == 0"}}}) if "mine" in note]


def test_what_is_not_checked_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    note = "t.yaml: promtool is not on PATH: expressions of own alert rules are not checked"
    assert note in said({**HOOK, "rules": {"mine": {"expr": "up =="}}})
    assert note not in said(HOOK)


def test_the_command_names_rules_without_their_channels_and_passes(tools, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump({"alerting": HOOK}))
    program = Path(sys.executable).with_name("theodore-otel")
    answer = subprocess.run([program, "validate", "-c", file], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{file}: good\n"
    line = "alerting.rules.ai_operation_failure_spike: AiOperationFailureSpike goes to slack, but no such channel is"
    assert f"{file}: {line} configured: hook is told instead\n" in answer.stderr
