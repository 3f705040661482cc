"""What cannot be delivered is there exactly once when the real collector comes back, under its own credential only."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.collector import Collector, wait_for
from support.receiver import environment, receiving

BIN = Path(sys.executable).parent
CONFIGURATION = {"profile": "local", "tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}}}
COMMAND = """
import logging, sys
import click
from opentelemetry import trace
@click.command()
@click.argument("name")
def work(name):
    for n in range(5):
        with trace.get_tracer("app").start_as_current_span(f"{name} {n}"):
            logging.getLogger("app").info("%s %d password=planted-secret", name, n)
work()
"""
SERVICE = """
import logging, time
logging.getLogger("app").info("serving")
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
FORKS = """
import logging, os
from opentelemetry import trace
def work(name):
    with trace.get_tracer("app").start_as_current_span(name):
        logging.getLogger("app").info(name)
work("before")
children = []
for n in range(3):
    child = os.fork()
    if not child:
        work(f"child {n}")
        raise SystemExit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
work("after")
"""
POOL = """
import logging, multiprocessing
def work(n):
    logging.getLogger("app").info("worker %d", n)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(n,)) for n in range(3)]
    for each in processes: each.start()
    for each in processes: each.join()
"""
TERMINATED_POOL = """
import logging, multiprocessing, time
def work(n):
    logging.getLogger("app").info("worker %d", n)
    time.sleep(1.5)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, range(2))
"""
LATER = """
import logging, sys
logging.getLogger("app").info("later")
sys.stdin.read()
"""


class World:
    """A collector that is down until it is started, and programs that report to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collector = Collector(folder, CONFIGURATION, ["acme", "globex"])
        self.url = f"http://127.0.0.1:{self.collector.ports['http']}"
        self.spool = folder / "state" / "spool"
        # Nobody else gets the ports while the collector is down; a socket that does not listen refuses connections.
        self._held = [socket.socket() for _ in self.collector.ports]
        for held, port in zip(self._held, self.collector.ports.values(), strict=True):
            held.bind(("127.0.0.1", port))

    def come_back(self) -> None:
        """Start the collector."""
        self.let_go()
        self.collector.start()

    def let_go(self) -> None:
        """Give the ports free."""
        for held in self._held:
            held.close()

    def environment(self, credential: str = "acme.1", **more: str) -> dict[str, str]:
        return environment(
            self.url,
            {
                "THEODORE_OTEL_HOME": str(self.folder / "state"),
                "THEODORE_OTEL_CREDENTIAL": f"{credential}:{self.collector.tokens.get(credential, 'wrong')}",
                **more,
            },
        )

    def start(self, program: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        file = self.folder / f"program{abs(hash(program))}.py"
        file.write_text(program)
        command = [str(BIN / "opentelemetry-instrument"), sys.executable, str(file), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environment(**more), cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, program: str, *arguments: str, **more: str) -> list[str]:
        """Run a program to its end and return what it said on stderr."""
        process = self.start(program, *arguments, **more)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return err.splitlines()

    def tool(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "theodore-otel"), "spool", *arguments]
        return subprocess.run(command, env=self.environment(**more), capture_output=True, text=True, timeout=120)

    def waiting(self, **more: str) -> dict[str, int]:
        rows = json.loads(self.tool("status", "--format", "json", **more).stdout)["waiting"]
        return {row["signal"]: row["records"] for row in rows}

    def bodies(self) -> Counter[str]:
        return Counter(record["body"]["stringValue"] for _, record in self.collector.logs())

    def names(self) -> Counter[str]:
        return Counter(span["name"] for _, span in self.collector.spans())

    def arrived(self, bodies: Counter[str]) -> Counter[str]:
        """Return the texts of all records once there are as many as expected, and the collector wrote all it has."""
        wait_for(lambda: self.bodies().total() >= bodies.total(), 60, self.bodies)
        self.collector.stop()
        return self.bodies()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.let_go()
    made.collector.stop()


def texts(*names: str) -> Counter[str]:
    return Counter(f"{name} {n} password=[REDACTED]" for name in names for n in range(5))


def test_a_flush_delivers_each_record_and_span_once_and_in_the_clear_nothing_was_written(world: World) -> None:
    (line,) = world.run(COMMAND, "one")
    assert "kept: 6 spans, 5 log records (connection refused)" in line
    files = list(world.spool.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not [file for file in files if b"planted-secret" in file.read_bytes()]
    refused = world.tool("flush")
    assert refused.returncode == 3
    assert "kept: 6 spans, 5 log records (connection refused)" in refused.stderr
    world.come_back()
    flushed = world.tool("flush")
    assert (flushed.returncode, flushed.stdout) == (0, "delivered: 6 spans, 5 log records\n"), flushed.stderr
    assert world.waiting() == {}
    assert world.tool("flush").stdout == "delivered: nothing\n"
    assert world.arrived(texts("one")) == texts("one")
    names = world.names()
    assert {names[f"one {n}"] for n in range(5)} == {1}
    assert names.total() == 6
    assert {resource["tenant.id"] for resource, _ in world.collector.logs()} == {"acme"}


def test_the_next_run_delivers_in_the_background_what_earlier_ones_left(world: World) -> None:
    for name in ("one", "two"):
        world.run(COMMAND, name)
    world.come_back()
    process = world.start(LATER)
    wait_for(lambda: not list(world.spool.glob("*.otlp")), 60)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    expected = texts("one", "two") + Counter(["later"])
    assert world.arrived(expected) == expected
    assert {count for name, count in world.names().items() if name.startswith(("one", "two"))} == {1}


def test_twenty_runs_at_once_and_one_flush_deliver_everything_once(world: World) -> None:
    runs = [f"run{n}" for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda name: world.run(COMMAND, name), runs))
    assert all(len(lines) == 1 and "kept: 6 spans, 5 log records" in lines[0] for lines in said), said
    world.come_back()
    flushed = world.tool("flush")
    assert flushed.stdout == "delivered: 120 spans, 100 log records\n", flushed.stderr
    assert world.arrived(texts(*runs)) == texts(*runs)
    assert set(world.names().values()) - {20} == {1}


def test_flushes_and_runs_at_once_deliver_everything_once(world: World) -> None:
    runs = [f"run{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: world.run(COMMAND, name), runs))
    world.come_back()
    with ThreadPoolExecutor(6) as pool:
        flushes = [pool.submit(world.tool, "flush") for _ in range(3)]
        more = [pool.submit(world.run, LATER) for _ in range(3)]
        assert [each.result().returncode for each in flushes] == [0, 0, 0]
        assert [each.result() for each in more] == [[], [], []]
    expected = texts(*runs) + Counter({"later": 3})
    world.tool("flush")
    assert world.arrived(expected) == expected


def test_a_terminated_service_leaves_what_it_has(world: World) -> None:
    process = world.start(SERVICE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert "kept: 1 log record" in err
    world.come_back()
    assert world.tool("flush").returncode == 0
    assert world.arrived(Counter(["serving"])) == Counter(["serving"])


def test_forked_children_leave_what_is_theirs(world: World) -> None:
    world.run(FORKS)
    world.run(POOL)
    world.come_back()
    assert world.tool("flush").returncode == 0
    forked = Counter(["before", "child 0", "child 1", "child 2", "after"])
    expected = forked + Counter(["worker 0", "worker 1", "worker 2"])
    assert world.arrived(expected) == expected
    names = world.names()
    assert {name: names[name] for name in forked} == dict(forked)


def test_workers_of_a_pool_that_are_terminated_leave_what_is_theirs(world: World) -> None:
    world.run(TERMINATED_POOL)
    world.come_back()
    assert world.tool("flush").returncode == 0
    expected = Counter(["worker 0", "worker 1"])
    assert world.arrived(expected) == expected


def test_another_credential_never_delivers(world: World) -> None:
    world.run(COMMAND, "secret")
    world.come_back()
    flushed = world.tool("flush", credential="globex.1")
    assert (flushed.returncode, flushed.stdout) == (0, "delivered: nothing\n")
    assert "left alone: 2 files of other credentials" in flushed.stderr
    assert world.run(COMMAND, "other", credential="globex.1") == []
    assert world.arrived(texts("other")) == texts("other")
    assert {resource["tenant.id"] for resource, _ in world.collector.logs()} == {"globex"}
    assert world.waiting() == {"logs": 5, "traces": 6}


def test_a_credential_that_is_not_accepted_keeps_everything_and_says_so(world: World) -> None:
    world.come_back()
    (line,) = world.run(COMMAND, "one", credential="nobody.1")
    assert "kept: 6 spans, 5 log records (HTTP 401: the collector does not accept the credential)" in line
    flushed = world.tool("flush", credential="nobody.1")
    assert flushed.returncode == 1
    assert "kept: 6 spans, 5 log records (HTTP 401" in flushed.stderr
    assert "Traceback" not in flushed.stderr


def test_killing_who_delivers_loses_nothing_and_doubles_what_was_in_flight_at_most(world: World) -> None:
    runs = [f"run{n}" for n in range(6)]
    for name in runs:
        world.run(COMMAND, name)
    before = len(list(world.spool.glob("*.otlp")))
    world.come_back()
    flushing = subprocess.Popen(
        [str(BIN / "theodore-otel"), "spool", "flush"],
        env=world.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: len(list(world.spool.glob("*.otlp"))) < before, 60)
    flushing.kill()
    flushing.wait()
    assert world.tool("flush").returncode == 0
    found = world.arrived(texts(*runs))
    assert set(found) == set(texts(*runs))
    assert found.total() - texts(*runs).total() in (0, 5)


@pytest.mark.parametrize("answer", [429, 503])
def test_a_collector_that_is_busy_is_tried_again_and_told_to_be_down(world: World, answer: int) -> None:
    with receiving(status=answer) as receiver:
        world.url = receiver.url
        world.run(COMMAND, "one")
        refused = receiver.refused
        flushed = world.tool("flush")
        assert flushed.returncode == 3
        assert f"HTTP {answer}" in flushed.stderr
        assert receiver.refused - refused == 3
        receiver.status = 200
        assert world.tool("flush").stdout == "delivered: 6 spans, 5 log records\n"
        assert Counter(receiver.bodies()) == texts("one")


def test_what_is_refused_for_good_is_deleted_and_said(world: World) -> None:
    with receiving(status=503) as receiver:
        world.url = receiver.url
        world.run(COMMAND, "one")
        receiver.status = 400
        flushed = world.tool("flush")
        assert (flushed.returncode, flushed.stdout) == (1, "delivered: nothing\n")
        assert "deleted: 6 spans, 5 log records, refused for good (HTTP 400 Bad Request)" in flushed.stderr
        assert world.waiting() == {}


def test_damaged_files_are_set_aside_and_told(world: World) -> None:
    with receiving(status=503) as receiver:
        world.url = receiver.url
        world.run(COMMAND, "one")
        (file,) = world.spool.glob("*-logs-*.otlp")
        file.write_bytes(file.read_bytes()[:-7])
        receiver.status = 200
        process = world.start(LATER)
        wait_for(lambda: not list(world.spool.glob("*.otlp")), 60)
        _, err = process.communicate(timeout=60)
        assert err == "theodore-otel: of earlier runs, damaged and set aside: 1 file\n"
        assert receiver.bodies() == ["later"]
        assert world.waiting() == {"damaged": 5}


def test_a_folder_that_cannot_be_written_is_one_line(world: World) -> None:
    (world.folder / "file").write_text("")
    (line,) = world.run(COMMAND, "one", THEODORE_OTEL_HOME=str(world.folder / "file"))
    assert line.endswith("6 spans, 5 log records (connection refused); the spool cannot be used (not a directory)")


def test_a_spool_that_is_switched_off_keeps_nothing(world: World) -> None:
    (world.folder / "off.json").write_text(json.dumps({"schema": 1, "spool": {"enabled": False}}))
    (line,) = world.run(COMMAND, "one", THEODORE_OTEL_CONFIG=str(world.folder / "off.json"))
    assert "not delivered" in line
    assert "kept" not in line
    assert not world.spool.exists()


def test_a_full_spool_says_what_went(world: World) -> None:
    settings = {"schema": 1, "spool": {"size": 2500, "dir": str(world.folder / "small")}}
    (world.folder / "small.json").write_text(json.dumps(settings))
    more: dict[str, Any] = {"THEODORE_OTEL_CONFIG": str(world.folder / "small.json")}
    lines = [line for name in ("one", "two", "three") for line in world.run(COMMAND, name, **more)]
    assert "the spool was full, the oldest were deleted" in lines[-1]
    assert sum(file.stat().st_size for file in (world.folder / "small").iterdir()) <= 4000


def test_records_of_category_audit_are_kept_longest(world: World) -> None:
    settings = {"schema": 1, "spool": {"size": 6000, "dir": str(world.folder / "small")}}
    (world.folder / "small.json").write_text(json.dumps(settings))
    more: dict[str, Any] = {"THEODORE_OTEL_CONFIG": str(world.folder / "small.json")}
    world.run("import logging\nlogging.getLogger('a').info('who', extra={'theodore.category': 'audit'})", **more)
    for n in range(4):
        world.run(COMMAND, f"run{n}", **more)
    assert len(list((world.folder / "small").glob("*-audit.otlp"))) == 1
    world.come_back()
    world.tool("flush", **more)
    wait_for(lambda: world.bodies()["who"] == 1, 60, world.bodies)


def test_the_status_is_a_table_and_clear_asks_first(world: World) -> None:
    assert "nothing waits" in world.tool("status").stderr
    world.run(COMMAND, "one")
    table = world.tool("status").stdout.splitlines()
    assert table[0].split() == ["CREDENTIAL", "OWN", "SIGNAL", "RECORDS", "FILES", "BYTES", "OLDEST"]
    assert [row.split()[1:5] for row in table[1:]] == [["yes", "logs", "5", "1"], ["yes", "traces", "6", "1"]]
    asked = world.tool("clear")
    assert (asked.returncode, world.waiting()) == (130, {"logs": 5, "traces": 6})
    wrong = world.tool("clear", "--credential", "abc", "--yes")
    assert (wrong.returncode, "expected one that something waits under" in wrong.stderr) == (2, True)
    assert world.tool("clear", "--yes").stdout == "deleted: 6 spans, 5 log records\n"
    assert world.waiting() == {}
