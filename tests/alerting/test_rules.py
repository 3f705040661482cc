"""Every alert fires when it should and is silent when it should be: promtool evaluates the rendered rules and tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.render import files, render

CHANGED = """
collector: {memory: 512MiB}
tenants: {defaults: {budget_usd_per_hour: 3}, list: {acme: {budget_usd_per_hour: 20}}}
alerting:
  rules:
    high_error_rate: {threshold: 0.5, severity: medium}
    ai_operation_failure_spike: {threshold: 3, severity: critical, cooldown: 1m}
    system_overload: {threshold: 7}
    cost_projected: {threshold: 0.5}
    storage_operation_failures: {threshold: 0, escalation: {after: 2h, severity: high}}
    collector_queue_filling: {threshold: 0.25}
    collector_memory: {threshold: 0.123}
    watchdog: {enabled: false}
    nightly_batch_missing: {expr: 'time() - max_over_time(theodore_command_last_success_seconds[7d]) > 90000'}
"""
BUDGETS = """
tenants:
  defaults: {budget_usd_per_hour: 50}
  list: {acme: {budget_usd_per_hour: 20}, globex: {budget_usd_per_hour: 90}}
"""
COST = 'theodore_ai_cost_total{{tenant="{0}",service="api",provider="p",model="m",operation="chat",success="true"}}'


@pytest.fixture
def judged(prometheus, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that renders a configuration and runs promtool on it, with changes of the rules first."""

    def judge(text: str, *command: str, change: tuple[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        files.write(render(load_text(text, "t.yaml"), "t.yaml", ["prometheus"]), tmp_path)
        rules = tmp_path / "prometheus/rules.yaml"
        if change:
            before = rules.read_text()
            assert change[0] in before
            rules.write_text(before.replace(*change))
        return subprocess.run(
            [prometheus.home / "promtool", *command], cwd=tmp_path / "prometheus", capture_output=True, text=True
        )

    return judge


@pytest.mark.parametrize("text", ["", CHANGED, BUDGETS], ids=["as built in", "changed", "with budgets"])
def test_the_rules_are_valid_and_every_alert_passes_its_cases(judged, text):
    checked = judged(text, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = judged(text, "test", "rules", "rules_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_a_case_that_fires_and_one_that_does_not():
    (rules, tests) = render(load_text("", "t.yaml"), "t.yaml", ["prometheus"])
    names = [
        rule["alert"] for group in yaml.safe_load(rules.text)["groups"] for rule in group["rules"] if "alert" in rule
    ]
    cases = {case["name"]: case["promql_expr_test"][0] for case in yaml.safe_load(tests.text)["tests"]}
    assert len(names) == 17
    for name in names:
        assert cases[f"{name} fires"]["exp_samples"], name
        if name != "Watchdog":
            assert cases[f"{name} silent"]["exp_samples"] == [], name


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        # Counts instead of what the registry calls failed, or less than it.
        (('status_code=~"error|5.."', 'status_code=~"error"'), "HighErrorRate"),
        (("theodore:requests:increase5m >= 20", "theodore:requests:increase5m >= 0"), "HighErrorRate"),
        (('error_type="ai_operation_failure"', 'error_type=~".*"'), "AiOperationFailureSpike"),
        # Prometheus' own increase() does not see the first value of a series.
        (
            ("    or theodore_errors_total{error_type", "    or 0 * theodore_errors_total{error_type"),
            "AiOperationFailureSpike",
        ),
        # What was last seen hours ago is not forgotten.
        (("[1d] offset 1h", "[30m] offset 1h"), "theodore_research_success_rate"),
        (
            ("expr: |-\n          theodore_companies_researched_total\n", "expr: vector(0)\n"),
            "theodore_research_success_rate",
        ),
        (("sum by (service) (theodore_active", "sum by (tenant) (theodore_active"), "SystemOverload"),
        # An alert that is only kept firing must not escalate.
        (("(theodore:storage_operations_failed:increase5m / ", "(1 / "), "StorageOperationFailuresEscalated"),
        (("          unless (theodore_log_records_total", "          and (theodore_log_records_total"), "CriticalLog"),
        ((' or absent(up{job="otelcol"})', ""), "CollectorDown"),
        (("theodore_health_up) == 0", "theodore_health_up) == 1"), "BackendDown"),
    ],
)
def test_a_rule_that_is_wrong_does_not_pass(judged, change, fails):
    tested = judged("", "test", "rules", f"--run=^{fails} ", "rules_test.yaml", change=change)
    assert tested.returncode == 1
    assert "FAILED:" in tested.stdout + tested.stderr


def test_each_tenant_is_measured_by_its_own_budget(judged, tmp_path):
    """acme has 20 dollars an hour, globex 90, everybody else 50; all three spend 60 at once."""
    case = {
        "interval": "1m",
        "input_series": [{"series": COST.format(name), "values": "_x4 60x80"} for name in ("acme", "globex", "other")],
        "promql_expr_test": [
            {
                "expr": 'count by (tenant) (ALERTS{alertname="CostThresholdExceeded",alertstate="firing"})',
                "eval_time": "10m",
                "exp_samples": [{"labels": f'{{tenant="{name}"}}', "value": 1} for name in ("acme", "other")],
            }
        ],
    }
    folder = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "own.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [case]})
    )
    tested = judged(BUDGETS, "test", "rules", "own.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(
    ("values", "at", "fires"),
    [
        ("_x12 1", "65s", True),
        # One more, seven minutes later, when its series has not been heard of for longer than Prometheus looks back.
        ("1 _x83 2", "420s", True),
        ("1 _x83 2", "410s", False),
        ("5x60 5x60 5x60", "890s", False),
        ("5x60 6x60", "330s", True),
        # The collector began again.
        ("5x120 1", "606s", True),
    ],
)
def test_a_critical_record_is_never_missed_and_told_once(judged, tmp_path, values, at, fires):
    labels = 'category="system",service="api",tenant="acme"'
    series = f'theodore_log_records_total{{severity="CRITICAL",{labels}}}'
    alert = f'ALERTS{{alertname="CriticalLog",alertstate="firing",severity="critical",{labels}}}'
    case = {
        "interval": "5s",
        "input_series": [{"series": series, "values": values}],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertname="CriticalLog"}',
                "eval_time": at,
                "exp_samples": [{"labels": alert, "value": 1}] if fires else [],
            }
        ],
    }
    folder: Path = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "own.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "5s", "tests": [case]})
    )
    tested = judged("", "test", "rules", "own.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
