"""The sample Theodore, watched as its watch.yaml says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from opentelemetry.trace import StatusCode
from watching import CLIENTS, Observed, Settings, attributes, put_back

SAMPLE = Path(__file__).parents[1] / "sample_app"
sys.path.insert(0, str(SAMPLE))

PROGRAM = """
import asyncio, json, sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from theodore_otel.instrument import active as active_module
from watching import Observed, Settings
import yaml

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
active_module.SOON = float(sys.argv[3])
seen = Observed()
seen.install(Settings(**yaml.safe_load(open(sys.argv[1]))))

def active():
    data = reader.get_metrics_data()
    if data is None:
        return {}
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "theodore.active_operations"
    return {point.attributes["operation"]: point.value for point in metric.data.data_points}

from sample_theodore import research
distil = research.distil
during = {}
def looking(*args):
    during.update(active())
    return distil(*args)
research.distil = looking
asyncio.run(research.ResearchUseCase().execute(sys.argv[2]))
print(json.dumps({"during": during, "after": active(), "reports": seen.reports}))
"""


@pytest.fixture(scope="module")
def settings():
    return Settings(**yaml.safe_load((SAMPLE / "watch.yaml").read_text()))


@pytest.fixture(scope="module")
def everything(settings):
    """Installed once: the modules of the sample stay imported, and wrapping them twice would double the spans."""
    from sample_theodore import crawl, research, store

    functions = [entry["function"].partition(":")[2] for entries in settings.watch.values() for entry in entries]
    places = list(CLIENTS)
    for path in functions:
        parent, _, name = path.rpartition(".")
        owners = (getattr(module, parent, None) if parent else module for module in (crawl, research, store))
        places += [(owner, name) for owner in owners if owner is not None and name in vars(owner)]
    with put_back(places):
        observed = Observed()
        observed.install(settings)
        yield observed


@pytest.fixture
def research(everything, tmp_path, monkeypatch):
    from sample_theodore import standins
    from sample_theodore.research import ResearchUseCase

    everything._exporter.clear()
    with standins.running(delay=0.01) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("THEODORE_DATA", str(tmp_path))
        yield lambda company: asyncio.run(ResearchUseCase().execute(company))


def _children(observed, name):
    parent = observed.span(name)
    found = (span for span in observed.spans if span.parent and span.parent.span_id == parent.context.span_id)
    return sorted(span.name for span in found)


def test_every_watched_function_of_the_sample_exists(everything):
    assert everything.reports == []


def test_a_research_is_one_tree_of_phases_pages_model_calls_and_storage(everything, research):
    assert research("ACME")["success"] is True
    assert _children(everything, "research company_research") == [
        "phase choose_pages",
        "phase distil",
        "phase extract_content",
        "phase find_links",
        "storage find_similar",
        "storage upsert",
    ]
    assert _children(everything, "phase extract_content") == ["scraping intelligent_scraper"] * 10
    assert len({span.context.trace_id for span in everything.spans}) == 1
    assert attributes(everything.span("research company_research"))["theodore.research.pages"] == 10


def test_a_failed_research_is_an_error_though_the_program_says_nothing(everything, research):
    assert research("failing")["success"] is False
    span = everything.span("research company_research")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["theodore.success"] is False
    assert everything.span("phase find_links").status.status_code is StatusCode.ERROR


def test_a_failed_phase_is_an_error_inside_a_research_that_is_none(everything, research):
    assert research("nositemap")["success"] is True
    assert everything.span("phase read_sitemap").status.status_code is StatusCode.ERROR
    assert everything.span("research company_research").status.status_code is StatusCode.UNSET


@pytest.fixture
def counted(tmp_path):
    """Return what runs the sample in a process that is old enough to report after so many seconds."""
    return lambda soon: _counted(tmp_path, soon)


def test_active_operations_rise_and_fall_to_nothing(counted):
    told = counted(0)
    assert told["reports"] == []
    assert told["during"]["research"] == 1
    assert set(told["after"].values()) == {0}
    assert set(told["after"]) == {"research", "phase", "ai", "scraping", "storage"}


def test_a_process_that_ends_soon_reports_none_and_leaves_no_series_behind(counted):
    assert counted(3600) == {"during": {}, "after": {}, "reports": []}


def _counted(folder, soon):
    from sample_theodore import standins

    with standins.running() as server:
        environment = {
            **server.environment,
            "THEODORE_DATA": str(folder),
            "PYTHONPATH": f"{SAMPLE}:{Path(__file__).parent}",
        }
        command = [sys.executable, "-c", PROGRAM, str(SAMPLE / "watch.yaml"), "ACME", str(soon)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
