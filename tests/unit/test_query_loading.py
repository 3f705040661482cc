"""What the collector wrote comes into the local store once, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from support import otlp

from theodore_otel.cli import cli
from theodore_otel.errors import DownError, InputError
from theodore_otel.query import LogQuery
from theodore_otel.query.local import LocalStore, inbox, loader, manifest


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def messages(store: LocalStore) -> list[str]:
    return [record.message for record in store.logs(LogQuery(limit=None))]


def write(store: LocalStore, *texts: str, file: str | None = None) -> Path:
    return otlp.write(store.inbox.parent, "logs", *(otlp.logs(otlp.record(text)) for text in texts), file=file)


def test_each_load_takes_what_is_new(store):
    write(store, "one")
    assert messages(store) == ["one"]
    assert messages(store) == ["one"]
    write(store, "two", "three")
    assert sorted(messages(store)) == ["one", "three", "two"]
    assert store.load().rows == 0


def test_a_line_still_being_written_is_left_for_the_next_load(store):
    path = write(store, "one")
    whole = json.dumps(otlp.logs(otlp.record("two"))) + "\n"
    with path.open("a") as file:
        file.write(whole[:40])
    assert messages(store) == ["one"]
    with path.open("a") as file:
        file.write(whole[40:])
    assert messages(store) == ["one", "two"]
    assert store.load().unreadable == 0


def test_a_rotated_file_is_read_to_its_end_and_deleted(store):
    live = write(store, "one")
    store.load()
    write(store, "two")
    rotated = live.rename(live.with_name("logs-2026-11-24T02-00-00.000.jsonl"))
    write(store, "three")
    assert sorted(messages(store)) == ["one", "three", "two"]
    assert not rotated.exists()
    assert live.exists()


def test_a_rotated_file_that_ends_in_half_a_line_is_still_deleted(store):
    rotated = write(store, "one", file="logs-2026.jsonl")
    with rotated.open("a") as file:
        file.write('{"resourceLogs":[{"reso')
    assert store.load().unreadable == 1
    assert messages(store) == ["one"]
    assert not rotated.exists()


def test_what_follows_half_a_line_of_a_killed_collector_is_found(store):
    path = write(store, "one")
    with path.open("a") as file:
        file.write('{"resourceLogs":[{"resource":{"attri')
    write(store, "two")
    assert messages(store) == ["one", "two"]


def test_a_file_that_took_over_a_known_inode_is_read_from_its_beginning(store):
    path = write(store, "one", "two")
    store.load()
    size = path.stat().st_size
    with path.open("r+") as file:  # the same inode, other content, at least as long
        file.truncate()
        file.write("".join(json.dumps(otlp.logs(otlp.record(f"new {n}"))) + "\n" for n in range(4)))
    assert path.stat().st_size > size
    assert sorted(messages(store)) == ["new 0", "new 1", "new 2", "new 3", "one", "two"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(store):
    path = write(store, "one", "two")
    store.load()
    path.write_text("")
    write(store, "three")
    assert sorted(messages(store)) == ["one", "three", "two"]


@pytest.mark.parametrize(
    "line",
    ["no json", "[1]", "null", '{"resourceLogs": 7}', '{"resourceLogs": [{"scopeLogs": [{"logRecords": [3]}]}]}'],
)
def test_a_line_that_is_no_otlp_is_counted_and_does_not_stop_the_rest(store, line):
    path = write(store, "one")
    with path.open("a") as file:
        file.write(line + "\n")
    write(store, "two")
    assert store.load().unreadable == 1
    assert messages(store) == ["one", "two"]


DEEP = "[" * 100_000 + "]" * 100_000
GARBAGE = {
    "an infinite number": b"Infinity",
    "a number that is none": b"NaN",
    "deep nesting": DEEP.encode(),
    "a huge integer": b"[%s]" % (b"9" * 100_000),
    "bad UTF-8": b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"\xff\xfe"}}]}]}]}',
    "cut off": b'{"resourceLogs":[{"scopeLogs":[{"logRe',
    "zeros": b"\0" * 100,
    "beginnings without an end": b'{"resourceLogs":[' * 300_000,
    "another signal": b'{"resourceSpans":[]}',
    "a text in the place of records": b'{"resourceLogs":[{"scopeLogs":[{"logRecords":"x"}]}]}',
}


@pytest.mark.case("garbage_in_the_store")
@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_skipped_counted_and_told_once(store, line, monkeypatch):
    path = write(store, "one")
    with path.open("ab") as file:
        file.write(line + b"\n")
    write(store, "two")
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(store.inbox.parent))
    first, second = (CliRunner().invoke(cli, ["observability", "logs", "--format", "json"]) for _ in range(2))
    assert [json.loads(line)["message"] for line in first.stdout.splitlines()] == ["one", "two"]
    assert first.stderr == "1 lines or records from the collector could not be read and were left out\n"
    assert (second.exit_code, second.stdout, second.stderr) == (0, first.stdout, "")


@pytest.mark.case("garbage_in_the_store")
@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999", "9" * 400, '"1e999"', '"x"', "[]", "{}"])
def test_an_odd_number_anywhere_in_a_record_stops_nothing(store, number):
    odd = {**otlp.record("odd"), "severityNumber": "<n>", "observedTimeUnixNano": "<n>", "traceId": "<n>"}
    odd["timeUnixNano"] = "<n>"
    odd["attributes"] = [{"key": kind, "value": {kind: "<n>"}} for kind in ("intValue", "doubleValue", "stringValue")]
    line = json.dumps(otlp.logs(odd, otlp.record("neighbour"))).replace('"<n>"', number)
    path = write(store, "one")
    with path.open("a") as file:
        file.write(line + "\n")
    assert sorted(messages(store)) == ["neighbour", "odd", "one"]


@pytest.mark.case("garbage_in_the_store")
def test_a_record_that_is_none_takes_no_neighbour_in_its_line(store):
    otlp.write(store.inbox.parent, "logs", otlp.logs(otlp.record("one"), 7, None, otlp.record("two")))
    assert store.load().unreadable == 2
    assert messages(store) == ["one", "two"]


@pytest.mark.case("garbage_in_the_store")
def test_a_line_and_a_record_that_are_too_long_are_skipped(store, monkeypatch):
    monkeypatch.setattr(inbox, "_LONGEST_LINE", 20_000)
    monkeypatch.setattr(loader, "_LONGEST_ROW", 5_000)
    write(store, "one", "x" * 100_000, "y" * 10_000, "two")
    assert store.load().unreadable == 2
    assert messages(store) == ["one", "two"]


@pytest.mark.case("garbage_in_the_store")
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_in_the_inbox_is_left_out_and_told_once(store, make):
    write(store, "one")
    odd = store.inbox / "logs-2026.jsonl"
    make(odd)
    told = []
    asking = LocalStore(store.inbox.parent, on_load=told.append)
    assert messages(asking) == messages(asking) == ["one"]
    assert [each.skipped for each in told] == [(odd,), (odd,)]


def _junk(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def _gap(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)
    path.write_bytes(whole)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE = {
    "junk": _junk,
    "zeros in the middle": _gap,
    "cut off": lambda path: os.truncate(path, 100),
    "a pipe": _pipe,
    "gone": Path.unlink,
}


@pytest.mark.case("junk_in_the_store")
@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_of_the_store_is_put_aside_and_told_once(store, spoil, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(store.inbox.parent))
    write(store, *(f"lost {n} {os.urandom(300).hex()}" for n in range(50)))
    store.load()
    (spoilt,) = store.store.glob("logs/*/*.parquet")
    write(store, "kept")
    store.load()
    spoil(spoilt)
    first, second = (CliRunner().invoke(cli, ["observability", "logs", "--format", "json"]) for _ in range(2))
    for answer in (first, second):
        assert (answer.exit_code, [json.loads(line)["message"] for line in answer.stdout.splitlines()]) == (0, ["kept"])
    kept = store.store / "damaged" / spoilt.name
    where = f"it is kept as {kept}" if kept.exists() else "it is gone"
    assert first.stderr == f"a damaged file of the local store was left out, 50 records with it; {where}\n"
    assert second.stderr == ""
    assert kept.exists() == (spoil is not Path.unlink)
    assert CliRunner().invoke(cli, ["observability", "status"]).exit_code == 3


@pytest.mark.case("junk_in_the_store")
def test_a_damaged_file_does_not_stop_compaction(store):
    for number in range(7):
        write(store, str(number))
        store.load()
    _junk(next(store.store.glob("logs/*/*.parquet")))
    write(store, "last")
    assert len(messages(store)) == 7


@pytest.mark.case("junk_in_the_store")
@pytest.mark.parametrize("name", ["manifest.json", "writer.lock", "readers.lock"])
def test_a_pipe_in_the_place_of_a_file_of_the_store_is_told(store, name):
    store.store.mkdir(parents=True)
    os.mkfifo(store.store / name)
    with pytest.raises(DownError, match=f"expected a regular file.*{name}"):
        messages(store)


def test_odd_values_neither_stop_the_load_nor_get_lost(store):
    odd = otlp.record("nul \0 and half a pair \ud800", attributes={"big": 2**70, "list": ["a", 1, True], "": "x"})
    odd["severityNumber"] = 0
    odd["attributes"].append({"key": "not", "value": {"doubleValue": "NaN"}})
    odd["attributes"].append({"key": "big", "value": {"intValue": "1"}})
    odd["timeUnixNano"] = str(2**64 - 1)
    write(store, "one")
    otlp.write(store.inbox.parent, "logs", otlp.logs(odd))
    (_, found) = sorted(store.logs(LogQuery()), key=lambda record: record.message, reverse=True)
    assert found.message == "nul \0 and half a pair ?"
    assert found.attributes == {"big": 1, "list": ["a", 1, True], "": "x", "not": "nan"}
    assert found.level == "INFO"
    assert abs(found.time - time.time_ns()) < 60 * otlp.SECOND


def test_nanoseconds_are_kept(store):
    moment = time.time_ns() // 1000 * 1000 + 7
    otlp.write(store.inbox.parent, "logs", otlp.logs(otlp.record(time=moment)))
    assert store.logs(LogQuery())[0].time == moment


def test_files_are_foldered_by_day_and_a_wrong_clock_makes_no_folder(store):
    now = time.time_ns()
    moments = [now, now - 24 * otlp.HOUR, 1, now + 9000 * 24 * otlp.HOUR]
    otlp.write(store.inbox.parent, "logs", otlp.logs(*(otlp.record(time=moment) for moment in moments)))
    LocalStore(store.inbox.parent, keep=timedelta(days=40_000)).load()
    days = {path.parent.name for path in store.store.glob("logs/*/*.parquet")}
    today, yesterday = (time.strftime("%Y-%m-%d", time.gmtime(t / 1e9)) for t in moments[:2])
    assert days == {today, yesterday}


def test_many_small_files_become_one(store):
    for number in range(20):
        write(store, str(number))
        store.load()
    assert len(list(store.store.glob("logs/*/*.parquet"))) < 10
    assert sorted(messages(store), key=int) == [str(n) for n in range(20)]


def test_old_files_go_and_the_age_is_remembered(store):
    home = store.inbox.parent
    otlp.write(home, "logs", otlp.logs(otlp.record("old", time=time.time_ns() - 3 * 24 * otlp.HOUR)))
    write(store, "new")
    assert messages(store) == ["old", "new"]
    LocalStore(home, keep=timedelta(days=2)).load()
    assert messages(store) == ["new"]
    otlp.write(home, "logs", otlp.logs(otlp.record("old", time=time.time_ns() - 3 * 24 * otlp.HOUR)))
    assert messages(LocalStore(home)) == ["new"]


def test_the_oldest_files_go_when_the_store_is_too_big(store):
    home = store.inbox.parent
    for day in (2, 1, 0):
        otlp.write(home, "logs", otlp.logs(otlp.record(str(day), time=time.time_ns() - day * 24 * otlp.HOUR)))
    store.load()
    sizes = [path.stat().st_size for path in store.store.glob("logs/*/*.parquet")]
    LocalStore(home, size=sum(sizes) - 1).load()
    assert messages(store) == ["1", "0"]


def test_nothing_is_deleted_under_a_reader(store):
    from theodore_otel.query.local import folder

    write(store, "one")
    store.load()
    with folder.reading(store.store) as state:
        held = store.store / state.increments[0].path
        LocalStore(store.inbox.parent, size=0).load()
        assert duckdb.sql(f"SELECT message FROM '{held}'").fetchall() == [("one",)]
    store.load()
    assert not held.exists()


def test_others_may_ask_while_one_loads(store):
    write(store, *map(str, range(50)))
    ask = (
        "import sys; from pathlib import Path; from theodore_otel.query import LogQuery;"
        "from theodore_otel.query.local import LocalStore;"
        "print(len(LocalStore(Path(sys.argv[1])).logs(LogQuery(limit=None))))"
    )
    askers = [
        subprocess.Popen([sys.executable, "-c", ask, store.inbox.parent], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert [asker.communicate()[0].strip() for asker in askers] == [b"50"] * 4


STATE = {"version": 2, "increments": [], "consumed": {}, "forgotten": {}, "unreadable": 0, "keep": 1.0, "size": 1}
INCREMENT = {"table": "logs", "day": "x", "path": "x", "rows": 1, "bytes": 1, "oldest": 1, "newest": 1}


@pytest.mark.parametrize(
    "text",
    ["{", '{"version": 1}', "[]", DEEP, "\0"]
    + [json.dumps({**STATE, key: odd}) for key in STATE for odd in (None, "x", [7], {"x": []}) if key != "version"]
    + [json.dumps({**STATE, "increments": [{**INCREMENT, key: []}]}) for key in INCREMENT],
)
def test_a_damaged_manifest_is_said(store, text):
    store.store.mkdir(parents=True)
    (store.store / manifest.NAME).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is damaged.*remove"):
        store.load()


def test_a_manifest_of_a_later_version_is_said(store):
    store.store.mkdir(parents=True)
    (store.store / manifest.NAME).write_text('{"version": 99}')
    with pytest.raises(InputError, match="version 99"):
        store.load()


# Kills the loader at its n-th change of the file system, before or after it happens.
_KILLED = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from theodore_otel.query.local import LocalStore, loader
loader._STEP_BYTES = 2000
left, after = int(sys.argv[2]), sys.argv[3] == "after"
def watched(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0 and not after: os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **options)
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
    setattr(os, name, call)
for name in ("replace", "unlink", "fsync", "rmdir"): watched(name)
LocalStore(Path(sys.argv[1])).load()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loader_killed_at_any_change_of_the_file_system_loses_and_doubles_nothing(tmp_path, when):
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    kills = 0
    for change in range(1, 200, 3):
        home = tmp_path / str(change)
        store = LocalStore(home)
        write(store, *map(str, range(10)), file="logs-2026-11-24.jsonl")
        write(store, *map(str, range(10, 20)))
        for start in range(7):  # enough small files for the load below to compact
            otlp.write(home, "traces", otlp.traces(otlp.span(f"span {start}")))
            store.load()
        write(store, *map(str, range(20, 30)))
        write(store, *map(str, range(30, 40)), file="logs-2026-11-25.jsonl")
        otlp.write(home, "traces", otlp.traces(otlp.span("last")))
        code = subprocess.run([sys.executable, script, home, str(change), when]).returncode
        assert sorted(messages(store), key=int) == [str(n) for n in range(40)]
        assert sum(i.rows for i in manifest.read(store.store).increments if i.table == "spans") == 8
        named = {store.store / increment.path for increment in manifest.read(store.store).increments}
        assert set(store.store.glob("*/*/*.parquet")) == named
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 10


def test_a_loader_killed_again_and_again_while_the_collector_writes_loses_and_doubles_nothing(store):
    home, written = store.inbox.parent, 0
    load = "import sys; from pathlib import Path; from theodore_otel.query.local import LocalStore;"
    load += "store = LocalStore(Path(sys.argv[1]))\nwhile True: store.load()"
    for round_ in range(5):
        loading = subprocess.Popen([sys.executable, "-c", load, home])
        until = time.monotonic() + 0.5 + round_ * 0.13
        while time.monotonic() < until:
            path = write(store, *(str(written + n) for n in range(10)))
            written += 10
            if path.stat().st_size > 20_000:
                path.rename(path.with_name(f"logs-{written:09}.jsonl"))
            time.sleep(0.002)
        os.kill(loading.pid, signal.SIGKILL)
        loading.wait()
    assert written > 100
    assert sorted(map(int, messages(store))) == list(range(written))
