"""The endpoint of a process shows what the collector would, under the same names, and never gets in the way."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from support.python_api import WANTED, use

from theodore_otel.conventions.registry import metrics as registry
from theodore_otel.telemetry.config import MetricsConfig
from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.tracing import TracingManager

CONFIG = MetricsConfig(prometheus_enabled=True, prometheus_port=0)


@pytest.fixture
def manager() -> Iterator[MetricsManager]:
    provider = TracerProvider(resource=Resource({"service.name": "theodore-v2"}))
    made = MetricsManager(CONFIG, TracingManager(tracer_provider=provider))
    made.initialize()
    made.initialize()
    assert made.endpoint is not None
    yield made
    made.endpoint.close()


def fetched(manager: MetricsManager) -> dict[str, float]:
    assert manager.endpoint is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{manager.endpoint.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_everything_the_api_records_is_counted_once_as_the_collector_does(manager):
    use(manager)
    found = fetched(manager)

    def series(name: str, labels: dict[str, str]) -> str:
        return (
            name + "{" + ",".join(f'{k}="{v}"' for k, v in sorted({**labels, "service": "theodore-v2"}.items())) + "}"
        )

    wanted = {series(name, labels): float(value) for name, labels, value in WANTED}
    assert {one: found.get(one) for one in wanted} == wanted
    labels = {metric.prometheus: {*metric.labels, "service"} for metric in registry().values()}
    for name in found:
        metric, _, inside = name.partition("{")
        base = next(
            known for known in labels if metric in (known, *(known + end for end in ("_bucket", "_sum", "_count")))
        )
        assert {part.split("=")[0] for part in inside.rstrip("}").split('",')} - {"le"} == labels[base], name
    assert not [name for name in found if "ACME" in name]


def test_it_listens_on_loopback_only(manager):
    assert manager.endpoint._server.server_address[0] == "127.0.0.1"


def test_running_operations_are_shown(manager):
    with manager.track_operation("nightly"):
        assert fetched(manager)['theodore_active_operations{operation="nightly",service="theodore-v2"}'] == 1


def test_a_port_that_is_taken_is_told_in_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = MetricsConfig(prometheus_enabled=True, prometheus_port=port)
        manager = MetricsManager(config, TracingManager(tracer_provider=TracerProvider()))
        manager.initialize()
    assert manager.endpoint is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"theodore-otel: no Prometheus endpoint: cannot listen on 127.0.0.1:{port}: ")


def test_a_process_without_spans_is_told(capsys):
    manager = MetricsManager(CONFIG, TracingManager(tracer_provider=trace.NoOpTracerProvider()))
    manager.initialize()
    assert manager.endpoint is None
    assert "call theodore_otel.configure() before" in capsys.readouterr().err
