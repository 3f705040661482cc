"""The sample Theodore under opentelemetry-instrument, through the real collector, end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import genai_prices
import pytest
import yaml
from sample_theodore import planted, standins
from support.collector import Collector, wait_for

from theodore_otel.config import load_text
from theodore_otel.conventions import names
from theodore_otel.render import render

BIN = Path(sys.executable).parent
WATCH = yaml.safe_load((Path(__file__).parents[1] / "sample_app/watch.yaml").read_text())
MODEL = "anthropic/claude-3.5-haiku"


class World:
    """A collector, the stand-ins, and Theodore's settings."""

    def __init__(self, folder: Path, sites: standins.Standins) -> None:
        self.folder = folder
        self.sites = sites
        configuration = {
            "profile": "local",
            "tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}},
            "destinations": {"scrape": {"type": "prometheus"}},
            # Twenty commands at once on a small machine take longer than the second a single one may take to deliver.
            "instrument": {**WATCH, "exit_budget": "60s"},
        }
        self.collector = Collector(folder, configuration, ["acme", "globex", "twenty", "svc-api"])
        (settings,) = render(load_text(yaml.safe_dump(self.collector.configuration), "t"), "t", ["instrument"])
        (folder / "instrument.json").write_text(settings.text)

    def environment(self, credential: str) -> dict[str, str]:
        return {
            **os.environ,
            **self.sites.environment,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "THEODORE_DATA": str(self.folder / "data"),
            "THEODORE_OTEL_CONFIG": str(self.folder / "instrument.json"),
            "THEODORE_OTEL_CREDENTIAL": f"{credential}:{self.collector.tokens[credential]}",
        }

    def theodore(self, credential: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["opentelemetry-instrument", "theodore", *arguments]
        return subprocess.run(
            command, env=self.environment(credential), capture_output=True, text=True, timeout=300, check=False
        )

    def trace(self, company: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the spans of the trace that researched a company, once its entry span is there."""

        def whole() -> list[tuple[dict[str, Any], dict[str, Any]]]:
            spans = self.collector.spans()
            ids = {s["traceId"] for _, s in spans if s["attributes"].get(names.COMPANY_NAME) == company}
            found = [(r, s) for r, s in spans if s["traceId"] in ids]
            return found if any(not s.get("parentSpanId") for _, s in found) else []

        return wait_for(whole, 60, lambda: [s["name"] for _, s in self.collector.spans()])


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with standins.running(delay=0.2) as sites:
        made = World(tmp_path_factory.mktemp("spine"), sites)
        made.collector.start()
        yield made
        made.collector.stop()


def kind(spans: list[tuple[dict[str, Any], dict[str, Any]]], wanted: str) -> list[dict[str, Any]]:
    return [s for _, s in spans if s["attributes"].get(names.OPERATION_TYPE) == wanted]


def test_a_research_run_is_one_whole_trace_with_phases_pages_model_calls_and_storage(world):
    done = world.theodore("acme.1", "research", "ACME Rockets", "--tenant", "acme")
    assert done.returncode == 0, done.stderr
    spans = world.trace("ACME Rockets")
    assert len({s["traceId"] for _, s in spans}) == 1
    ids = {s["spanId"] for _, s in spans}
    orphans = [s["name"] for _, s in spans if s.get("parentSpanId") and s["parentSpanId"] not in ids]
    assert orphans == []
    assert [s["name"] for _, s in spans if not s.get("parentSpanId")] == ["research"]
    (research,) = kind(spans, "research")
    assert research["attributes"][names.RESEARCH_PAGES] == "10"
    assert research["attributes"][names.SUCCESS] is True
    assert len(kind(spans, "scraping")) == 10
    assert len(kind(spans, "ai")) == 2
    assert {s["attributes"][names.PHASE_NAME] for s in kind(spans, "phase")} >= {"find_links", "choose_pages", "distil"}
    assert kind(spans, "storage")
    assert {r["tenant.id"] for r, _ in spans} == {"acme"}
    assert {r["service.name"] for r, _ in spans} == {"theodore-v2"}


def test_a_failing_research_is_an_error_though_the_program_exits_0(world):
    done = world.theodore("globex.1", "research", "Failing Foundry", "--tenant", "globex")
    assert done.returncode == 0
    spans = world.trace("Failing Foundry")
    (research,) = kind(spans, "research")
    (command,) = kind(spans, "command")
    for span in (research, command):
        assert span["status"]["code"] == 2
        assert span["attributes"][names.SUCCESS] is False
    correlation = {s["attributes"].get(names.CORRELATION_ID) for _, s in spans}
    assert len(correlation) == 1
    assert None not in correlation

    def logs() -> list[dict[str, Any]]:
        return [item for _, item in world.collector.logs() if item.get("traceId") == research["traceId"]]

    wait_for(lambda: any(item["severityText"] == "ERROR" for item in logs()), 60, world.collector.logs)
    assert {item["attributes"].get(names.CORRELATION_ID) for item in logs()} == correlation


def test_cost_is_tokens_times_the_two_different_prices(world):
    before = len(world.sites.usage)
    world.theodore("acme.1", "research", "Cost Counters", "--tenant", "acme")
    calls = kind(world.trace("Cost Counters"), "ai")
    told = [(u["prompt_tokens"], u["completion_tokens"]) for u in world.sites.usage[before:]]
    seen = [
        (int(c["attributes"][names.GEN_AI_INPUT_TOKENS]), int(c["attributes"][names.GEN_AI_OUTPUT_TOKENS]))
        for c in calls
    ]
    assert sorted(seen) == sorted(told)
    for call, (tokens_in, tokens_out) in zip(calls, seen, strict=True):
        usage = genai_prices.Usage(input_tokens=tokens_in, output_tokens=tokens_out)
        price = genai_prices.calc_price(usage, model_ref=MODEL, provider_id="openrouter")
        assert price.input_price / tokens_in != price.output_price / tokens_out
        assert call["attributes"][names.AI_COST] == pytest.approx(float(price.total_price))
        assert call["name"] == f"chat {MODEL}"


def test_one_service_process_with_one_credential_reports_two_tenants_and_not_a_third(world):
    address_file = world.folder / "address"
    command = ["opentelemetry-instrument", "theodore", "serve", "--port-file", str(address_file)]
    log = (world.folder / "service.log").open("w")
    process = subprocess.Popen(command, env=world.environment("svc-api.1"), stdout=log, stderr=log)
    try:
        wait_for(lambda: address_file.exists() and address_file.read_text(), 60)
        for tenant, company in (("acme", "Blue Sky"), ("globex", "Green Fields"), ("initech", "Foreign Body")):
            url = f"{address_file.read_text()}/research/{urllib.request.quote(company)}"
            headers = {"X-Tenant-ID": tenant, "X-User-ID": "u-1", "X-Correlation-ID": f"c-{tenant}"}
            answer = urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=headers), timeout=120)
            assert json.load(answer)["success"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    for tenant, company in (("acme", "Blue Sky"), ("globex", "Green Fields")):
        spans = world.trace(company)
        assert {r["tenant.id"] for r, _ in spans} == {tenant}
        assert {s["attributes"].get(names.CORRELATION_ID) for _, s in spans} == {f"c-{tenant}"}
        (entry,) = [s for _, s in spans if not s.get("parentSpanId")]
        assert entry["attributes"][names.HTTP_ROUTE] == "/research/{company}"
    everything = json.dumps([world.collector.received(signal) for signal in ("traces", "logs", "metrics")])
    assert "Foreign Body" not in everything
    assert "initech" not in everything


def test_twenty_short_runs_at_once_count_exactly(world):
    def series() -> dict[str, float]:
        return {name: value for name, value in world.collector.prometheus().items() if 'tenant="twenty"' in name}

    def total(name: str) -> float:
        return sum(value for labelled, value in series().items() if labelled.startswith(name + "{"))

    def run(company: str) -> subprocess.CompletedProcess[str]:
        return world.theodore("twenty.1", "research", company, "--tenant", "twenty")

    # The first runs make the series (a second company is compared with the first); from then on none is added.
    calls = len(world.sites.usage)
    run("Twenty First")
    run("Twenty Second")
    counted = ("requests", "companies_researched", "ai_cost", "similarity_calculations", "log_records")
    wait_for(
        lambda: total("theodore_requests_total") == 2 and all(total(f"theodore_{name}_total") for name in counted),
        60,
        series,
    )
    known = series().keys()
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(run, (f"Twenty {number}" for number in range(20))))
    assert {(ended.returncode, ended.stderr.count("theodore-otel:")) for ended in done} == {(0, 0)}
    wait_for(lambda: total("theodore_requests_total") == 22, 60, series)
    used = world.sites.usage[calls:]
    assert len(used) == 44
    assert total("theodore_companies_researched_total") == 22
    assert total("theodore_ai_tokens_total") == sum(call["total_tokens"] for call in used)
    assert total("theodore_ai_cost_total") == pytest.approx(sum(map(price, used)))
    assert series().keys() == known


def price(call: dict[str, int]) -> float:
    usage = genai_prices.Usage(input_tokens=call["prompt_tokens"], output_tokens=call["completion_tokens"])
    return float(genai_prices.calc_price(usage, model_ref=MODEL, provider_id="openrouter").total_price)


def test_planted_secrets_arrive_nowhere(world):
    world.theodore("acme.1", "research", "Failing Secrets", "--api-key", planted.OPTION_API_KEY)
    world.theodore("acme.1", "research", "Refused Secrets", "--api-key", planted.OPTION_API_KEY)
    world.trace("Refused Secrets")
    stored = [path for path in world.collector.home.rglob("*") if path.is_file()] + [world.collector.log]
    content = b"".join(path.read_bytes() for path in stored)
    assert b"[REDACTED]" in content
    for secret in planted.EVERYTHING:
        assert secret.encode() not in content


def test_a_child_process_does_not_report_as_theodore(world):
    done = world.theodore("acme.1", "status", "--packages")
    assert done.returncode == 0
    wait_for(lambda: [s for _, s in world.collector.spans() if s["name"] == "status"])
    services = {r["service.instance.id"] for r, s in world.collector.spans() if s["name"] == "status"}
    assert len(services) == 1
