"""What `theodore-otel observability health` says, from the local store; tests/destinations has it from a Prometheus."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from support import otlp
from support.ports import free_ports

from theodore_otel.cli import cli
from theodore_otel.conventions import names
from theodore_otel.query import collector
from theodore_otel.query import prometheus as query_prometheus
from theodore_otel.query.health import STALE, TargetHealth, judged

SECOND, MINUTE, HOUR = otlp.SECOND, 60 * otlp.SECOND, otlp.HOUR
Ask = Callable[..., Result]


class Answering(ThreadingHTTPServer):
    """A loopback server with one answer for every path, and what it was asked."""

    daemon_threads = True

    def __init__(self, status: int = 200, body: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = status, body
        self.asked: list[str] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Answering]]:
    servers: list[Answering] = []

    def started(status: int = 200, body: str = "") -> Answering:
        servers.append(Answering(status, body))
        return servers[-1]

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def ask(home: Path, serve: Callable[..., Answering]) -> Ask:
    """Ask while a collector is well, unless its answer is given."""

    def asked(*arguments: str, health: int | None = 200, telemetry: str = "", **configuration: Any) -> Result:
        listening = serve(health).address if health else f"127.0.0.1:{free_ports(1)[0]}"
        listen = {"health": listening, "telemetry": serve(200 if telemetry else 404, telemetry).address}
        Path("theodore-otel.yaml").write_text(yaml.safe_dump({"collector": {"listen": listen}, **configuration}))
        return CliRunner(catch_exceptions=False).invoke(cli, ["observability", "health", *arguments])

    return asked


def gauge(name: str, value: float, at: int, labels: dict[str, str], **resource: str) -> dict[str, Any]:
    point = {"timeUnixNano": str(at), "asDouble": value, "attributes": otlp.attributes(labels)}
    return otlp.metrics({"name": name, "gauge": {"dataPoints": [point]}}, **resource)


def found(target: str, values: str, home: Path, **resource: str) -> int:
    """Write what was found of a target, a digit a minute, the last one now; return when that was."""
    now = time.time_ns()
    times = [now - (len(values) - 1 - i) * MINUTE for i in range(len(values))]
    points = zip(times, values, strict=True)
    otlp.write(
        home,
        "metrics",
        *(
            gauge(names.METRIC_HEALTH_UP, int(v), at, {"target": target}, tenant_id="_platform", **resource)
            for at, v in points
        ),
    )
    return now


def ran(home: Path, command: str, ago: int, tenant: str = "acme", told: int = 0) -> None:
    now = time.time_ns()
    otlp.write(
        home,
        "metrics",
        gauge(names.METRIC_COMMAND_LAST_SUCCESS, (now - ago) / 1e9, now - told, {"command": command}, tenant_id=tenant),
    )


def targets(result: Result) -> dict[str, str]:
    return {each["target"]: each["state"] for each in json.loads(result.stdout)["targets"]}


def test_all_is_well_when_the_collector_answers_and_every_target_is_up(ask, home):
    found("collector", "111", home)
    found("jaeger", "0111", home)
    result = ask()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].split()[:2] == ["collector", "up"]
    assert lines[2].split()[:4] == ["jaeger", "up", "2", "m"]
    assert "No command ran well in the last 7d." in result.stdout


def test_a_target_that_is_down_is_told_with_since_when_and_exit_code_1(ask, home):
    found("jaeger", "11000", home)
    result = ask("--format", "json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["state"] == "degraded"
    (jaeger,) = (each for each in said["targets"] if each["target"] == "jaeger")
    assert jaeger["state"] == "down"
    assert jaeger["since"] < jaeger["checked"]
    assert yaml.safe_load(ask("--format", "yaml").stdout)["targets"][1]["state"] == "down"


def test_a_collector_that_is_down_is_told_by_itself_and_nobody_knows_of_the_others(ask, home):
    found("collector", "1", home)
    found("jaeger", "1", home)
    result = ask(health=None)
    assert result.exit_code == 3
    assert "collector  down" in result.stdout
    assert "nothing answers at http://127.0.0.1:" in result.stdout
    assert "jaeger     unknown" in result.stdout
    assert "was up when it was asked last" in result.stdout


def test_a_collector_that_is_not_ready_is_degraded(ask, home):
    found("jaeger", "1", home)
    result = ask(health=503)
    assert result.exit_code == 1
    assert "runs, but is not ready" in result.stdout


def test_a_collector_that_listens_on_every_address_is_asked_on_the_loopback_one(home, tmp_path):
    port = free_ports(1)[0]
    Path("every.yaml").write_text(yaml.safe_dump({"collector": {"listen": {"health": f"0.0.0.0:{port}"}}}))
    result = CliRunner().invoke(cli, ["observability", "health", "-c", "every.yaml"])
    assert f"nothing answers at http://127.0.0.1:{port}" in result.stdout


def test_a_target_that_was_not_asked_lately_is_unknown(ask, home):
    otlp.write(home, "metrics", gauge(names.METRIC_HEALTH_UP, 1, time.time_ns() - 7 * MINUTE, {"target": "jaeger"}))
    result = ask("--format", "json")
    assert (result.exit_code, targets(result)["jaeger"]) == (1, "unknown")


def test_nothing_known_is_not_well(ask):
    result = ask()
    assert result.exit_code == 1
    assert "No target was asked yet" in result.stderr


def test_last_good_runs_are_told_by_tenant_and_command_and_never_go_backwards(ask, home):
    found("jaeger", "1", home)
    ran(home, "research", 10 * MINUTE, told=9 * MINUTE)
    ran(home, "research", 3 * HOUR)  # it waited in a spool, and was told of after the newer one
    ran(home, "research", 30 * MINUTE, tenant="globex")
    ran(home, "batch", 9 * 24 * HOUR)
    rows = json.loads(ask("--format", "json").stdout)["last_good_runs"]
    assert [(row["tenant"], row["command"], round(row["age_seconds"] / 60)) for row in rows] == [
        ("acme", "research", 10),
        ("globex", "research", 30),
    ]
    assert "research          globex" in ask("--tenant", "globex").stdout
    assert "acme" not in ask("--tenant", "globex").stdout
    longer = json.loads(ask("--since", "30d", "--format", "json").stdout)["last_good_runs"]
    assert [row["command"] for row in longer] == ["batch", "research", "research"]


def test_what_is_known_of_targets_cannot_steer_a_terminal(ask, home):
    found("x\x1b[2J", "1", home)
    assert "\x1b" not in ask().stdout


def test_metrics_show_the_worst_target_and_the_newest_run(home):
    found("jaeger", "0", home)
    found("prometheus", "1", home)
    ran(home, "research", 9 * MINUTE)
    ran(home, "batch", 5 * MINUTE)
    # Of that, nothing was sent by anybody but the two runs.
    asked = json.loads(CliRunner().invoke(cli, ["observability", "status", "--format", "json"]).stdout)
    assert asked["signals"]["metrics"]["last_hour"] == 2
    shown = CliRunner().invoke(cli, ["observability", "metrics", "--format", "json", "--by", "tenant"])
    values = {each["name"]: each["value"] for each in json.loads(shown.stdout)["metrics"]}
    assert values[names.METRIC_HEALTH_UP] == 0
    assert values[names.METRIC_COMMAND_LAST_SUCCESS] == pytest.approx(time.time() - 300, abs=60)
    table = CliRunner().invoke(cli, ["observability", "metrics"]).stdout
    newest = datetime.fromtimestamp(values[names.METRIC_COMMAND_LAST_SUCCESS], UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert re.search(rf"theodore_command_last_success_seconds +acme +{newest}", table)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>", "answers, but not as a Prometheus does"),
        (200, "{}", "answers, but not as a Prometheus does"),
        (422, '{"status": "error", "error": "too many samples"}', "refuses the question: too many samples"),
        (401, "no", "refuses the question: status 401"),
        (None, "", "does not answer: "),
    ],
)
def test_a_prometheus_that_does_not_answer_is_told_and_the_collector_all_the_same(ask, serve, status, body, said):
    address = serve(status, body).address if status else f"127.0.0.1:{free_ports(1)[0]}"
    result = ask("--prometheus", f"http://{address}")
    assert result.exit_code == 1
    assert "collector  up" in result.stdout
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert ask("--prometheus", f"http://{address}", health=None).exit_code == 3


ODD = {
    "nothing": b"",
    "a word a line": b"HTTP/1.0 200 OK\r\n\r\nhello world\nfoo bar\n",
    "HTML": b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>\x1b[2J</html>",
    "a bad status line": b"SSH-2.0-OpenSSH\r\n",
    "a bad status": b"HTTP/1.0 abc OK\r\n\r\n",
    "a status that is none": b"HTTP/1.0 99999 OK\r\n\r\n",
    "odd numbers": b"HTTP/1.0 200 OK\r\n\r\notelcol_process_uptime 1e300\notelcol_receiver_accepted_spans_total NaN\n"
    b'otelcol_exporter_sent_spans_total +Inf\notelcol_exporter_queue_size{exporter="\x1b[2J"} 1e18\n'
    b"otelcol_receiver_refused_spans_total x\n",
    "an uptime below zero": b"HTTP/1.0 200 OK\r\n\r\notelcol_process_uptime -1e17\n",
    "a long line": b"HTTP/1.0 200 OK\r\n\r\notelcol_process_uptime{" + b"a" * 5_000_000 + b"} 1\n",
    "many long names": b"HTTP/1.0 200 OK\r\n\r\n" + (b"otelcol_process_uptime{" + b"a" * 9_000 + b"} 1\n") * 300,
    "deep nesting": b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000,
    "a redirect": b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    "a redirect to a file": b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
    "bad UTF-8": b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe otelcol_\xff 1\n",
}
NUMBERS = [("1", "NaN"), ("1e999", "1"), ("1", "+Inf"), ("NaN", "1"), ("-1", "1"), ("1e300", "1e300"), ("[]", "{}")]
SERIES = '{"data":{"result":[{"metric":{"target":"t"},"values":[[%s,"%s"]],"value":[%s,"%s"]}]}}'
PROMETHEUS = ["{}", "[]", "7", '{"data":[]}', '{"data":{"result":7}}', '{"data":{"result":[7]}}', '{"error":7}']
PROMETHEUS += ['{"data":{"result":[{}]}}', '{"data":{"result":[{"metric":[],"values":[],"value":[]}]}}']
PROMETHEUS += ['{"error":"\\u001b[2J"}', *(SERIES % (*pair, *pair) for pair in NUMBERS)]


@pytest.fixture
def says() -> Iterator[Callable[[bytes], str]]:
    """Serve bytes as they are to whoever connects; return the address."""
    listening: list[socket.socket] = []

    def start(said: bytes, endless: bytes = b"") -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(said)
                        while endless:
                            connection.sendall(endless)
                            time.sleep(0.01)
                except OSError:
                    if listener.fileno() < 0:
                        return

        Thread(target=answer, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for each in listening:
        each.close()


def asked(*words: str) -> Result:
    return CliRunner(catch_exceptions=False).invoke(cli, ["observability", *words])


@pytest.mark.case("who_answers_at_the_telemetry_port")
@pytest.mark.parametrize("said", ODD.values(), ids=ODD.keys())
def test_whoever_answers_in_the_collectors_place_is_no_bug_of_ours(home, says, said):
    address = says(said)
    Path("c.yaml").write_text(yaml.safe_dump({"collector": {"listen": {"health": address, "telemetry": address}}}))
    for words in (("status",), ("health",), ("health", "--prometheus", f"http://{address}")):
        for more in ((), ("--format", "json")):
            result = asked(*words, "-c", "c.yaml", *more)
            assert result.exit_code in (0, 1, 3), result.output
            assert "\x1b" not in result.output
            if more:
                json.loads(result.stdout)
    if b"otelcol_process_uptime" not in said:
        assert "metrics do not answer" in (text := asked("status", "-c", "c.yaml").stdout) or "nothing answers" in text


@pytest.mark.case("who_answers_at_the_telemetry_port")
@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nX: "])
def test_an_answer_without_an_end_is_given_up(home, says, head, monkeypatch):
    monkeypatch.setattr(collector, "_TIMEOUT", 0.5)
    monkeypatch.setattr(query_prometheus, "_TIMEOUT", 0.5)
    address = says(head, b"x")
    Path("c.yaml").write_text(yaml.safe_dump({"collector": {"listen": {"health": address, "telemetry": address}}}))
    assert asked("status", "-c", "c.yaml").exit_code == 3
    result = asked("health", "-c", "c.yaml", "--prometheus", f"http://{address}")
    assert "does not answer: " in result.stderr


@pytest.mark.case("who_answers_at_the_telemetry_port")
@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("body", PROMETHEUS)
def test_whatever_a_prometheus_answers_is_no_bug_of_ours(ask, serve, status, body):
    result = ask("--prometheus", f"http://{serve(status, body).address}", "--format", "json")
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    json.loads(result.stdout)


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "http://user:kept-back@host:9090", "ftp://host"])
def test_an_address_that_cannot_be_asked_is_refused_without_repeating_it(ask, url):
    result = ask("--prometheus", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--prometheus: expected a base URL" in result.stderr
    assert "kept-back" not in result.stderr


def samples(values: str, begin: int = HOUR) -> list[tuple[int, bool]]:
    return [(begin + i * MINUTE, value == "1") for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # One collector; the state began before what was looked at.
        ([samples("111")], TargetHealth("t", True, None, HOUR + 2 * MINUTE)),
        ([samples("1" * 9 + "011")], TargetHealth("t", True, HOUR + 10 * MINUTE, HOUR + 11 * MINUTE)),
        # Of two, one that finds it down decides; since the first of them did.
        (
            [samples("1" * 12), samples("1" * 8 + "0000")],
            TargetHealth("t", False, HOUR + 8 * MINUTE, HOUR + 11 * MINUTE),
        ),
        # Up since the last of them found it up.
        (
            [samples("1" * 6 + "0" + "1" * 5), samples("1" * 8 + "0111")],
            TargetHealth("t", True, HOUR + 9 * MINUTE, HOUR + 11 * MINUTE),
        ),
        # A collector that asks no more does not count.
        ([samples("1" * 12), samples("000000")], TargetHealth("t", True, None, HOUR + 11 * MINUTE)),
    ],
)
def test_targets_are_judged_by_what_the_collectors_that_ask_them_saw(seen, expected):
    assert judged({"t": seen}, HOUR) == [expected]
    assert STALE == 5 * MINUTE


@pytest.mark.case("request_beyond_queue")
def test_a_destination_that_nothing_gets_through_to_is_down_though_the_collector_is_up(ask, home):
    found("jaeger", "1", home)
    told = (
        "otelcol_process_uptime {}\n"
        'otelcol_exporter_queue_size{{exporter="otlp/j",data_type="traces"}} 800\n'
        'otelcol_exporter_sent_spans{{exporter="otlp/j"}} {}\n'
    )
    result = ask("--format", "json", telemetry=told.format(90, 0))
    assert (result.exit_code, targets(result)) == (1, {"collector": "up", "otlp/j": "down", "jaeger": "up"})
    assert "has sent nothing, and 800 bytes wait" in result.stdout
    # It has sent something, or has just been started.
    for well in (told.format(90, 7), told.format(5, 0)):
        assert ask(telemetry=well).exit_code == 0


@pytest.mark.case("full_queue_multiplies")
def test_what_full_queues_left_out_is_told_with_the_exporter(serve):
    told = (
        'otelcol_exporter_sent_log_records{exporter="otlphttp/a"} 7\n'
        'otelcol_exporter_enqueue_failed_log_records{exporter="otlphttp/a"} 20\n'
        'otelcol_exporter_sent_log_records{exporter="file/full.a"} 40\n'
    )
    status = collector.ask(serve().address, serve(200, told).address)
    assert {name: dict(each.dropped) for name, each in status.exporters.items()} == {"otlphttp/a": {"logs": 40}}
