"""The spool: whole files in order, bounded, of one credential each, delivered once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.collector import wait_for
from support.receiver import receiving

from theodore_otel.config import load_text
from theodore_otel.instrument import courier as courier_module
from theodore_otel.instrument import settings as settings_module
from theodore_otel.instrument.courier import Courier, Report, deliver
from theodore_otel.instrument.ending import notes, summary
from theodore_otel.instrument.pipeline import Limits, Pipeline
from theodore_otel.instrument.sender import Sender
from theodore_otel.journal.spool import DamagedError, Item, Spool, identity, read
from theodore_otel.render import render

OWN = "0123456789abcdef"
OTHER = "fedcba9876543210"


def logs(*texts: str) -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for text in texts:
        records.add().body.string_value = text
    return request.SerializeToString()


def senders(url: str, headers: dict[str, str] | None = None) -> dict[str, Sender]:
    return {signal: Sender(f"{url}/v1/{signal}", headers or {}) for signal in ("traces", "logs", "metrics")}


def fill(spool: Spool, url: str, *texts: str, headers: dict[str, str] | None = None) -> None:
    credential = identity(f"{url}/v1/logs", headers or {})
    for text in texts:
        assert spool.keep(credential, [Item("logs", logs(text), 1)]).reason == ""


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def test_what_is_kept_comes_back_in_order_and_only_for_its_credential(spool):
    spool.keep(OWN, [Item("logs", b"a" * 600_000, 1), Item("logs", b"b" * 600_000, 2)])
    spool.keep(OTHER, [Item("logs", b"c", 3)])
    spool.keep(OWN, [Item("traces", b"d", 4)])
    found = spool.entries(OWN)
    assert [(entry.signal, entry.count, read(entry)[:1]) for entry in found] == [
        ("logs", 1, b"a"),
        ("logs", 2, b"b"),
        ("traces", 4, b"d"),
    ]
    assert [each.count for each in spool.entries(OTHER)] == [3]


def test_files_and_folder_are_the_owners_alone(spool):
    spool.keep(OWN, [Item("logs", b"a", 1)])
    modes = {stat.S_IMODE(file.stat().st_mode) for file in spool.folder().iterdir()}
    assert (stat.S_IMODE(spool.folder().stat().st_mode), modes) == (0o700, {0o600})


def test_small_requests_become_one_that_decodes_to_all_their_records(spool):
    spool.keep(
        OWN, [Item("logs", logs("one"), 1), Item("logs", logs("two"), 1), Item("logs", logs("3"), 1, audit=True)]
    )
    first, second = spool.entries()
    request = ExportLogsServiceRequest.FromString(read(first))
    bodies = [r.body.string_value for g in request.resource_logs for s in g.scope_logs for r in s.log_records]
    assert (bodies, first.count, second.audit) == (["one", "two"], 2, True)


def test_metrics_are_not_joined_because_their_age_decides(spool):
    spool.keep(OWN, [Item("metrics", b"a", 1), Item("metrics", b"b", 1)])
    assert len(spool.entries()) == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"?", lambda b: b"x" + b])
def test_a_damaged_file_is_noticed(spool, damage):
    spool.keep(OWN, [Item("logs", b"content", 1)])
    (entry,) = spool.entries()
    entry.path.write_bytes(damage(entry.path.read_bytes()))
    with pytest.raises(DamagedError):
        read(entry)


def test_the_oldest_goes_first_and_audit_records_last(tmp_path):
    spool = Spool(tmp_path / "spool", size=4_500)
    now = time.time()
    items = [Item("logs", b"x" * 1_000, 1, now - 50, audit=True)]
    items += [Item("traces", b"x" * 1_000, n, now - 40 + n) for n in (1, 2, 3)]
    for item in items:
        spool.keep(OWN, [item])
    kept = spool.keep(OWN, [Item("logs", b"x" * 1_500, 9, now)])
    assert kept.evicted == Counter(traces=3)  # one span of the oldest file, two of the next
    assert [(entry.signal, entry.count) for entry in spool.entries()] == [("logs", 1), ("traces", 3), ("logs", 9)]
    assert sum(entry.size for entry in spool.entries()) <= 4_600


def test_what_is_larger_than_the_spool_is_not_kept_and_told(tmp_path):
    kept = Spool(tmp_path / "spool", size=100).keep(OWN, [Item("logs", b"x" * 200, 5)])
    assert (kept.counts.total(), kept.reason) == (0, "larger than the spool may be")


def test_a_folder_that_cannot_be_made_is_a_reason_and_no_exception(tmp_path):
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool")
    assert spool.keep(OWN, [Item("logs", b"x", 5)]).reason == "not a directory"
    assert not spool.waiting()


def test_a_full_disk_is_a_reason_and_leaves_no_half_file(tmp_path):
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom theodore_otel.journal.spool import Item, Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "kept = Spool(Path(sys.argv[1])).keep('0' * 16, [Item('logs', b'x' * 5000, 5)])\n"
        "print(kept.counts.total(), kept.reason)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "spool"], capture_output=True, text=True, check=True)
    assert done.stdout == "0 file too large\n"
    assert [file.name for file in (tmp_path / "spool").iterdir()] == ["room.lock"]


def test_killing_a_writer_leaves_whole_files_only(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom theodore_otel.journal.spool import Item, Spool\n"
        "spool = Spool(Path(sys.argv[1]))\nprint('go', flush=True)\n"
        "while True: spool.keep('0' * 16, [Item('logs', b'x' * 300_000, 1)])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "spool"], stdout=subprocess.PIPE)
    process.stdout.readline()
    spool = Spool(tmp_path / "spool")
    wait_for(lambda: len(spool.entries()) >= 5)
    process.kill()
    process.wait()
    process.stdout.close()
    assert all(len(read(entry)) == 300_000 for entry in spool.entries())


def test_what_a_killed_writer_left_half_is_removed_after_a_while(spool):
    spool.keep(OWN, [Item("logs", b"a", 1)])
    half = spool.folder() / f".{spool.entries()[0].path.name}.abc"
    half.write_bytes(b"half")
    spool.keep(OWN, [Item("logs", b"a", 1)])
    assert half.exists()  # it may still be written
    os.utime(half, (1, 1))
    spool.keep(OWN, [Item("logs", b"a", 1)])
    assert not half.exists()


def test_delivery_is_in_order_and_empties_the_spool(spool):
    with receiving() as receiver:
        fill(spool, receiver.url, "one", "two", "three")
        report = Report()
        deliver(spool, senders(receiver.url), report)
        assert receiver.bodies() == ["one", "two", "three"]
        assert (report.delivered, spool.entries()) == (Counter(logs=3), [])


@pytest.mark.parametrize("other", [{"authorization": "Basic b"}, {}])
def test_nothing_is_delivered_under_another_credential(spool, other):
    with receiving() as receiver:
        fill(spool, receiver.url, "secret", headers={"authorization": "Basic a"})
        deliver(spool, senders(receiver.url, other), Report())
        assert receiver.bodies() == []
        deliver(spool, senders(receiver.url, {"authorization": "Basic a"}), Report())
        assert receiver.bodies() == ["secret"]


def test_nothing_is_delivered_to_another_endpoint(spool):
    with receiving() as receiver:
        fill(spool, "http://elsewhere:4318", "one")
        deliver(spool, senders(receiver.url), Report())
        assert receiver.bodies() == []


def test_neither_names_nor_contents_give_the_credential_away(spool):
    fill(spool, "http://x:4318", "one", headers={"authorization": "Basic c2VjcmV0OnRva2Vu"})
    for file in spool.folder().iterdir():
        assert b"c2VjcmV0" not in file.name.encode() + file.read_bytes()


@pytest.mark.parametrize("status", [429, 503, 401, 403, 404])
def test_a_refusal_that_may_end_keeps_everything(spool, status):
    with receiving(status=status) as receiver:
        fill(spool, receiver.url, "one", "two")
        report = Report()
        deliver(spool, senders(receiver.url), report)
        assert len(spool.entries()) == 2
        assert receiver.refused == 1
        assert report.stopped.retry is (status in (429, 503))


def test_a_refusal_for_good_is_deleted_and_counted(spool):
    with receiving(status=400) as receiver:
        fill(spool, receiver.url, "one", "two")
        report = Report()
        deliver(spool, senders(receiver.url), report)
        assert (report.refused, report.refusal) == (Counter(logs=2), "HTTP 400 Bad Request")
        assert spool.entries() == []


def test_a_damaged_file_is_set_aside_and_told_and_the_others_arrive(spool):
    with receiving() as receiver:
        fill(spool, receiver.url, "one", "two")
        spool.entries()[0].path.write_bytes(b"?")
        report = Report()
        deliver(spool, senders(receiver.url), report)
        assert receiver.bodies() == ["two"]
        assert report.damaged == 1
        assert [entry.damaged for entry in spool.entries()] == [True]
        deliver(spool, senders(receiver.url), report)
        assert report.damaged == 1


def test_metrics_that_are_too_old_are_deleted_and_counted_and_logs_are_not(spool):
    with receiving() as receiver:
        credential = identity(f"{receiver.url}/v1/logs", {})
        old = time.time() - 3_700
        spool.keep(credential, [Item("metrics", b"", 7, old), Item("logs", logs("old"), 1, old)])
        report = Report()
        deliver(spool, senders(receiver.url), report)
        assert (report.old, receiver.bodies(), receiver.metrics()) == (Counter(metrics=7), ["old"], [])


def test_many_who_deliver_at_once_deliver_once(spool):
    with receiving() as receiver:
        texts = [str(n) for n in range(60)]
        fill(spool, receiver.url, *texts)

        def go(_: int) -> Report:
            report = Report()
            while True:
                report.busy = False
                deliver(spool, senders(receiver.url), report)
                if not report.busy:
                    return report

        with ThreadPoolExecutor(8) as pool:
            reports = list(pool.map(go, range(8)))
        assert receiver.bodies() == texts
        assert sum(report.delivered.total() for report in reports) == 60


def pipeline(url: str, courier: Courier | None, limits: Limits | None = None, audits=None) -> Pipeline:
    def encode(records):
        return logs(*records), len(records)

    return Pipeline("logs", encode, Sender(f"{url}/v1/logs", {}), limits, courier=courier, audits=audits)


def end(*pipelines: Pipeline) -> None:
    for each in pipelines:
        each.close(time.monotonic() + 0.3)
    for each in pipelines:
        each.join()
        each.put_away()


def test_what_a_pipeline_cannot_deliver_is_kept_and_said_in_one_line(spool):
    url = "http://127.0.0.1:9"
    courier = Courier(spool, senders(url))
    ended = pipeline(url, courier)
    for text in ("one", "two"):
        ended.put(text)
    end(ended)
    assert summary([ended], courier) == (
        "not delivered to http://127.0.0.1:9: kept: 2 log records (connection refused); "
        "the next run under the same credential delivers what is kept, as does `theodore-otel spool flush`"
    )
    assert [entry.count for entry in spool.entries()] == [2]


def test_what_cannot_be_kept_either_is_said_to_be_lost(tmp_path):
    (tmp_path / "file").write_text("")
    courier = Courier(Spool(tmp_path / "file" / "x"), senders("http://127.0.0.1:9"))
    ended = pipeline("http://127.0.0.1:9", courier)
    ended.put("one")
    end(ended)
    assert summary([ended], courier) == (
        "not delivered to http://127.0.0.1:9: 1 log record (connection refused); "
        "the spool cannot be used (not a directory)"
    )


def test_a_request_refused_for_good_is_lost_and_one_without_the_right_is_kept(spool):
    for status, kept in ((400, 0), (403, 1), (401, 1), (503, 1)):
        with receiving(status=status) as receiver:
            courier = Courier(spool, senders(receiver.url))
            ended = pipeline(receiver.url, courier)
            ended.put("one")
            end(ended)
            assert (courier.kept["logs"], ended.lost()[0]) == (kept, 1 - kept), status


def test_the_backlog_goes_to_disk_when_it_is_over_its_bound_and_nothing_is_lost(spool, monkeypatch):
    monkeypatch.setattr("theodore_otel.instrument.pipeline._BACKLOG_BYTES", 20_000)
    with receiving(status=503) as receiver:
        courier = Courier(spool, senders(receiver.url))
        running = pipeline(receiver.url, courier, Limits(batch=10, delay=0.01))
        for n in range(1000):
            running.put(f"{n} {'x' * 100}")
            if n % 50 == 0:
                time.sleep(0.02)
        assert running.lost()[0] <= 1000
        assert courier.kept["logs"] > 0
        end(running)
        assert running.lost()[0] == 0
        receiver.status = 200
        deliver(spool, senders(receiver.url), Report())
        assert [int(body.split()[0]) for body in receiver.bodies()] == list(range(1000))


def test_the_queue_is_emptied_while_a_request_hangs(spool):
    with receiving(hang=600) as receiver:
        courier = Courier(spool, senders(receiver.url))
        running = pipeline(receiver.url, courier, Limits(queue=200, batch=10, delay=0.01))
        running.put("first")
        wait_for(lambda: running._sending)
        for n in range(2000):
            running.put(str(n))
            time.sleep(0.0002)
        end(running)
        assert courier.kept["logs"] + running.lost()[0] == 2001
        assert running.lost()[0] == 0


def test_what_holds_audit_records_is_marked_so(spool):
    url = "http://127.0.0.1:9"
    ended = pipeline(url, Courier(spool, senders(url)), audits=lambda record: record == "audit")
    ended.put("audit")
    end(ended)
    assert [entry.audit for entry in spool.entries()] == [True]


def test_what_earlier_runs_left_is_delivered_in_the_background(spool):
    with receiving() as receiver:
        fill(spool, receiver.url, "one", "two")
        courier = Courier(spool, senders(receiver.url))
        courier.begin()
        wait_for(lambda: not spool.entries())
        courier.close(time.monotonic() + 5)
        courier.join()
        assert receiver.bodies() == ["one", "two"]
        assert notes(courier) == []


def test_a_process_that_goes_on_delivers_what_it_had_to_put_on_disk(spool):
    with receiving(status=503) as receiver:
        courier = Courier(spool, senders(receiver.url))
        assert courier.keep([Item("logs", logs("early"), 1)]) == 0
        running = pipeline(receiver.url, courier, Limits(delay=0.01))
        receiver.status = 200
        running.put("late")
        wait_for(lambda: sorted(receiver.bodies()) == ["early", "late"], 20, receiver.bodies)
        end(running)
        assert spool.entries() == []


def test_no_thread_is_started_where_nothing_waits(spool):
    before = threading.active_count()
    Courier(spool, senders("http://127.0.0.1:9")).begin()
    assert threading.active_count() == before
    assert not spool.folder().exists()


def test_the_configuration_reaches_the_process(tmp_path):
    text = f"instrument: {{spool: {{size: 1MiB, dir: {tmp_path / 'own'}}}}}"
    (rendered,) = render(load_text(text, "test.yaml"), "test.yaml", ["instrument"])
    (tmp_path / "instrument.json").write_text(rendered.text)
    settings, complaints = settings_module.load({"THEODORE_OTEL_CONFIG": str(tmp_path / "instrument.json")})
    assert complaints == []
    spool = courier_module.spool(settings)
    assert spool.folder() == tmp_path / "own"
    assert spool.keep(OWN, [Item("logs", b"x" * 1024 * 1025, 1)]).reason == "larger than the spool may be"
    assert courier_module.courier(settings, senders("http://127.0.0.1:9")) is not None
    off = replace(settings, spool={"enabled": False})
    assert courier_module.courier(off, senders("http://127.0.0.1:9")) is None


@pytest.mark.case("spool_size")
def test_one_write_that_is_larger_than_the_spool_may_be_keeps_the_newest_and_counts_the_rest(tmp_path):
    spool = Spool(tmp_path / "spool", size=1_000_000)
    spool.keep(OWN, [Item("logs", b"x" * 100_000, 1, audit=True)])
    items = [Item("logs", b"x" * 50_000, 10, time.time() + n) for n in range(100)]
    items.insert(3, Item("logs", b"x" * 50_000, 7, audit=True))
    kept = spool.keep(OWN, items)
    entries = spool.entries()
    assert 800_000 < sum(file.stat().st_size for file in spool.folder().iterdir()) <= 1_000_000
    assert kept.counts.total() == sum(entry.count for entry in entries) - 1
    assert kept.reason == "the spool is too small"
    assert [entry.count for entry in entries if entry.audit] == [1, 7]
    assert max(entry.made for entry in entries) >= items[-2].made  # the newest file begins with one of the last
    again = spool.keep(OWN, [Item("traces", b"x" * 300_000, 5, time.time() + 200)])
    assert again.counts == Counter(traces=5)
    assert 0 < again.evicted["logs"] < kept.counts.total()
    assert sum(file.stat().st_size for file in spool.folder().iterdir()) <= 1_000_000


@pytest.mark.case("spool_size")
def test_processes_that_write_at_once_stay_within_the_size_together(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom theodore_otel.journal.spool import Item, Spool\n"
        "spool = Spool(Path(sys.argv[1]), size=1_000_000)\n"
        "for n in range(20): spool.keep('0' * 16, [Item('logs', b'x' * 90_000, 1) for _ in range(20)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "spool"]) for _ in range(4)]
    assert [each.wait(60) for each in running] == [0] * 4
    assert sum(file.stat().st_size for file in (tmp_path / "spool").iterdir()) <= 1_000_000


def test_what_is_no_file_is_no_part_of_the_spool(spool):
    spool.keep(OWN, [Item("logs", b"a", 1)])
    (entry,) = spool.entries()
    os.mkfifo(entry.path.with_name(entry.path.name.replace("-logs-1", "-logs-2")))
    assert spool.entries() == [entry]
