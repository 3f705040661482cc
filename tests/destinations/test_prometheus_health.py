"""Health and last good runs in a real Prometheus, and `theodore-otel observability health` that asks it."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner, Result
from destinations.kit import OWNERS, configuration
from support.collector import Collector, Span, running, wait_for
from support.ports import free_ports

from theodore_otel.cli import cli
from theodore_otel.conventions import names

GOOD_RUN = {names.OPERATION_TYPE: "command", names.SUCCESS: True}


@pytest.fixture(scope="module", params=["pushed", "scraped"])
def collector(prometheus, tmp_path_factory, request):
    kind = {"type": "prometheus"}
    if request.param == "pushed":
        kind["endpoint"] = f"http://{prometheus.at('http')}"
    # Names of its own, because both collectors tell the same server.
    targets = [
        {"name": f"{request.param}-ready", "url": f"http://{prometheus.at('http')}/-/ready?{request.param}"},
        {"name": f"{request.param}-gone", "url": f"http://127.0.0.1:{free_ports(1)[0]}/"},
    ]
    wanted = {**configuration(prometheus=kind), "health": {"interval": "1s", "targets": targets}}
    with running(tmp_path_factory.mktemp(request.param), wanted, OWNERS) as started:
        if request.param == "scraped":
            prometheus.scrape(f"127.0.0.1:{started.ports['metrics']}")
        started.kind = request.param
        yield started
        prometheus.scrape()


@pytest.fixture
def ask(collector, tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "theodore-otel.yaml"

    def asked(*arguments: str, **more: object) -> Result:
        file.write_text(yaml.safe_dump({**collector.configuration, **more}))
        return CliRunner(catch_exceptions=False).invoke(
            cli, ["observability", "health", "-c", str(file), "--format", "json", *arguments]
        )

    return asked


def found(result: Result, collector: Collector) -> dict[str, str]:
    return {
        each["target"]: each["state"]
        for each in json.loads(result.stdout)["targets"]
        if each["target"].startswith(("collector", f"{collector.kind}-"))
    }


def test_targets_are_told_from_prometheus(prometheus, collector, ask):
    wanted = {"collector": "up", f"{collector.kind}-ready": "up", f"{collector.kind}-gone": "down"}
    url = f"http://{prometheus.at('http')}"

    def told() -> dict[str, str]:
        return found(ask("--prometheus", url), collector)

    wait_for(lambda: told() == wanted, 30, lambda: (told(), collector.said()))
    result = ask(query={"prometheus": url})
    assert (result.exit_code, found(result, collector)) == (1, wanted)
    # Without a Prometheus it is the local store that is asked, and this one is empty.
    assert found(ask(), collector) == {"collector": "up"}
    series = prometheus.query("theodore_health_up")
    assert {each["metric"]["tenant"] for each in series} == {"_platform"}
    labels = {label for each in series for label in each["metric"]}
    assert labels <= {"__name__", "target", "tenant", "service", "job", "instance", "exported_job"}


def test_the_last_good_run_outlives_runs_that_failed_and_ones_that_are_told_late(prometheus, collector, ask):
    command = f"{collector.kind}-research"

    def send(ended_ago: float, tenant: str = "acme", *, success: bool = True) -> None:
        attributes = {**GOOD_RUN, names.COMMAND: command, names.SUCCESS: success}
        collector.send_spans([Span("research", attributes, error=not success, ended_ago=ended_ago)], f"{tenant}.1")

    def gauge() -> dict[str, str]:
        series = prometheus.query(f'theodore_command_last_success_seconds{{command="{command}"}}')
        return {each["metric"]["tenant"]: each["value"][1] for each in series}

    def ages() -> dict[str, float]:
        runs = json.loads(ask("--prometheus", f"http://{prometheus.at('http')}").stdout)["last_good_runs"]
        return {run["tenant"]: run["age_seconds"] for run in runs if run["command"] == command}

    send(60)
    send(600, "globex")
    wait_for(lambda: gauge().keys() == {"acme", "globex"}, 30, lambda: (gauge(), collector.said()))
    before = gauge()["acme"]
    send(3600)
    send(5, success=False)
    # What is told late shows in the gauge, and not in what is asked.
    wait_for(lambda: gauge()["acme"] != before, 30, gauge)
    assert ages() == {"acme": pytest.approx(60, abs=45), "globex": pytest.approx(600, abs=45)}
    runs = ask("--prometheus", f"http://{prometheus.at('http')}", "--tenant", "globex")
    assert {run["tenant"] for run in json.loads(runs.stdout)["last_good_runs"]} == {"globex"}
