"""Whether the collector and what it is asked to watch are well, as its own metric says."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import yaml
from support.collector import Collector, Span, running, wait_for
from support.ports import free_ports

from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.conventions import names
from theodore_otel.errors import InputError
from theodore_otel.query.collector import ask
from theodore_otel.render import render

UP = "theodore_health_up"


class Watched(ThreadingHTTPServer):
    """Answers each path with the status and body of the moment, and notes the headers it was asked with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: dict[str, dict[str, str]] = {}
        Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Answers(BaseHTTPRequestHandler):
    server: Watched

    def do_GET(self) -> None:
        self.server.asked[self.path] = dict(self.headers)
        status, body = self.server.answers.get(self.path, (404, "nobody here"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def watched():
    server = Watched()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def collector(watched, tmp_path_factory):
    configuration = {
        "version": 1,
        "destinations": {"local": {"type": "local"}, "scrape": {"type": "prometheus"}},
        "tenants": {"services": {"api": {"may_report": ["acme"]}}},
        "health": {
            "interval": "1s",
            "targets": [
                {"name": "plain", "url": watched.url("/plain?token=hidden-word")},
                {"name": "gone", "url": f"http://127.0.0.1:{free_ports(1)[0]}/"},
                {"name": "teapot", "url": watched.url("/teapot"), "status": 418},
                {"name": "theodore", "url": watched.url('/he"alth$1'), "body": '"status": ?"ok"|fine'},
                {"name": "keyed", "url": watched.url("/keyed"), "headers": {"X-Key": {"env": "HEALTH_KEY"}}},
            ],
        },
    }
    environment = {"HEALTH_KEY": "kept-back-word"}
    folder = tmp_path_factory.mktemp("health")
    with running(folder, configuration, ["acme", "globex", "svc-api"], environment) as started:
        yield started


def seen(collector: Collector) -> dict[str, float]:
    """Return how each target is, by its name."""
    return {
        series.partition('target="')[2].partition('"')[0]: value
        for series, value in collector.prometheus().items()
        if series.startswith(UP + "{")
    }


def become(there: Collector, /, **wanted: float) -> None:
    wait_for(lambda: wanted.items() <= seen(there).items(), 30, lambda: (seen(there), there.said()))


def test_every_target_is_up_or_down_by_its_name_alone(collector, watched):
    watched.answers["/plain?token=hidden-word"] = (204, "")
    become(collector, collector=1, plain=1, gone=0)
    (series,) = (name for name in collector.prometheus() if name.startswith(UP) and 'target="plain"' in name)
    labels = {part.partition("=")[0] for part in series.partition("{")[2].rstrip("}").split('",')}
    assert labels == {"target", "tenant", "service", "job"}
    assert 'tenant="_platform"' in series
    assert 'service="theodore-otel"' in series
    watched.answers["/plain?token=hidden-word"] = (503, "")
    become(collector, plain=0, collector=1)
    watched.answers["/plain?token=hidden-word"] = (200, "")
    become(collector, plain=1)


def test_what_the_collector_asks_is_not_counted_as_sent(collector):
    become(collector, gone=0)
    accepted = {n: v for n, v in collector.prometheus("telemetry").items() if "accepted_metric_points" in n}
    assert any('receiver="httpcheck"' in name for name in accepted), accepted
    sent = sum(value for name, value in accepted.items() if 'receiver="otlp"' in name)
    status = ask(*(f"127.0.0.1:{collector.ports[name]}" for name in ("health", "telemetry")))
    assert status.accepted["metric points"] == sent


def test_a_status_and_a_body_can_be_expected(collector, watched):
    for status, up in ((418, 1), (404, 0), (418, 1), (200, 0)):
        watched.answers["/teapot"] = (status, "")
        become(collector, teapot=up)
    path = "/he%22alth$1"
    for answer, up in (
        ((200, '{"status": "ok"'), 1),
        ((200, '{"status": "ill"'), 0),
        ((200, "fine"), 1),
        ((200, ""), 0),
        ((200, "fine"), 1),
        ((500, "fine"), 0),
    ):
        watched.answers[path] = watched.answers['/he"alth$1'] = answer
        become(collector, theodore=up)


def test_a_header_is_sent_and_neither_it_nor_an_address_is_in_what_is_stored(collector, watched):
    watched.answers["/keyed"] = (200, "")
    become(collector, keyed=1)
    assert watched.asked["/keyed"]["X-Key"] == "kept-back-word"
    stored = json.dumps(wait_for(lambda: collector.received("metrics")))
    assert "theodore.health.up" in stored
    for secret in ("kept-back-word", "hidden-word", f":{watched.server_port}"):
        assert secret not in stored
        assert secret not in "\n".join(collector.prometheus())
        assert secret not in collector.log.read_text()
    assert "httpcheck" not in "\n".join(collector.prometheus())


def test_nobody_else_can_say_that_a_target_is_up_or_a_command_ran(collector):
    for credential, tenant in (("acme.1", None), ("svc-api.1", "_platform"), ("svc-api.1", "acme")):
        more = {"tenant.id": tenant} if tenant else {}
        for name in ("theodore.health.up", "theodore_health_up", "theodore.health/up"):
            collector.send_gauge(name, 1, {"target": "gone", **more}, credential)
        collector.send_gauge("theodore.command.last_success", 9e9, {"command": "forged", **more}, credential)
        collector.send_gauge("theodore.active_operations", 7, {"operation": f"mark-{tenant}", **more}, credential)
    marks = ("mark-None", "mark-_platform", "mark-acme")
    wait_for(lambda: all(mark in "\n".join(collector.prometheus()) for mark in marks), otherwise=collector.said)
    assert seen(collector)["gone"] == 0
    assert [name for name in collector.prometheus() if name.startswith(UP) and "_platform" not in name] == []
    assert "forged" not in "\n".join(collector.prometheus())


def last_success(collector: Collector, command: str) -> dict[str, float]:
    """Return when the last good run of a command ended, by tenant."""
    return {
        name.partition('tenant="')[2].partition('"')[0]: value
        for name, value in collector.prometheus().items()
        if name.startswith("theodore_command_last_success_seconds{") and f'command="{command}"' in name
    }


def run(command: str, ended_ago: float = 0, success: bool | None = True, run_id: str = "") -> Span:
    attributes = {names.OPERATION_TYPE: "command", names.COMMAND: command, names.CORRELATION_ID: run_id}
    more = {} if success is None else {names.SUCCESS: success}
    return Span(command, {**attributes, **more}, error=success is False, ended_ago=ended_ago)


def test_the_newest_good_run_of_a_batch_is_the_last_one(collector):
    now = time.time()
    runs = [run("batch", 40, run_id="a"), run("batch", 20, run_id="b"), run("batch", 60, run_id="c")]
    failures = [run("batch", 5, success=False, run_id="d"), run("batch", 3, success=None, run_id="e")]
    later = [run("batch", -7200, run_id="from a clock that is hours ahead")]
    collector.send_spans([*runs, *failures, *later], "acme.1")
    seen = wait_for(lambda: last_success(collector, "batch"), otherwise=collector.said)
    assert seen == {"acme": pytest.approx(now - 20, abs=5)}


def test_runs_that_are_sent_side_by_side_leave_the_newest_and_each_tenant_its_own(collector):
    now = time.time()
    sent = [(30.0, "acme"), (10.0, "acme"), (50.0, "acme"), (90.0, "globex")]
    threads = [
        Thread(target=collector.send_spans, args=([run("nightly", ago, run_id=str(ago))], f"{tenant}.1"))
        for ago, tenant in sent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What arrives within the same moment is one point, the newest; see docs/health.md for what arrives later.
    wait_for(lambda: len(last_success(collector, "nightly")) == 2, otherwise=collector.said)
    points = [
        point["asDouble"]
        for metric in stored(collector, "theodore.command.last_success")
        for point in metric["gauge"]["dataPoints"]
        if {"key": "command", "value": {"stringValue": "nightly"}} in point["attributes"]
    ]
    assert max(points) == pytest.approx(now - 10, abs=5)
    assert last_success(collector, "nightly")["globex"] == pytest.approx(now - 90, abs=5)


def test_a_last_run_has_the_command_for_a_label_and_nothing_else_of_the_span(collector):
    collector.send_spans([run("discover", run_id="secret-id")], "acme.1")
    wait_for(lambda: last_success(collector, "discover"), otherwise=collector.said)
    (series,) = (name for name in collector.prometheus() if "last_success" in name and "discover" in name)
    labels = {part.partition("=")[0] for part in series.partition("{")[2].rstrip("}").split('",')}
    assert labels == {"command", "tenant", "service"}
    assert "secret-id" not in json.dumps(collector.received("metrics"))


def stored(collector: Collector, name: str) -> list[dict[str, Any]]:
    return [
        metric
        for request in collector.received("metrics")
        for group in request["resourceMetrics"]
        for scope in group["scopeMetrics"]
        for metric in scope["metrics"]
        if metric["name"] == name
    ]


@pytest.mark.parametrize("destinations", [{}, {"jaeger": {"type": "jaeger", "endpoint": "127.0.0.1:4"}}])
def test_nothing_is_asked_where_nothing_takes_metrics(destinations):
    assert "httpcheck" not in rendered({"profile": "production", "destinations": destinations})["receivers"]


def test_destinations_whose_addresses_tell_where_are_asked_with_their_key_and_tls():
    es = {"type": "elasticsearch", "endpoints": ["https://es-a:9200/", "https://es-b:9200"], "api_key": {"env": "ES"}}
    es["tls"] = {"ca_file": "/ca.pem"}
    prometheus = {"type": "prometheus", "endpoint": "http://prometheus:9090"}
    made = rendered(
        {
            "collector": {"listen": {"health": "0.0.0.0:13133"}},
            "destinations": {"es": es, "prometheus": prometheus, "scrape": {"type": "prometheus"}},
            "health": {"targets": [{"name": "prometheus", "url": "http://prometheus:9090/-/healthy"}]},
        }
    )
    targets = made["receivers"]["httpcheck"]["targets"]
    question = "_cluster/health?wait_for_status=yellow&timeout=1s"
    assert [target["endpoint"] for target in targets] == [
        "http://127.0.0.1:13133/",
        f"https://es-a:9200/{question}",
        f"https://es-b:9200/{question}",
        "http://prometheus:9090/-/healthy",
    ]
    assert targets[1]["headers"] == {"Authorization": "ApiKey ${env:ES}"}
    assert targets[1]["tls"] == {"ca_file": "/ca.pem"}
    named = "\n".join(made["processors"]["transform/health"]["metric_statements"][1]["statements"])
    assert all(f'"{name}"' in named for name in ("collector", "es-1", "es-2", "prometheus"))


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({"targets": [{"name": "a", "url": "http://user:kept-back@host/"}]}, "without user and password"),
        ({"targets": [{"name": "a", "url": "http://h/1"}, {"name": "a", "url": "http://h/2"}]}, "every name once"),
        ({"targets": [{"name": "a", "url": "http://h/1"}, {"name": "b", "url": "http://h/1"}]}, "every url once"),
        ({"targets": [{"name": "a", "url": "http://h/1", "body": "("}]}, "health.targets.0.body"),
        ({"targets": [{"name": "a", "url": "http://h/1", "timeout": "0s"}]}, "health.targets.0.timeout"),
        ({"interval": "1h"}, "health.interval"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_stands(health, said):
    with pytest.raises(InputError, match=said) as refused:
        rendered({"health": health})
    assert "kept-back" not in str(refused.value)


def rendered(configuration: dict[str, Any]) -> dict[str, Any]:
    source = parse(yaml.safe_dump({"version": 1, **configuration}), "test.yaml")
    (file,) = render(load_layers(source).config, source.name, ["collector"])
    return yaml.safe_load(file.text)
