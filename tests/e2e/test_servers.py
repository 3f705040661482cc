"""Real servers: each worker reports every request as an instance of its own; output and end stay as they are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.collector import wait_for
from support.ports import free_ports
from support.receiver import Receiver, attributes, environment, receiving, run

APP = """
import logging, os
from fastapi import FastAPI
app = FastAPI(telemetry={"operation_spans": False})

@app.get("/work/{n}")
def work(n: int):
    logging.getLogger("api").warning("work %s", n)
    return os.getpid()
"""

# For servers that speak WSGI: no instrumentation makes its spans, its own spans and records are reported.
PLAIN = """
import logging, os
from opentelemetry import trace
def app(environ, start_response):
    n = environ["PATH_INFO"].rpartition("/")[2]
    with trace.get_tracer("app").start_as_current_span("GET /work/{n}"):
        logging.getLogger("api").warning("work %s", n)
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

STOCK = "opentelemetry-instrument"
WRAPPERS = (STOCK, "theodore-otel run --")


@contextmanager
def serving(receiver: Receiver, folder: Path, *command: str, app: str = APP, wrapper: str = STOCK) -> Iterator[int]:
    """Run a server with one of the applications on a free port until SIGTERM, in a process group of its own."""
    (folder / "app.py").write_text(app)
    (port,) = free_ports(1)
    filled = [part.replace("PORT", str(port)) for part in command]
    program, *options = wrapper.split()
    prefix = [str(Path(sys.executable).parent / program), *options]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", *filled],
            env=environment(receiver.url),
            cwd=folder,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            wait_for(lambda: _answers(port), otherwise=log.read_text)
            yield port
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def ask(port: int, n: int) -> int:
    """Send one request under a tenant and a correlation id of its own, and return the worker's process id."""
    headers = {"X-Tenant-ID": f"tenant_{n}", "X-Correlation-ID": f"c-{n}", "Connection": "close"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/work/{n}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.read())


def by_two_workers(port: int) -> int:
    """Ask until two workers have answered; return how many requests that took."""
    workers: set[int] = set()
    for n in range(2000):
        workers.add(ask(port, n))
        if len(workers) > 1:
            return n + 1
    raise AssertionError("one worker answers all")


def instances(receiver: Receiver, logger: str = "api") -> set[str]:
    return {
        attributes(group.resource)["service.instance.id"]
        for request in receiver.requests
        for group in getattr(request, "resource_logs", ())
        for scope in group.scope_logs
        if scope.scope.name == logger
    }


def assert_all_reported(receiver: Receiver, count: int, *, headers: bool = True) -> None:
    """Every request has its one span and its one record, with its own tenant and correlation id."""
    spans = [span for span in receiver.spans() if span.name == "GET /work/{n}"]
    records = [record for record in receiver.logs() if record.body.string_value.startswith("work ")]
    assert (len(spans), len(records)) == (count, count)
    assert not any(span.parent_span_id for span in spans)
    assert sorted(r.body.string_value for r in records) == sorted(f"work {n}" for n in range(count))
    traces = {span.trace_id: span for span in spans}
    assert len(traces) == count
    for record in records:
        own, n = attributes(record), record.body.string_value.partition(" ")[2]
        span = attributes(traces[record.trace_id])
        if headers:
            assert (own["tenant.id"], own["correlation.id"]) == (f"tenant_{n}", f"c-{n}")
        assert span.get("tenant.id") == own.get("tenant.id")
        assert span["correlation.id"] == own["correlation.id"]


UVICORN = ("uvicorn", "app:app", "--port", "PORT")
GUNICORN = ("gunicorn", "app:app", "-b", "127.0.0.1:PORT", "-w", "2")


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_workers_of_uvicorn(wrapper: str, tmp_path: Path) -> None:
    with receiving() as receiver:
        with serving(receiver, tmp_path, *UVICORN, "--workers", "2", wrapper=wrapper) as port:
            count = by_two_workers(port)
        assert_all_reported(receiver, count)
        assert len(instances(receiver)) == 2
        assert b"theodore-otel" not in (tmp_path / "server.log").read_bytes()


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_uvicorn_reloads_into_a_process_that_reports(wrapper: str, tmp_path: Path) -> None:
    with receiving() as receiver:
        with serving(receiver, tmp_path, *UVICORN, "--reload", wrapper=wrapper) as port:
            before = wait_for(lambda: _asked(port, 0))
            (tmp_path / "app.py").write_text(APP.replace('"work %s"', '"again %s"'))
            wait_for(lambda: _asked(port, 1) not in (None, before))
            ask(port, 2)
        bodies = receiver.bodies()
        assert "work 0" in bodies and "again 2" in bodies
        assert len(instances(receiver)) == 2
        assert {attributes(r)["tenant.id"] for r in receiver.logs() if r.body.string_value == "again 2"} == {"tenant_2"}
        assert not any(span.parent_span_id for span in receiver.spans())


def _asked(port: int, n: int) -> int | None:
    try:
        return ask(port, n)
    except OSError:
        return None


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_wsgi_workers_of_gunicorn(kind: str, preload: bool, tmp_path: Path) -> None:
    more = ("--preload",) if preload else ()
    with receiving() as receiver:
        with serving(receiver, tmp_path, *GUNICORN, "-k", kind, *more, app=PLAIN) as port:
            count = by_two_workers(port)
        assert_all_reported(receiver, count, headers=False)
        assert len(instances(receiver)) == 2
        assert b"theodore-otel" not in (tmp_path / "server.log").read_bytes()


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("kind", ["asgi", "uvicorn_worker.UvicornWorker"])
def test_asgi_workers_of_gunicorn(kind: str, preload: bool, tmp_path: Path) -> None:
    wrapper = WRAPPERS[preload]
    more = ("--preload",) if preload else ()
    with receiving() as receiver:
        with serving(receiver, tmp_path, *GUNICORN, "-k", kind, *more, wrapper=wrapper) as port:
            count = by_two_workers(port)
        assert_all_reported(receiver, count)
        assert len(instances(receiver)) == 2
        assert b"theodore-otel" not in (tmp_path / "server.log").read_bytes()


GEVENT = """
import logging, time
from theodore_otel.telemetry.audit import audit
EARLY
from gevent import monkey
monkey.patch_all()
import gevent, threading
audit("patched")
from theodore_otel.telemetry.context import use
def work(n):
    with use(tenant=f"tenant_{n}"):
        gevent.sleep(n % 7 / 1000)
        logging.warning("work %s", n)
gevent.joinall([gevent.spawn(work, n) for n in range(100)])
threads = [threading.Thread(target=work, args=(n,)) for n in range(100, 120)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("early", ["", "audit('before'); logging.warning('before'); time.sleep(0.3)"])
def test_greenlets_are_not_mixed_and_print_what_they_did(early: str, tmp_path: Path) -> None:
    """Also where our thread runs before gevent patches threads."""
    with receiving() as receiver:
        (tmp_path / "program.py").write_text(GEVENT.replace("EARLY", early))
        command, env = [sys.executable, "program.py"], environment(receiver.url)
        env["THEODORE_OTEL_HOME"] = str(tmp_path / "home")
        plain, ended = (run(command, env, tmp_path, instrumented=observed) for observed in (False, True))
        assert (ended.code, ended.out) == (plain.code, plain.out) == (0, b"")
        assert sorted(ended.err.splitlines()) == sorted(plain.err.splitlines())
        told = {r.body.string_value: attributes(r).get("tenant.id") for r in receiver.logs()}
        audited = [body for body in told if body.startswith("somebody")]
        assert "somebody patched: success" in audited
        told = {body: tenant for body, tenant in told.items() if body not in (*audited, "before")}
        assert told == {f"work {n}": f"tenant_{n}" for n in range(120)}
