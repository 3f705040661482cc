"""Delivering journals: in order, from where it was left, once, and under the credential they were written with."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.receiver import attributes, receiving

from theodore_otel.config import load_text
from theodore_otel.instrument.sender import Answer, Sender
from theodore_otel.instrument.settings import Settings
from theodore_otel.journal import audit_delivery, audit_lazy, audit_process, places
from theodore_otel.journal.audit_delivery import Outcome, deliver, deliver_left
from theodore_otel.journal.audit_keys import Keyring, Keys
from theodore_otel.journal.audit_record import Record
from theodore_otel.journal.audit_trail import KEPT, OPEN, trails
from theodore_otel.journal.audit_writer import Files, Writer
from theodore_otel.render.instrument import render_instrument
from theodore_otel.telemetry.audit import audit

KEYS = Keys("the-key-of-these-tests")


def finished(folder: Path, count: int, credential: str = "none") -> list[Record]:
    """Write the journal of a process that is gone."""
    files: list[Files] = []

    def opened(first: Record) -> Files:
        files.append(Files(folder, credential, first, {"service.name": "t", "process.pid": 7}, KEYS))
        return files[0]

    writer = Writer(KEYS, opened, lambda error: pytest.fail(str(error)))
    made = [writer.append(action="x", outcome="success") for _ in range(count)]
    files[0].close()
    return made


def left(folder: Path, sender: Sender, credential: str = "none", *, again: bool = False) -> Outcome:
    """Deliver what is left."""
    return deliver_left(folder, credential, sender, soon(), KEYS.all(), again=again)


def soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def ids(receiver) -> list[str]:
    return [attributes(each)["audit.id"] for each in receiver.logs()]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "audit"
    made.mkdir(mode=0o700)
    return made


def test_a_journal_is_delivered_in_order_and_put_away(folder, monkeypatch):
    monkeypatch.setattr(audit_delivery, "_BATCH", 4)
    records = finished(folder, 10)
    with receiving() as receiver:
        outcome = left(folder, Sender(f"{receiver.url}/v1/logs", {}))
        assert left(folder, Sender(f"{receiver.url}/v1/logs", {})) == Outcome()
        assert (outcome.delivered, outcome.waiting, len(receiver.requests)) == (10, 0, 3)
        assert ids(receiver) == [each.id for each in records]
        assert {"service.name": "t", "process.pid": 7}.items() <= receiver.resource().items()
    assert trails(folder, states=(OPEN,)) == []
    assert len(trails(folder, states=(KEPT,))) == 1


def test_what_is_refused_waits_and_goes_on_from_there(folder, monkeypatch):
    monkeypatch.setattr(audit_delivery, "_BATCH", 4)
    records = finished(folder, 10)
    (trail,) = trails(folder)
    with receiving() as receiver:
        sender = Sender(f"{receiver.url}/v1/logs", {})
        real = sender.send
        monkeypatch.setattr(
            sender, "send", lambda *given: real(*given) if len(receiver.requests) < 2 else refused(*given)
        )

        def refused(*given):
            receiver.status = 503
            return real(*given)

        outcome = Outcome()
        assert not deliver(trail, sender, soon(), outcome, KEYS.all())
        assert (outcome.delivered, outcome.waiting, outcome.reason) == (8, 2, "HTTP 503 Service Unavailable")
        receiver.status = 200
        assert deliver(trail, Sender(f"{receiver.url}/v1/logs", {}), soon(), outcome, KEYS.all())
        assert ids(receiver) == [each.id for each in records]


def test_several_that_deliver_at_once_send_each_record_once(folder):
    written = [each.id for _ in range(12) for each in finished(folder, 5)]
    with receiving(hang=0.01) as receiver:

        def work() -> None:
            left(folder, Sender(f"{receiver.url}/v1/logs", {}))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        left(folder, Sender(f"{receiver.url}/v1/logs", {}))
        assert sorted(ids(receiver)) == sorted(written)


def test_a_journal_of_another_credential_is_not_touched(folder):
    finished(folder, 3, "0123456789abcdef")
    with receiving() as receiver:
        assert left(folder, Sender(f"{receiver.url}/v1/logs", {})) == Outcome()
        assert receiver.requests == []
    assert len(trails(folder, states=(OPEN,))) == 1


def test_a_damaged_line_holds_nothing_up(folder):
    records = finished(folder, 3)
    (segment,) = folder.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], b"}{\n", *lines[3:]]))
    with receiving() as receiver:
        assert left(folder, Sender(f"{receiver.url}/v1/logs", {})).delivered == 2
        assert ids(receiver) == [records[0].id, records[2].id]


class Refusing:
    """A collector that never takes requests in which one of some words stands."""

    def __init__(self, *words: bytes, status: str = "HTTP 400", everything: bool = False) -> None:
        self.words = words
        self.everything = everything
        self.status = status
        self.taken: list[str] = []
        self.requests = 0

    def send(self, body: bytes, timeout: float) -> Answer:
        self.requests += 1
        if self.everything or any(word in body for word in self.words):
            return Answer(False, self.status, permanent=True)
        request = ExportLogsServiceRequest.FromString(body)
        made = [each for group in request.resource_logs for scope in group.scope_logs for each in scope.log_records]
        self.taken += [attributes(each)["audit.action"] for each in made]
        return Answer(True)


def named(folder: Path, *actions: str) -> None:
    """Write the journal of a process that is gone."""
    files: list[Files] = []

    def opened(first: Record) -> Files:
        files.append(Files(folder, "none", first, {}, KEYS))
        return files[0]

    writer = Writer(KEYS, opened, lambda error: pytest.fail(str(error)))
    for action in actions:
        writer.append(action=action, outcome="success")
    files[0].close()


@pytest.mark.case("refused_batch")
def test_records_that_are_refused_for_good_hold_up_no_others_and_stay_counted(folder, monkeypatch):
    monkeypatch.setattr(audit_delivery, "_BATCH", 100)
    named(folder, *(f"a{number}" for number in range(250)))
    named(folder, "b0")
    collector = Refusing(b"a7:", b"a130:", b"a131:", b"a249:")
    outcome = left(folder, collector)
    assert (outcome.delivered, outcome.refused, outcome.waiting, outcome.stopped) == (247, 4, 0, False)
    assert sorted(collector.taken) == sorted(
        {f"a{number}" for number in range(250)} - {"a7", "a130", "a131", "a249"} | {"b0"}
    )
    assert collector.requests < 80
    assert len(trails(folder, states=(KEPT,))) == 1
    (trail,) = trails(folder, states=(OPEN,))
    assert trail.sent(Keyring(KEYS.all())).refused == (8, 131, 132, 250)
    assert trail.waiting() == 4
    assert left(folder, collector) == Outcome()  # they are not tried with every run
    again = left(folder, Refusing(b"a130:"), again=True)
    assert (again.delivered, trail.sent(Keyring(KEYS.all())).refused) == (3, (131,))
    assert left(folder, Refusing(), again=True).delivered == 1
    assert trails(folder, states=(OPEN,)) == []


@pytest.mark.case("refused_batch")
def test_a_server_that_refuses_everything_has_nothing_passed_by(folder):
    """A wrong endpoint is no reason to give records up."""
    named(folder, "a0", "a1", "a2")
    outcome = left(folder, Refusing(everything=True))
    assert (outcome.delivered, outcome.refused, outcome.waiting, outcome.stopped) == (0, 0, 3, True)
    assert left(folder, Refusing()).delivered == 3


@pytest.mark.case("bad_trail")
@pytest.mark.parametrize("damage", ["segment", "head", "first line"])
def test_a_trail_that_cannot_be_read_holds_up_no_others(folder, damage):
    for name in ("a", "b", "c"):
        named(folder, name)
    first = trails(folder)[0]
    if damage == "first line":
        (first.path / "000001.jsonl").write_bytes(b"\0" * 900 + b"\n")
    else:
        path = first.path / ("000001.jsonl" if damage == "segment" else "head")
        path.unlink()
        path.mkdir()
    outcome = left(folder, Refusing())
    assert outcome.delivered == 2
    assert [each.partition(" of writer ")[2][:32] for each in outcome.troubles] == [first.writer]
    assert [trail.path for trail in trails(folder, states=(OPEN,))] == [first.path]


def test_a_collector_that_is_down_is_asked_once_for_all_journals(folder):
    written = [finished(folder, 3) for _ in range(5)]

    class Down:
        requests = 0

        def send(self, body: bytes, timeout: float) -> Answer:
            self.requests += 1
            return Answer(False, "connection refused", retry=True)

    down = Down()
    outcome = left(folder, down)
    assert (outcome.waiting, down.requests, len(written)) == (15, 1, 5)


def test_what_is_delivered_on_a_full_disk_is_sent_once(folder, monkeypatch):
    (records,) = [finished(folder, 3)]
    (trail,) = trails(folder)
    taken: set[str] = set()
    collector = Refusing()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(places, "write", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                deliver(trail, collector, soon(), Outcome(), KEYS.all(), taken)
    assert deliver(trail, collector, soon(), Outcome(), KEYS.all(), taken)
    assert (len(collector.taken), trail.sent(Keyring(KEYS.all())).sequence) == (3, len(records))


def test_a_running_process_delivers_what_it_writes_and_can_be_asked_for_it_now(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    monkeypatch.delenv("THEODORE_OTEL_CONFIG", raising=False)
    monkeypatch.setattr(audit_process, "_journal", None)
    with receiving() as receiver:
        settings = Settings(endpoint=receiver.url)
        monkeypatch.setattr(audit_process.settings_module, "current", settings)
        monkeypatch.setattr(audit_lazy, "current", None)
        lazy = audit_lazy.deliver(settings, Sender(settings.url("logs"), {}))
        assert lazy.lost() == (0, "")
        written = [audit("x", user_id="u-1", outcome="denied") for _ in range(3)]
        assert lazy.get().flush(30)
        assert ids(receiver) == written
        record = receiver.logs()[0]
        assert (record.severity_text, record.body.string_value) == ("WARN", "u-1 x: denied")
        assert attributes(record)["user.id"] == "u-1"
        written.append(audit("last"))
        lazy.close(soon())
        lazy.join()
        assert ids(receiver) == written
        assert lazy.lost()[0] == 0
        audit("too late")
        assert lazy.lost()[0] == 1
    audit_process._journal.writer.abandon()


def test_the_configuration_reaches_the_process():
    text = """
version: 1
instrument:
  audit: {dir: /var/lib/audit, key: {file: /run/key}, pseudonymise_actor: true, keep: 2d}
  watch:
    storage: [{function: "m:f", audit: {resource: arg.company}}]
"""
    rendered = json.loads(render_instrument(load_text(text, "t")))
    assert rendered["audit"] == {
        "dir": "/var/lib/audit",
        "key": {"file": "/run/key"},
        "pseudonymise_actor": True,
        "keep": 172800.0,
    }
    assert rendered["watch"]["storage"][0]["audit"] == {"resource": "arg.company"}
