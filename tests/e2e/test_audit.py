"""Audit records through the real collector: killed processes, forks, threads; the hashes of what arrives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collector import Collector, wait_for
from support.receiver import environment as clean_environment

BIN = Path(sys.executable).parent
CALLS = 10_000
SECRETS = ("hunter2-correct-horse", "jane.doe@example.com", "4111111111111111", "sk-ant-abcdefghijklmnopqrstuvwxyz")

MANY = """
import sys
from theodore_otel.telemetry.audit import audit
from concurrent.futures import ThreadPoolExecutor
def call(number):
    made = audit("report.export", user_id=f"user-{number % 7}", resource=f"report:{number}", number=number)
    sys.stdout.write(made + "\\n")
    sys.stdout.flush()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(call, range(10_000)))
"""

FEW = """
from theodore_otel.telemetry.audit import audit
audit("login", user_id="alice")
audit(
    "key.rotate", user_id="jane.doe@example.com", resource="https://bob:hunter2-correct-horse@example.com/keys?x=1",
    outcome="denied", api_key="sk-ant-abcdefghijklmnopqrstuvwxyz", card=4111111111111111, amounts=[1, 2.5, None, True],
    note='password="hunter2-correct-horse" \\x02\\x1e of "jane.doe@example.com"',
    nested={"token": "x", "deep": {"n": 1764071067123}}, umlaut="Gr\\u00fc\\u00dfe",
)
audit("login", user_id="bob", resource="4111111111111111", outcome="failure")
"""


class World:
    """A collector and the state folder of the programs that report to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collector = Collector(folder, {"profile": "local"}, ["acme", "globex"])
        self.home = folder / "state"
        # On a busy machine the first request of a process takes longer than the second it usually has.
        (folder / "instrument.json").write_text(json.dumps({"schema": 1, "exit_budget": 30}))

    def environment(self, credential: str = "acme.1", **extra: str) -> dict[str, str]:
        return {
            **clean_environment(f"http://127.0.0.1:{self.collector.ports['http']}"),
            "THEODORE_OTEL_HOME": str(self.home),
            "THEODORE_OTEL_CONFIG": str(self.folder / "instrument.json"),
            "THEODORE_OTEL_CREDENTIAL": f"{credential}:{self.collector.tokens[credential]}",
            **extra,
        }

    def start(self, script: str, credential: str = "acme.1", *, plain: bool = False, **extra: str) -> Any:
        command = [sys.executable, "-c", script]
        return subprocess.Popen(
            command if plain else [str(BIN / "opentelemetry-instrument"), *command],
            env=self.environment(credential, **extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, credential: str = "acme.1", *, plain: bool = False, **extra: str) -> tuple[str, str]:
        process = self.start(script, credential, plain=plain, **extra)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out, err

    def command(self, *arguments: str, credential: str = "acme.1", given: str | None = None) -> Any:
        return subprocess.run(
            [str(BIN / "theodore-otel"), "audit", *arguments],
            env=self.environment(credential),
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def arrived(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(where, each) for where, each in self.collector.logs() if "audit.id" in each["attributes"]]

    def ids(self) -> list[str]:
        return [each["attributes"]["audit.id"] for _, each in self.arrived()]

    def requests(self) -> str:
        return "\n".join(map(json.dumps, self.collector.received("logs")))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.collector.start()
    yield made
    made.collector.stop()


def test_every_call_that_returned_before_a_kill_is_delivered_by_the_next_run_with_its_chain_intact(world):
    process = world.start(MANY)
    returned = [process.stdout.readline().strip() for _ in range(CALLS // 3)]
    os.kill(process.pid, signal.SIGKILL)  # the wrapper has become the program
    returned += process.stdout.read().split("\n")[:-1]
    process.wait(30)
    assert len(set(returned)) >= CALLS // 3
    assert len(returned) < CALLS
    world.run("print('the next run')", "globex.1")
    assert not {
        each
        for where, each in ((w["tenant.id"], i["attributes"]["audit.id"]) for w, i in world.arrived())
        if where == "globex"
    }
    world.run("print('the next run')")
    world.command("flush")
    wait_for(lambda: set(returned) <= set(world.ids()), 60, world.collector.said)
    sequences = sorted({int(each.rpartition("-")[2]) for each in world.ids()})
    assert sequences == list(range(1, len(sequences) + 1))
    for checked in (world.command("verify"), world.command("verify", "-", given=world.requests())):
        assert checked.returncode == 0, checked.stdout
        assert f"{len(sequences)} records of 1 writers" in checked.stdout


def test_the_collector_leaves_the_hash_valid_and_no_secret_arrives(world):
    world.run(FEW)
    wait_for(lambda: len(world.ids()) == 3, 30, world.collector.said)
    checked = world.command("verify", "-", given=world.requests())
    assert checked.returncode == 0, checked.stdout
    journal = "".join(path.read_text() for path in (world.home / "audit").rglob("*.jsonl"))
    for secret in SECRETS:
        assert secret not in journal
        assert secret not in world.requests()
    denied = next(each for _, each in world.arrived() if each["attributes"]["audit.action"] == "key.rotate")
    details = json.loads(denied["attributes"]["audit.context"])
    assert details["nested"] == {"deep": {"n": 1764071067123}, "token": "[REDACTED]"}
    assert details["api_key"] == details["card"] == "[REDACTED]"
    assert details["umlaut"] == "Gr\u00fc\u00dfe"
    assert denied["attributes"]["theodore.category"] == "audit"
    assert denied["severityText"] == "WARN"
    assert denied["body"]["stringValue"].endswith(": denied")
    assert re.fullmatch("[0-9a-f]{32}", details["correlation.id"])
    assert {where["tenant.id"] for where, _ in world.arrived()} == {"acme"}


def test_what_is_changed_on_the_way_is_found(world):
    world.run(FEW)
    wait_for(lambda: len(world.ids()) == 3, 30, world.collector.said)
    for before, after in (("key.rotate", "key.read"), ('"denied"', '"success"')):
        assert before in world.requests()
        checked = world.command("verify", "-", "--format", "json", given=world.requests().replace(before, after))
        assert checked.returncode == 1
        assert [(each["sequence"], each["kind"]) for each in json.loads(checked.stdout)["findings"]] == [(2, "changed")]


def test_a_program_without_an_sdk_writes_its_journal_and_flush_delivers_it_under_its_credential_only(world):
    world.run(FEW, plain=True)
    refused = world.command("flush", credential="globex.1")
    assert "0 audit records delivered" in refused.stdout
    assert "wait for another credential" in refused.stderr
    status = json.loads(world.command("status", "--format", "json").stdout)
    assert [(each["state"], each["waiting"]) for each in status["journals"]] == [("left behind", 3)]
    assert world.command("flush").stdout == "3 audit records delivered\n"
    wait_for(lambda: len(world.ids()) == 3, 30, world.collector.said)
    assert world.command("flush").stdout == "0 audit records delivered\n"
    assert {where["tenant.id"] for where, _ in world.arrived()} == {"acme"}


def test_a_dead_collector_costs_nothing_but_a_line_and_the_next_run_delivers(world):
    world.collector.stop()
    _, err = world.run(FEW)
    assert err.count("theodore-otel:") == 1
    assert "kept: 3 audit records" in err
    assert world.command("flush").returncode == 3
    world.collector.start()
    world.run("print('the next run')")
    wait_for(lambda: len(world.ids()) == 3, 30, world.collector.said)
    assert Counter(world.ids()).most_common(1)[0][1] == 1


def test_forked_children_have_chains_of_their_own(world):
    script = """
import os
from theodore_otel.telemetry.audit import audit
print(audit("parent"))
children = []
for number in range(3):
    child = os.fork()
    if not child:
        audit("child", number=number); audit("child", number=number)
        os._exit(0)
    children.append(child)
for child in children: os.waitpid(child, 0)
print(audit("parent"))
"""
    out, err = world.run(script)
    assert err == ""
    assert world.command("flush").returncode == 0
    # A child that leaves while it sends has its record sent once more.
    wait_for(
        lambda: len(set(world.ids())) == 8,
        30,
        lambda: (sorted(world.ids()), world.command("verify").stdout, world.command("status").stdout),
    )
    first, second = out.split()
    assert (first.rpartition("-")[0], first[-2:], second[-2:]) == (second.rpartition("-")[0], "-1", "-2")
    assert len({each.rpartition("-")[0] for each in world.ids()}) == 4
    assert world.command("verify", "-", given=world.requests()).returncode == 0
    assert world.command("verify").returncode == 0


def test_a_folder_that_cannot_be_written_is_told_loudly_once_and_the_records_are_delivered_all_the_same(world):
    world.home.mkdir()
    (world.home / "audit").write_text("in the way")
    for plain in (False, True):
        _, err = world.run(FEW, plain=plain)
        assert err.count("AUDIT RECORDS ARE NOT WRITTEN TO DISK") == 1
        assert "Traceback" not in err
    wait_for(lambda: len(world.ids()) == 6, 30, world.collector.said)


def test_no_sdk_at_all_still_has_the_record_on_disk(world):
    world.run(FEW, OTEL_SDK_DISABLED="true")
    assert "3 records of 1 writers" in world.command("verify").stdout
    assert world.ids() == []
