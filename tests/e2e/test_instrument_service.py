"""A FastAPI service under uvicorn: one trace and one correlation id a request, tenants apart, no doubled spans."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.receiver import Receiver, attributes, environment, receiving

APP = """
import logging
from fastapi import FastAPI
app = FastAPI()

@app.get("/research/{company}")
def research(company: str):
    logging.getLogger("api").warning("research %s", company)
    return {"company": company}
"""

SERVE = """
import os, click, uvicorn
@click.group()
def cli(): pass
@cli.command()
@click.argument("port", type=int)
def serve(port):
    uvicorn.run("app:app", port=port, workers=int(os.environ.get("WORKERS", "1")))
if __name__ == "__main__": cli()
"""


@contextmanager
def _service(
    receiver: Receiver, folder: Path, *, instrumented: bool, own_command: bool, workers: int = 1, app: str = APP
) -> Iterator[tuple[int, list[bytes]]]:
    (folder / "app.py").write_text(app)
    (folder / "serve.py").write_text(SERVE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wrapper = [str(Path(sys.executable).parent / "opentelemetry-instrument")] if instrumented else []
    command = [sys.executable, "serve.py", "serve", str(port)] if own_command else []
    command = command or [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    if workers > 1 and not own_command:
        command += ["--workers", str(workers)]
    process = subprocess.Popen(
        [*wrapper, *command],
        env=environment(receiver.url, {"WORKERS": str(workers), "OTHER": str(port)}),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed: list[bytes] = []
    try:
        _wait(port)
        yield port, printed
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        printed.extend([out, err, str(process.returncode).encode()])


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the service did not start")


def _ask(port: int, path: str, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=named)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read())


@pytest.mark.parametrize("own_command", [False, True])
def test_every_request_is_a_trace_of_its_own_with_its_tenant(tmp_path: Path, own_command: bool) -> None:
    with receiving() as receiver:
        with _service(receiver, tmp_path, instrumented=True, own_command=own_command) as (port, _):
            _ask(port, "/research/a?token=planted", X_Tenant_ID="acme", X_Correlation_ID="one", X_User_ID="ann")
            _ask(port, "/research/b", X_Tenant_ID="globex")
            _ask(port, "/research/c", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        spans = sorted((s for s in receiver.spans() if s.kind == 2), key=lambda span: span.start_time_unix_nano)
        assert [span.name for span in spans] == ["GET /research/{company}"] * 3
        found = [attributes(span) for span in spans]
        assert [f.get("tenant.id") for f in found] == ["acme", "globex", None]
        assert (found[0]["correlation.id"], found[0]["user.id"]) == ("one", "ann")
        assert len({f["correlation.id"] for f in found}) == 3
        assert len({span.trace_id for span in spans}) == 3
        assert spans[2].trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert not spans[0].parent_span_id
        assert "planted" not in str(spans)
        assert not set(found[0]) & {"http.method", "http.target", "http.status_code"}
        logged = {r.body.string_value: r for r in receiver.logs()}
        record = logged["research a"]
        assert record.trace_id == spans[0].trace_id
        assert attributes(record)["correlation.id"] == "one"
        assert attributes(record)["tenant.id"] == "acme"
        assert any("Uvicorn running" in body for body in logged)
        assert not any("planted" in body for body in logged), logged


@pytest.mark.parametrize("own_command", [False, True])
def test_workers_report_as_instances_and_their_supervisor_has_no_span(tmp_path: Path, own_command: bool) -> None:
    with receiving() as receiver:
        with _service(receiver, tmp_path, instrumented=True, own_command=own_command, workers=2) as (port, _):
            deadline = time.monotonic() + 60
            while len(_instances(receiver)) < 2 and time.monotonic() < deadline:
                _ask(port, "/research/a", X_Tenant_ID="acme")
        assert len(_instances(receiver)) == 2
        assert {span.name for span in receiver.spans() if not span.parent_span_id} == {"GET /research/{company}"}


def _instances(receiver: Receiver) -> set[str]:
    traces = [r for r in receiver.requests if hasattr(r, "resource_spans")]
    return {attributes(r.resource_spans[0].resource)["service.instance.id"] for r in traces}


def test_what_the_service_prints_and_its_end_stay(tmp_path: Path) -> None:
    seen = []
    for instrumented in (False, True):
        with receiving() as receiver:
            with _service(receiver, tmp_path, instrumented=instrumented, own_command=False) as (port, printed):
                _ask(port, "/research/a")
            seen.append([re.sub(rb"(127.0.0.1:|process \[)\d+", rb"\1N", text) for text in printed])
    assert seen[0] == seen[1]
    assert b'"GET /research/a HTTP/1.1" 200 OK' in seen[0][0]


HEALTH = """
import logging, urllib.request
from fastapi import FastAPI
app = FastAPI(telemetry={"exclude": lambda scope: scope["path"] == "/own"})

@app.get("/health")
def health():
    logging.getLogger("api").warning("asked how it is")
    return urllib.request.urlopen("http://127.0.0.1:%s/ready" % __import__("os").environ["OTHER"]).status

@app.get("/health/database")
@app.get("/ready")
@app.get("/own")
@app.get("/healthy")
@app.get("/other")
def other():
    return 200

@app.get("/fails")
def fails():
    raise ValueError("on purpose")
"""


def test_health_routes_are_left_out_with_what_they_ask_and_every_answer_has_its_correlation_id(tmp_path: Path) -> None:
    with receiving() as receiver:
        with _service(receiver, tmp_path, instrumented=True, own_command=False, app=HEALTH) as (port, printed):
            ids = []
            for path in ("/health", "/health/database", "/own", "/healthy", "/other?x=1"):
                ids.append(_answered(port, path)["x-correlation-id"])
            assert _answered(port, "/other", X_Correlation_ID="mine")["x-correlation-id"] == "mine"
            assert _answered(port, "/fails", X_Correlation_ID="failed")["x-correlation-id"] == "failed"
        roots = [span for span in receiver.spans() if not span.parent_span_id]
        assert [span.name for span in roots] == ["GET /healthy", "GET /other", "GET /other", "GET /fails"]
        bodies = receiver.bodies()
        (of_the_process,) = {
            attributes(r)["correlation.id"] for r in receiver.logs() if "Started" in r.body.string_value
        }
        assert len({*ids, of_the_process}) == 6
        assert "asked how it is" in bodies  # what the program says itself is kept
        paths = [b.split('"')[1].split()[1] for b in bodies if '"GET' in b]
        assert paths == ["/own", "/healthy", "/other?x=1", "/other", "/fails"]
        assert b'"GET /health HTTP/1.1"' in printed[0]


def _answered(port: int, path: str, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=named)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return {name.lower(): value for name, value in error.headers.items()}
