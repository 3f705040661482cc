"""Whose work it is stays with the work: a thousand tasks, fifty threads and a service under load, exactly compared at
the real collector; and sites that are not Theodore's learn nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import pytest
import yaml
from sample_theodore import standins
from support.collector import Collector, running, wait_for
from support.ports import free_ports
from support.receiver import environment

from theodore_otel.config import load_text
from theodore_otel.render import render

TENANTS = [f"tenant_{n}" for n in range(100)]
TOLD = ("traceparent", "tracestate", "baggage", "x-correlation-id", "x-tenant-id", "x-user-id")
WATCH = yaml.safe_load((Path(__file__).parents[1] / "sample_app/watch.yaml").read_text())

WORKERS = """
import asyncio, logging, sys, threading
from concurrent.futures import ThreadPoolExecutor
import aiohttp, requests
from opentelemetry import trace
from theodore_otel.telemetry.context import correlation_id, tenant, use, user
log, tracer = logging.getLogger("work"), trace.get_tracer("work")
friend, stranger = sys.argv[1:]

def whose(n):
    return {"tenant": f"tenant_{n % 100}", "user": f"user-{n}", "correlation_id": f"c-{n}"}

def step(name, n):
    assert (tenant(), user(), correlation_id()) == tuple(whose(n).values())
    with tracer.start_as_current_span(f"{name} {n}"):
        log.info("%s %s", name, n)

async def part(name, n):
    await asyncio.sleep(n % 7 / 1000)
    step(name, n)

async def task(n, session, few):
    async with use(**whose(n)):
        with tracer.start_as_current_span(f"task {n}"):
            await asyncio.gather(part("first", n), part("second", n))
            await asyncio.to_thread(step, "in a thread", n)
            async with few:
                for address in (friend, stranger):
                    async with session.get(f"{address}/task/{n}") as answer:
                        await answer.read()
            await part("last", n)

def thread(n):
    with use(**whose(n)), tracer.start_as_current_span(f"thread {n}"), ThreadPoolExecutor(1) as pool:
        pool.submit(step, "in a pool", n).result()
        inner = threading.Thread(target=step, args=("in an inner thread", n))
        inner.start(); inner.join()
        for address in (friend, stranger):
            requests.get(f"{address}/thread/{n}")
        step("last", n)

async def main():
    few = asyncio.Semaphore(40)
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(task(n, session, few) for n in range(1000)))

threads = [threading.Thread(target=thread, args=(n,)) for n in range(1000, 1050)]
for each in threads: each.start()
asyncio.run(main())
for each in threads: each.join()
assert tenant() is None
"""

APP = """
import asyncio, logging, time
from fastapi import FastAPI
app = FastAPI(telemetry={"operation_spans": False})
log = logging.getLogger("api")

@app.get("/later/{n}")
async def later(n: int):
    log.info("before %s", n)
    await asyncio.sleep(n % 7 / 1000)
    await asyncio.gather(*(asyncio.to_thread(log.info, "%s %s", word, n) for word in ("left", "right")))
    return n

@app.get("/plainly/{n}")
def plainly(n: int):
    log.info("before %s", n)
    time.sleep(n % 7 / 1000)
    log.info("after %s", n)
    return n
"""


class Site(ThreadingHTTPServer):
    """Answers everything and remembers path and headers."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    configuration = {
        "profile": "local",
        "tenants": {"services": {"api": {"may_report": TENANTS}}},
        "instrument": {**WATCH, "exit_budget": "60s"},
    }
    with running(tmp_path, configuration, ["svc-api"]) as started:
        yield started


def _environment(collector: Collector, folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a Theodore that believes `localhost`, and 127.0.0.1 is a third party to."""
    (settings,) = render(load_text(yaml.safe_dump(collector.configuration), "t"), "t", ["instrument"])
    file = folder / "instrument.json"
    file.write_text(json.dumps({**json.loads(settings.text), "propagate_to": ["localhost"]}))
    own = {
        "THEODORE_OTEL_CONFIG": str(file),
        "THEODORE_OTEL_CREDENTIAL": f"svc-api.1:{collector.tokens['svc-api.1']}",
        "THEODORE_DATA": str(folder / "data"),
        "THEODORE_OTEL_HOME": str(folder / "theodore"),
    }
    return environment(None, {**own, **(more or {})})


def _spans(collector: Collector) -> Counter[tuple[Any, ...]]:
    return Counter((s["name"], *_owner(r, s)) for r, s in collector.spans())


def _logs(collector: Collector, logger: str) -> Counter[tuple[Any, ...]]:
    found = (
        (r, record)
        for request in collector.received("logs")
        for group in request["resourceLogs"]
        for scope in group["scopeLogs"]
        if scope["scope"].get("name") == logger
        for r, record in [(group["resource"], record) for record in scope["logRecords"]]
    )
    return Counter(
        (record["body"]["stringValue"], *_owner(_plain(r), {**record, "attributes": _plain(record)}))
        for r, record in found
    )


def _plain(owner: Mapping[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values()), None) for item in owner.get("attributes", [])}


def _owner(resource: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[Any, ...]:
    own = item["attributes"]
    return resource.get("tenant.id"), own.get("user.id"), own.get("correlation.id")


def _whose(n: int) -> tuple[str, str, str]:
    return f"tenant_{n % 100}", f"user-{n}", f"c-{n}"


def test_a_thousand_tasks_and_fifty_threads_of_one_process_are_not_mixed(
    collector: Collector, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    addresses = [f"http://{host}:{site.server_port}" for host in ("localhost", "127.0.0.1")]
    command = ["opentelemetry-instrument", sys.executable, "workers.py", *addresses]
    env = _environment(collector, tmp_path)
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")

    said = dict.fromkeys(range(1000), ("first", "second", "in a thread", "last"))
    said |= dict.fromkeys(range(1000, 1050), ("in a pool", "in an inner thread", "last"))
    records = Counter((f"{word} {n}", *_whose(n)) for n, words in said.items() for word in words)
    operations = Counter((f"{'task' if n < 1000 else 'thread'} {n}", *_whose(n)) for n in said)
    calls = Counter(("GET", *_whose(n)) for n in said for _ in addresses)
    wait_for(lambda: _logs(collector, "work").total() >= records.total(), 60, collector.said)
    assert _logs(collector, "work") == records
    wait_for(lambda: _spans(collector).total() >= (records + operations + calls).total(), 60, collector.said)
    assert _spans(collector) == records + operations + calls

    traces = Counter(
        span["attributes"]["correlation.id"] for _, span in collector.spans() if "parentSpanId" not in span
    )
    assert set(traces.values()) == {1}  # one trace for each
    owners: dict[str, set[str]] = {}
    for _, item in [*collector.spans(), *collector.logs()]:
        if item.get("traceId"):
            owners.setdefault(item["traceId"], set()).add(item["attributes"]["correlation.id"])
    assert len(owners) == 1050
    assert all(len(each) == 1 for each in owners.values())

    told = [(path, headers) for path, headers in site.seen if headers["host"].startswith("localhost")]
    assert {headers["x-correlation-id"] == f"c-{path.rpartition('/')[2]}" for path, headers in told} == {True}
    assert {
        f"tenant.id=tenant_{int(path.rpartition('/')[2]) % 100}" in headers["baggage"] for path, headers in told
    } == {True}
    strangers = [headers for _, headers in site.seen if headers["host"].startswith("127.0.0.1")]
    assert (len(told), len(strangers)) == (1050, 1050)
    assert [name for headers in strangers for name in TOLD if name in headers] == []


def test_requests_of_a_service_under_load_are_not_mixed(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (port,) = free_ports(1)
    command = ["opentelemetry-instrument", sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    log = (tmp_path / "service.log").open("wb")
    process = subprocess.Popen(command, env=_environment(collector, tmp_path), cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_for(lambda: b"Uvicorn running" in (tmp_path / "service.log").read_bytes(), 60)
        answers = asyncio.run(_ask_all(f"http://127.0.0.1:{port}"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    assert answers == [(200, f"c-{n}") for n in range(1000)]

    kinds = {"later": ("before", "left", "right"), "plainly": ("before", "after")}
    expected = {n: "later" if n % 2 else "plainly" for n in range(1000)}
    records = Counter((f"{word} {n}", *_whose(n)) for n, kind in expected.items() for word in kinds[kind])
    wait_for(lambda: _logs(collector, "api").total() >= records.total(), 60, collector.said)
    assert _logs(collector, "api") == records
    requests = Counter((f"GET /{kind}/{{n}}", *_whose(n)) for n, kind in expected.items())
    wait_for(lambda: _spans(collector).total() >= requests.total(), 60, collector.said)
    assert _spans(collector) == requests


async def _ask_all(address: str) -> list[tuple[int, str]]:
    few = asyncio.Semaphore(200)
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:

        async def ask(n: int) -> tuple[int, str]:
            headers = dict(zip(("X-Tenant-ID", "X-User-ID", "X-Correlation-ID"), _whose(n), strict=True))
            kind = "later" if n % 2 else "plainly"
            async with few, session.get(f"{address}/{kind}/{n}", headers=headers) as answer:
                assert await answer.json() == n
                return answer.status, answer.headers["X-Correlation-ID"]

        return await asyncio.gather(*(ask(n) for n in range(1000)))


def test_sites_and_the_model_api_of_a_research_learn_nothing(collector: Collector, tmp_path: Path) -> None:
    with standins.running(delay=0.01) as sites:
        env = _environment(
            collector,
            tmp_path,
            {
                **sites.environment,
                "CORRELATION_ID": "c-1",
                "BAGGAGE": "tenant.id=tenant_1,user.id=ann",
                "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
        )
        command = ["opentelemetry-instrument", "theodore", "research", "ACME Rockets", "--tenant", "tenant_1"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr.count("theodore-otel:")) == (0, 0), done.stderr
        asked = sites.record
    assert {request["path"].split("/")[1] for request in asked} == {"sites", "api"}
    assert len(asked) > 10
    assert [name for request in asked for name in request["headers"] if name.lower() in TOLD] == []
    assert "c-1" not in json.dumps([request["headers"] for request in asked])
    found = wait_for(lambda: [s for _, s in collector.spans() if s["name"] == "research"], 60, collector.said)
    (command_span,) = [span for span in found if span["parentSpanId"] == "b7ad6b7169203331"]
    assert command_span["traceId"] == "0af7651916cd43dd8448eb211c80319c"  # a parent pipeline's trace continues
    assert {_owner(r, s) for r, s in collector.spans()} == {("tenant_1", "ann", "c-1")}
