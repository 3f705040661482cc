"""A loopback OTLP receiver, and the real `opentelemetry-instrument` run against it."""

from __future__ import annotations

import atexit
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


@dataclass
class Receiver:
    """What arrived, decoded."""

    url: str = ""
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    hang: float = 0.0
    refused: int = 0
    """Requests that were answered with another status than 200."""

    def spans(self) -> list[Any]:
        """Return every span that arrived."""
        found = [r for r in self.requests if isinstance(r, ExportTraceServiceRequest)]
        return [s for r in found for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]

    def logs(self) -> list[Any]:
        """Return every log record that arrived."""
        found = [r for r in self.requests if isinstance(r, ExportLogsServiceRequest)]
        return [s for r in found for rs in r.resource_logs for ss in rs.scope_logs for s in ss.log_records]

    def metrics(self) -> list[Any]:
        """Return every metric that arrived."""
        found = [r for r in self.requests if isinstance(r, ExportMetricsServiceRequest)]
        return [m for r in found for rm in r.resource_metrics for sm in rm.scope_metrics for m in sm.metrics]

    def bodies(self) -> list[str]:
        """Return the texts of every log record."""
        return [record.body.string_value for record in self.logs()]

    def resource(self) -> dict[str, Any]:
        """Return the resource attributes of the first request."""
        request = self.requests[0]
        groups = getattr(request, next(f.name for f in request.DESCRIPTOR.fields))
        return attributes(groups[0].resource)


def attributes(owner: Any) -> dict[str, Any]:
    """Return attributes as a plain dictionary."""
    return {a.key: plain(a.value) for a in owner.attributes}


def plain(value: Any) -> Any:
    """Return the value inside an AnyValue."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def receiving(status: int = 200, hang: float = 0.0) -> Iterator[Receiver]:
    """Run a receiver on a free port; it answers `status` after `hang` seconds."""
    receiver = Receiver(status=status, hang=hang)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if receiver.hang:
                time.sleep(receiver.hang)
            if receiver.status == 200:
                receiver.requests.append(_KINDS[self.path].FromString(body))
                receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
            else:
                receiver.refused += 1
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Run:
    """What one run of a program printed and how it ended."""

    out: bytes
    err: bytes
    code: int


def environment(endpoint: str | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a clean environment for a program under test; its state folder is the test's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "THEODORE_", "PYTHONPATH"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept["THEODORE_OTEL_HOME"] = os.environ.get("THEODORE_OTEL_HOME") or _scratch()
    kept.update({"OTEL_PYTHON_DISTRO": "theodore", "OTEL_PYTHON_CONFIGURATOR": "theodore"})
    if endpoint:
        kept["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    return {**kept, **(extra or {})}


@cache
def _scratch() -> str:
    """Return a state folder for what runs outside pytest, such as benchmarks; it goes with this process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path, *, instrumented: bool, timeout: float = 120) -> Run:
    """Run `python ARGS`, plainly or under the stock wrapper."""
    prefix = [str(Path(sys.executable).parent / "opentelemetry-instrument")] if instrumented else []
    done = subprocess.run([*prefix, *command], env=dict(env), cwd=cwd, capture_output=True, timeout=timeout)
    return Run(done.stdout, done.stderr, done.returncode)


def both(script: str, receiver: Receiver, folder: Path, *args: str, extra: Mapping[str, str] | None = None) -> Run:
    """Run a script plainly and instrumented, require the same bytes and exit code, and return the instrumented run."""
    (folder / "program.py").write_text(script)
    command = [sys.executable, "program.py", *args]
    env = environment(receiver.url, extra)
    without = run(command, env, folder, instrumented=False)
    with_it = run(command, env, folder, instrumented=True)
    plain, seen = (without.out, without.err, without.code), (with_it.out, with_it.err, with_it.code)
    assert seen == plain, f"instrumented {seen} instead of {plain}"
    return with_it
