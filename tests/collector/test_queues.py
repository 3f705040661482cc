"""The queues on disk: what waits is told, moved and dropped; a damaged one stops no other destination."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from faults.ledger import Load, tally
from standins.otlp import OtlpHttp
from support.collector import Collector, running, wait_for
from support.fuzzing import rounds

from theodore_otel.config import load_text
from theodore_otel.errors import InputError
from theodore_otel.otelcol import queues
from theodore_otel.otelcol.bolt import DamagedError

NAMES = [f"d{number}" for number in range(8)]


def destination(standin: OtlpHttp, **more: object) -> dict[str, object]:
    return {"type": "otlp", "endpoint": standin.url, "protocol": "http", "signals": ["logs"], **more}


def configuration(standin: OtlpHttp, *names: str) -> dict[str, object]:
    return {"destinations": {name: destination(standin) for name in names}}


def arrived(standin: OtlpHttp) -> int:
    return len(tally("audit", (record["body"] for record in standin.records("logs"))))


@pytest.fixture(scope="module")
def standin() -> Iterator[OtlpHttp]:
    with OtlpHttp({}) as started:
        yield started


@pytest.fixture(scope="module")
def filled(tmp_path_factory, standin) -> tuple[Path, int]:
    """Return a queue folder in which the same records wait for each of the destinations, and how many they are."""
    standin.answer(503)
    folder = tmp_path_factory.mktemp("filled")
    with running(folder, configuration(standin, *NAMES), ["acme"]) as collector:
        load = Load(collector, "audit", 1, batch=20, size=3000)
        with load:
            assert all(load.send() for _ in range(10))
    standin.answer(None)
    return collector.home / "queue", len(load.acknowledged)


@pytest.fixture
def home(filled, tmp_path) -> Path:
    """Return a home of its own with these queues."""
    shutil.copytree(filled[0], tmp_path / "home" / "queue")
    return tmp_path / "home"


def folder(home: Path, standin: OtlpHttp, *names: str) -> queues.Folder:
    config = load_text(yaml.safe_dump(configuration(standin, *names)), "t.yaml")
    return queues.Folder(home / "queue", queues.of(config).files)


def file(home: Path, name: str) -> Path:
    return home / "queue" / queues.file_name(f"otlphttp/{name}.AUDIT", "logs")


def command(home: Path, config: dict[str, object], *words: str) -> subprocess.CompletedProcess[str]:
    (home.parent / "t.yaml").write_text(yaml.safe_dump(config))
    return subprocess.run(
        [sys.executable, "-c", "from theodore_otel.cli import main; main()", *words, "-c", "t.yaml"],
        cwd=home.parent,
        env={**os.environ, "THEODORE_OTEL_HOME": str(home)},
        capture_output=True,
        text=True,
    )


def test_what_waits_is_counted_as_the_collector_counts_it(home, standin, filled):
    for queue in folder(home, standin, *NAMES).list():
        if queue.name.endswith("/audit"):
            assert (queue.state, queue.configured, queue.component) == ("waiting", True, "otlphttp")
            assert queue.counted == queues.count(queue.file)
            assert queue.counted.items == filled[1]
            found, bad = queues.inspect(queue.file)
            assert (found.items, bad) == (filled[1], 0)
            assert found.size == pytest.approx(queue.counted.size, rel=0.01)  # what goes with a request is in the file


@pytest.mark.case("queue_left_behind")
def test_what_a_renamed_destination_leaves_behind_is_told_moved_and_delivered(home, standin, filled):
    config = configuration(standin, "new", *NAMES[1:])
    listed = command(home, config, "queue", "list", "--format", "json")
    assert listed.returncode == 1, listed.stderr
    (left,) = [row for row in json.loads(listed.stdout) if row["state"] == "waiting" and not row["configured"]]
    assert (left["name"], left["items"]) == ("d0/audit", filled[1])
    said: list[str] = []
    queues.check(folder(home, standin, "new"), said.append)
    assert any(
        f"{filled[1]:,} items wait in the queue of d0/audit, which no destination sends" in line for line in said
    )
    doctor = command(home, config, "doctor")
    assert "items wait in the queue of d0/audit" in doctor.stdout + doctor.stderr
    status = command(home, config, "observability", "status")
    assert "theodore-otel queue list" in status.stdout
    for wrong, message in (("d1/audit", "something waits there already"), ("new/logs", "expected a queue for audit")):
        refused = command(home, config, "queue", "move", "d0/audit", wrong)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr
    moved = command(home, config, "queue", "move", "d0/audit", "new/audit")
    assert moved.returncode == 0, moved.stderr
    before = arrived(standin)
    with running(home.parent, configuration(standin, "new"), ["acme"]):
        wait_for(lambda: len(standin.records("logs")) - before >= filled[1])
    assert command(home, configuration(standin, "new", *NAMES[1:]), "queue", "list").returncode == 0


@pytest.mark.case("queue_left_behind")
def test_a_destination_that_takes_no_logs_any_more_leaves_its_queue_behind_and_it_can_be_dropped(home, standin, filled):
    config = {"destinations": {"d0": destination(standin, signals=["traces"])}}
    assert "d0/audit" in command(home, config, "queue", "list").stdout
    kept = command(home, config, "queue", "drop", "d0/audit")
    assert file(home, "d0").exists()
    assert f"Delete {filled[1]:,} items of d0/audit for good?" in kept.stderr
    dropped = command(home, config, "queue", "drop", "d0/audit", "--yes")
    assert dropped.returncode == 0, dropped.stderr
    assert f"deleted {filled[1]:,} items" in dropped.stderr
    assert not file(home, "d0").exists()


def test_a_queue_that_a_collector_holds_is_neither_moved_nor_dropped_nor_shared(home, standin):
    standin.answer(503)
    with running(home.parent, configuration(standin, *NAMES), ["acme"]):
        held = folder(home, standin, *NAMES)
        assert {queue.state for queue in held.list()} == {"in use"}
        with pytest.raises(InputError, match="a collector uses this queue"):
            queues.drop(queues.named(held.list(), "d0/audit"))
        with pytest.raises(InputError, match="another collector uses this queue: end it, or take another folder"):
            queues.check(held, print)
        refused = command(home, configuration(standin, "new"), "queue", "move", "d0/audit", "new/audit")
        assert (refused.returncode, "a collector uses this queue" in refused.stderr) == (2, True)
    standin.answer(None)


def heads(content: bytearray, _: random.Random) -> None:
    content[:8192] = bytes(8192)


def zeros(content: bytearray, _: random.Random) -> None:
    content[:] = bytes(len(content))


def third(content: bytearray, _: random.Random) -> None:
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(2 * len(content) // 3 - len(content) // 3)


def half(content: bytearray, _: random.Random) -> None:
    del content[len(content) // 2 :]


def pages(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(0, len(content), 4096)
        content[place : place + 4096] = chance.randbytes(len(content[place : place + 4096]))


def bytes_(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 40)):
        # Where it hurts: the heads of pages, and what they say of their elements.
        place = chance.randrange(0, len(content), 4096) + chance.randrange(0, 96)
        content[min(place, len(content) - 1)] = chance.randrange(256)


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [heads, zeros, third, half, pages, bytes_]


def damage(place: Path, how: Callable[[bytearray, random.Random], None], chance: random.Random) -> None:
    content = bytearray(place.read_bytes())
    how(content, chance)
    place.write_bytes(content)


@pytest.mark.case("damaged_queue")
def test_damaged_queues_are_set_aside_and_told_and_every_other_destination_starts(home, standin, filled):
    for name, how in zip(NAMES, (heads, zeros, third, half), strict=False):
        damage(file(home, name), how, random.Random(0))
    said: list[str] = []
    held = folder(home, standin, *NAMES)
    assert "is damaged" in command(home, configuration(standin, *NAMES), "doctor").stdout
    queues.check(held, said.append)
    for name in NAMES[:4]:
        (line,) = [line for line in said if f"the queue of {name}/audit is damaged" in line]
        inspected = command(home, {}, "queue", "inspect", line.rpartition(" ")[2])
        assert (inspected.returncode, "damaged: " in inspected.stderr) == (
            1,
            True,
        ) or "No such option" in inspected.stderr
    standin.answer(None)
    before = len(standin.records("logs"))
    with running(home.parent, configuration(standin, *NAMES), ["acme"]) as collector:
        wait_for(lambda: len(standin.records("logs")) - before >= 4 * filled[1], 30, collector.said)
    states = {queue.name: queue.state for queue in held.list() if queue.state == "set aside"}
    assert set(states) == {f"{name}/audit" for name in NAMES[:4]}


@pytest.mark.fuzz
@pytest.mark.case("damaged_queue")
def test_a_collector_starts_whatever_has_become_of_its_queues(filled, standin, tmp_path):
    standin.answer(None)
    for seed in rounds(8):
        chance = random.Random(seed)
        home = tmp_path / str(seed) / "home"
        shutil.copytree(filled[0], home / "queue")
        for name in NAMES:
            damage(file(home, name), chance.choice(DAMAGES), chance)
        queues.check(folder(home, standin, *NAMES), lambda _: None)
        collector = Collector(home.parent, configuration(standin, *NAMES), ["acme"])
        try:
            collector.start()
            assert collector.send_logs([(9, "still here", {})], "acme.1") == 200, seed
        finally:
            collector.kill()


def test_an_odd_file_is_never_more_than_damaged(tmp_path, filled):
    whole = next(place for place in filled[0].iterdir() if "AUDIT" in place.name).read_bytes()
    place = tmp_path / "file"
    for seed in range(300):
        chance = random.Random(seed)
        content = bytearray(chance.choice([whole, whole[:70000], chance.randbytes(9000)]))
        chance.choice(DAMAGES)(content, chance)
        place.write_bytes(content)
        for read in (queues.count, queues.inspect):
            try:
                read(place)
            except DamagedError as error:
                assert "\n" not in str(error)


@pytest.mark.case("queue_disk")
def test_queues_that_the_disk_cannot_hold_are_made_smaller_or_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    config = load_text("destinations: {a: {type: otlp, endpoint: 'a:1', signals: [logs]}}", "t.yaml")
    room = {"free": 100 * 2**30}
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), room))
    said: list[str] = []
    assert queues.fitted(config, said.append) is config
    room["free"] = 2 * 2**30
    smaller = queues.fitted(config, said.append)
    assert smaller.collector.queue.size == 512 * 2**20
    assert said == [
        f"the disk of {tmp_path}/queue cannot hold 2 queues of 2GiB (collector.queue.size): each holds 512MiB at most"
    ]
    room["free"] -= 100 * 2**20
    assert queues.fitted(config, said.append) == smaller
    room["free"] = 100 * 2**20
    with pytest.raises(InputError, match=r"expected room for 2 queues of 64MiB at least, 263MiB, found 100MiB"):
        queues.fitted(config, said.append)
