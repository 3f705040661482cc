"""Real servers on free loopback ports, each with a folder of its own that outlives a kill."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from support.asking import ask
from support.collector import wait_for
from support.ports import free_ports

# Half the CPU of a start, at the cost of a throughput that no test needs.
_QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class Server:
    """A program made from a recipe, its ports by name, and what it wrote under `folder`."""

    port_names: Sequence[str] = ()
    start_seconds = 60

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.ports = dict(zip(self.port_names, free_ports(len(self.port_names)), strict=True))
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.prepare()

    def prepare(self) -> None:
        """Write what it needs before its first start."""

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def at(self, port: str) -> str:
        return f"127.0.0.1:{self.ports[port]}"

    def start(self) -> None:
        """Start it and wait until it answers; the same ports and data after each start."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        wait_for(self._up, self.start_seconds, lambda: self.log.read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal: SIGSTOP makes it hang, SIGCONT go on."""
        if self._process:
            self._process.send_signal(number)

    def _up(self) -> bool:
        assert self._process and self._process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        return self.ready()

    def get(self, port: str, path: str, **parameters: str) -> Any:
        """Return the JSON answer of one of its endpoints."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.at(port)}{path}?{query}", timeout=10) as answer:
            return json.load(answer)


def answers(address: str) -> bool:
    """Return whether a GET of that address is answered with 200."""
    try:
        return urllib.request.urlopen(f"http://{address}", timeout=2).status == 200
    except (OSError, urllib.error.HTTPError):
        return False


class Prometheus(Server):
    """Prometheus 3 that takes OTLP."""

    port_names = ("http",)

    def prepare(self) -> None:
        self.configure([])

    def configure(self, targets: Sequence[str]) -> None:
        """Write the configuration: which addresses it scrapes, twice a second."""
        job = {"job_name": "collector", "static_configs": [{"targets": list(targets)}]}
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": [job],
            "storage": {"tsdb": {"out_of_order_time_window": "30m"}},
        }
        self.file.write_text(json.dumps(configuration))

    @property
    def file(self) -> Path:
        return self.folder / "prometheus.yml"

    def command(self) -> list[str | Path]:
        return [
            self.home / "prometheus",
            f"--config.file={self.file}",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.at('http')}",
            "--web.enable-otlp-receiver",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        return answers(f"{self.at('http')}/-/ready")

    def scrape(self, *targets: str) -> None:
        """Scrape these addresses from now on."""
        self.configure(targets)
        urllib.request.urlopen(urllib.request.Request(f"http://{self.at('http')}/-/reload", method="POST"), timeout=10)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the series of an instant query, each with `metric` and `value`."""
        return self.get("http", "/api/v1/query", query=promql)["data"]["result"]


class Jaeger(Server):
    """Jaeger all-in-one; it keeps traces in memory, so a restart forgets them."""

    _FLAGS: ClassVar[dict[str, str]] = {
        "otlp": "collector.otlp.grpc.host-port",
        "otlp_http": "collector.otlp.http.host-port",
        "query": "query.http-server.host-port",
        "query_grpc": "query.grpc-server.host-port",
        "admin": "admin.http.host-port",
        "grpc": "collector.grpc-server.host-port",
        "http": "collector.http-server.host-port",
        "agent": "http-server.host-port",
        "binary": "processor.jaeger-binary.server-host-port",
        "compact": "processor.jaeger-compact.server-host-port",
        "zipkin": "processor.zipkin-compact.server-host-port",
    }
    port_names = tuple(_FLAGS)

    def command(self) -> list[str | Path]:
        addresses = [f"--{flag}={self.at(port)}" for port, flag in self._FLAGS.items()]
        return [self.home / "all-in-one", *addresses, "--log-level=warn"]

    def ready(self) -> bool:
        return answers(f"{self.at('admin')}/")

    def spans(self, service: str, operation: str) -> list[dict[str, Any]]:
        """Return the spans of that name, each with its resource's tags under `resource`; tags as a dict."""
        traces = self.get("query", "/api/traces", service=service, operation=operation, limit="100")["data"]
        return [
            {
                **span,
                "tags": _tags(span["tags"]),
                "resource": _tags(trace["processes"][span["processID"]]["tags"]),
            }
            for trace in traces
            for span in trace["spans"]
            if span["operationName"] == operation
        ]


def _tags(tags: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in tags}


class Alertmanager(Server):
    """Alertmanager alone, without peers; `configure` it before a test that wants other routes."""

    port_names = ("http",)

    def prepare(self) -> None:
        self.file.write_text(json.dumps({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}))

    def configure(self, text: str) -> None:
        """Let it run by this configuration from now on."""
        self.file.write_text(text)
        urllib.request.urlopen(urllib.request.Request(f"http://{self.at('http')}/-/reload", method="POST"), timeout=10)

    @property
    def file(self) -> Path:
        return self.folder / "alertmanager.yml"

    def command(self) -> list[str | Path]:
        return [
            self.home / "alertmanager",
            f"--config.file={self.file}",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address={self.at('http')}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        return answers(f"{self.at('http')}/-/ready")

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts it holds that have these labels."""
        held = self.get("http", "/api/v2/alerts")
        return [alert for alert in held if labels.items() <= alert["labels"].items()]


class Elasticsearch(Server):
    """One node of Elasticsearch, without security."""

    port_names = ("http", "transport")

    def prepare(self) -> None:
        (self.folder / "config").mkdir()

    def command(self) -> list[str | Path]:
        modules = ["--module-path", self.home / "lib", "--add-modules=jdk.net", "--add-modules=ALL-MODULE-PATH"]
        ports = [str(self.ports[name]) for name in self.port_names]
        main = ["-cp", self.home / "main", "node.EsMain", self.home, self.folder, *ports]
        return ["java", "-Xms768m", "-Xmx768m", *_QUICK_START, *modules, *main]

    def ready(self) -> bool:
        return answers(f"{self.at('http')}/_cluster/health?wait_for_status=yellow&timeout=1s")

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one request and return the JSON answer; an HTTPError notes what the server said."""
        return ask(method, f"http://{self.at('http')}/{path}", body)

    def search(self, index: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the hits, each with `_index` and `_source`; none while there is no such index, or it is being made."""
        try:
            self.send("POST", f"{index}/_refresh?ignore_unavailable=true&allow_no_indices=true")
            found = self.send("POST", f"{index}/_search?ignore_unavailable=true", {"query": query, "size": 1000})
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return []
        return found["hits"]["hits"]


class Kafka(Server):
    """One KRaft node that makes topics when they are written to; at the port `login` it wants USER and PASSWORD."""

    USER, PASSWORD = "collector", "kafka-password-of-the-tests"
    port_names = ("broker", "login", "controller")

    def prepare(self) -> None:
        listeners = {"PLAINTEXT": "broker", "CONTROLLER": "controller", "LOGIN": "login"}
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        login = f'{module} required user_{self.USER}="{self.PASSWORD}";'
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.at('controller')}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://{self.at(port)}" for name, port in listeners.items()),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": login,
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the same broker may register again only when its last session has ended.
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "250",
        }
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        options = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.properties]
        subprocess.run(self._java("kafka.tools.StorageTool", *options), check=True, capture_output=True)

    @property
    def properties(self) -> Path:
        return self.folder / "server.properties"

    def command(self) -> list[str | Path]:
        return self._java("kafka.Kafka", self.properties)

    def _java(self, main: str, *arguments: str | Path) -> list[str | Path]:
        options = ["-Xmx512m", *_QUICK_START, "-Dorg.apache.logging.log4j.level=WARN"]
        return ["java", *options, "-cp", f"{self.home}/lib/*", main, *arguments]

    def ready(self) -> bool:
        # log_level 0: it would tell of every attempt that comes too early.
        admin = AdminClient({"bootstrap.servers": self.at("broker"), "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False
