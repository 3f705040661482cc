"""The registry of names: one entry for each metric, named so that Prometheus shows what the product promises."""

from __future__ import annotations

import re

import pytest
import yaml

from theodore_otel import paths
from theodore_otel.conventions import generate, names
from theodore_otel.conventions.registry import metrics

_UNIT_SUFFIX = {"s": "_seconds", "By": "_bytes", "": ""}


def test_the_constants_are_current():
    assert generate.main(check=True) == 0


def test_a_stale_constants_file_is_told_with_the_command_that_mends_it(monkeypatch, tmp_path, capsys):
    stale = tmp_path / "names.py"
    stale.write_text("old")
    monkeypatch.setattr(generate, "_TARGET", stale)
    assert generate.main(check=True) == 1
    assert "python -m theodore_otel.conventions.generate" in capsys.readouterr().err
    assert generate.main(check=False) == 0
    assert stale.read_text() == generate.generate()


@pytest.mark.parametrize("metric", metrics().values(), ids=lambda metric: metric.name)
def test_the_prometheus_name_follows_from_name_and_unit(metric):
    """Dots become underscores, curly units vanish, `s` becomes seconds, monotonic sums get `_total`."""
    unit = "" if metric.unit.startswith("{") else _UNIT_SUFFIX[metric.unit]
    total = "_total" if metric.type == "counter" else ""
    assert metric.prometheus == metric.name.replace(".", "_") + unit + total


@pytest.mark.parametrize(
    "name",
    [
        "theodore_requests_total", "theodore_request_duration_seconds", "theodore_errors_total",
        "theodore_active_operations", "theodore_ai_tokens_total", "theodore_ai_operation_duration_seconds",
        "theodore_ai_cost_total", "theodore_companies_researched_total", "theodore_research_success_rate",
        "theodore_storage_operations_total", "theodore_scraping_pages_total",
        "theodore_similarity_calculations_total",
    ],
)  # fmt: skip
def test_every_promised_metric_is_registered(name):
    assert name in {metric.prometheus for metric in metrics().values()}


def test_no_label_is_unbounded():
    labels = {label for metric in metrics().values() for label in metric.labels}
    assert not labels & {"company", "company_name", "url", "user", "correlation_id"}


def test_the_templates_derive_what_the_registry_says_and_nothing_else():
    template = (paths.data("templates") / "collector/_derived.yaml.j2").read_text()
    derived = set(re.findall(r'entry\("(theodore\.[\w.]+)"', template))
    assert derived == {metric.name for metric in metrics().values() if metric.source in ("spans", "logs", "limits")}


def test_every_label_of_a_derived_metric_comes_from_an_attribute_or_names_the_failure():
    tables = yaml.safe_load((paths.data("templates") / "collector/derived.yaml").read_text())
    derived = {label for m in metrics().values() if m.source in ("spans", "logs", "limits") for label in m.labels}
    # The command of a request is its endpoint; of a last good run it is the command.
    assert {*tables["labels"].values(), "error_type", "command"} == derived
    told = metrics()["theodore.errors"].description
    assert all(error in told for error in ("http_error", *tables["errors"].values()))


def test_constants_hold_the_names():
    assert names.TENANT_ID == "tenant.id"
    assert names.METRIC_AI_COST == "theodore.ai.cost"
