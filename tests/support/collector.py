"""The real collector with a rendered configuration on free ports, and short forms of the telemetry sent to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.ports import free_ports
from theodore_otel.config.loader import load_layers
from theodore_otel.config.merge import merge
from theodore_otel.config.source import parse
from theodore_otel.otelcol import credentials, find, secrets
from theodore_otel.render import render


@dataclass
class Span:
    """A span in short form."""

    name: str = "work"
    attributes: Mapping[str, Any] | None = None
    trace: bytes = b""
    kind: int = 1
    error: bool = False
    seconds: float = 0.01
    ended_ago: float = 0


def beside_an_error(name: str) -> list[Span]:
    """Return a span that is kept when its trace is decided on, and the failed one for which it is."""
    trace = os.urandom(16)
    return [Span(name, trace=trace), Span(f"{name}: why", trace=trace, error=True)]


class Client:
    """Sends OTLP to a collector whose `grpc` and `http` ports are known, with the tokens of credentials by name."""

    def __init__(self, ports: Mapping[str, int], tokens: Mapping[str, str]) -> None:
        self.ports = dict(ports)
        self.tokens = dict(tokens)

    def authorization(self, credential: str) -> str:
        """Return the header value of a credential; of one that is not known, with a wrong token."""
        token = self.tokens.get(credential, "wrong")
        return "Basic " + base64.b64encode(f"{credential}:{token}".encode()).decode()

    def post(
        self,
        signal: str,
        body: bytes,
        credential: str | None,
        headers: Sequence[tuple[str, str]] = (),
        kind: str = "application/x-protobuf",
    ) -> int:
        """Send one OTLP request as a credential, with more headers when they are given, and return the HTTP status."""
        own = [("Authorization", self.authorization(credential))] if credential else []
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=60)
        connection.putrequest("POST", f"/v1/{signal}")
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), *own, *headers]:
            connection.putheader(name, value)
        connection.endheaders(body)
        status = connection.getresponse().status
        connection.close()
        return status

    def call(
        self, signal: str, body: bytes, credential: str | None, metadata: Sequence[tuple[str, str]] = ()
    ) -> grpc.StatusCode:
        """Send one OTLP request over gRPC and return the status code."""
        own = [("authorization", self.authorization(credential))] if credential else []
        kind, service = {"traces": ("trace", "Trace"), "logs": ("logs", "Logs"), "metrics": ("metrics", "Metrics")}[
            signal
        ]
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            path = f"/opentelemetry.proto.collector.{kind}.v1.{service}Service/Export"
            # Bytes as they are, for what the generated messages would not write.
            method = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
            try:
                method(body, metadata=[*own, *metadata], timeout=60)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    def send_spans(
        self, spans: Sequence[Span], credential: str | None, resource: Mapping[str, Any] | None = None
    ) -> int:
        """Send spans in one request."""
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add()
        fill(scope.resource.attributes, {"service.name": "theodore-v2", **(resource or {})})
        now = time.time_ns()
        group = scope.scope_spans.add()
        for span in spans:
            added = group.spans.add(
                trace_id=span.trace or os.urandom(16),
                span_id=os.urandom(8),
                name=span.name,
                kind=span.kind,
                start_time_unix_nano=now - int((span.ended_ago + span.seconds) * 1e9),
                end_time_unix_nano=now - int(span.ended_ago * 1e9),
            )
            added.status.code = 2 if span.error else 0
            fill(added.attributes, span.attributes or {})
        return self.post("traces", request.SerializeToString(), credential)

    def send_logs(
        self,
        records: Sequence[tuple[int, str, Mapping[str, Any]]],
        credential: str | None,
        resource: Mapping[str, Any] | None = None,
    ) -> int:
        """Send log records, each a severity number, a body and attributes, in one request."""
        request = ExportLogsServiceRequest()
        scope = request.resource_logs.add()
        fill(scope.resource.attributes, {"service.name": "theodore-v2", **(resource or {})})
        group = scope.scope_logs.add()
        for severity, body, attributes in records:
            added = group.log_records.add(severity_number=severity, time_unix_nano=time.time_ns())
            added.body.string_value = body
            fill(added.attributes, attributes)
        return self.post("logs", request.SerializeToString(), credential)

    def send_gauge(self, name: str, value: float, attributes: Mapping[str, Any], credential: str | None) -> int:
        """Send one point of a gauge."""
        request = ExportMetricsServiceRequest()
        scope = request.resource_metrics.add()
        fill(scope.resource.attributes, {"service.name": "theodore-v2"})
        metric = scope.scope_metrics.add().metrics.add(name=name)
        point = metric.gauge.data_points.add(as_double=value, time_unix_nano=time.time_ns())
        fill(point.attributes, attributes)
        return self.post("metrics", request.SerializeToString(), credential)


class Collector(Client):
    """A running collector, what can be sent to it, and what came out."""

    def __init__(
        self,
        folder: Path,
        configuration: Mapping[str, Any],
        owners: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        super().__init__(dict(zip(("grpc", "http", "health", "telemetry", "metrics"), free_ports(5), strict=True)), {})
        listen = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.configuration = merge(configuration, {"collector": {"listen": listen}})
        file = self.home / "credentials.htpasswd"
        self.tokens = {made.name: made.token for made in (credentials.add(file, owner) for owner in owners)}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self.config_file = folder / "collector.yaml"
        source = parse(yaml.safe_dump(self.configuration), "test.yaml")
        (rendered,) = render(load_layers(source).config, source.name, ["collector"])
        self.environment = {**os.environ, "THEODORE_OTEL_HOME": str(self.home), **(environment or {})}
        text, more = secrets.resolve(rendered.text, self.environment, source)
        self.environment.update(more)
        self.config_file.write_text(text)
        self.log = folder / "collector.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        binary = find.installed(lambda message: None)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "--config", self.config_file], stdout=log, stderr=log, env=self.environment
            )
        wait_for(self._healthy, 30, lambda: self.log.read_text()[-3000:])

    def stop(self) -> None:
        """Stop it as an operator would; what it holds is written."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait(30)

    def reload(self) -> None:
        """Have it read its configuration again (SIGHUP), and wait until it is ready."""
        read = self.log.stat().st_size
        assert self._process
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: b"Everything is ready" in self.log.read_bytes()[read:], 30, self.said)

    def said(self) -> str:
        """Return the last of what it logged."""
        return self.log.read_text(errors="replace")[-3000:]

    def _healthy(self) -> bool:
        assert self._process and self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.ports['health']}/", timeout=1).status == 200
        except OSError:
            return False

    def received(self, signal: str) -> list[dict[str, Any]]:
        """Return every OTLP request that reached the local destination."""
        return requests(self.home / "otlp", signal)

    def spans(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return every span that arrived as (resource attributes, span)."""
        return spans(self.home / "otlp")

    def logs(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return every log record that arrived as (resource attributes, record)."""
        return logs(self.home / "otlp")

    def prometheus(self, port: str = "metrics") -> dict[str, float]:
        """Return each series of an endpoint by `name{labels}`, without the `job` label."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}/metrics", timeout=5).read().decode()
        rows = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name.replace('job="theodore-v2",', ""): float(value) for name, _, value in rows}


@contextmanager
def running(
    folder: Path,
    configuration: Mapping[str, Any],
    owners: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Collector]:
    """Run a collector for the length of a block, with more variables in its environment when they are given."""
    collector = Collector(folder, configuration, owners, environment)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


def wait_for(condition: Callable[[], Any], seconds: float = 60, otherwise: Callable[[], object] = lambda: "") -> Any:
    """Return the condition's value once it is true; fail with what `otherwise` says."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {otherwise()}")


def requests(folder: Path, signal: str) -> list[dict[str, Any]]:
    """Return every OTLP request that a destination of type file wrote into a folder."""
    files = sorted(folder.glob(f"{signal}*.jsonl"))
    # The last line may be half written.
    return [
        json.loads(line.decode(errors="replace"))
        for file in files
        for line in file.read_bytes().splitlines(True)
        if line.endswith(b"\n")
    ]


def spans(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every span of a folder as (resource attributes, span)."""
    return [
        (plain(group["resource"].get("attributes", [])), {**span, "attributes": plain(span.get("attributes", []))})
        for request in requests(folder, "traces")
        for group in request["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def logs(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every log record of a folder as (resource attributes, record)."""
    return [
        (plain(group["resource"].get("attributes", [])), {**item, "attributes": plain(item.get("attributes", []))})
        for request in requests(folder, "logs")
        for group in request["resourceLogs"]
        for scope in group["scopeLogs"]
        for item in scope["logRecords"]
    ]


def fill(target: Any, attributes: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """Write attributes into a protobuf message's list; pairs may hold a key more than once."""
    for key, value in attributes.items() if isinstance(attributes, Mapping) else attributes:
        set_value(target.add(key=key).value, value)


def set_value(target: Any, value: Any) -> None:
    """Write one value into a protobuf message; None leaves it without any."""
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, list):
        target.array_value.SetInParent()
        for item in value:
            set_value(target.array_value.values.add(), item)
    elif isinstance(value, Mapping):
        target.kvlist_value.SetInParent()
        fill(target.kvlist_value.values, value)
    elif value is not None:
        target.string_value = value


def plain(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return OTLP JSON attributes as a dict."""
    return {item["key"]: next(iter(item["value"].values()), None) for item in attributes}
