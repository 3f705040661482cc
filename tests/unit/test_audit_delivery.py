"""Delivering journals: in order, from where it was left, once, and under the credential they were written with."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from support.receiver import attributes, receiving

from theodore_otel.config import load_text
from theodore_otel.instrument.sender import Sender
from theodore_otel.instrument.settings import Settings
from theodore_otel.journal import audit_delivery, audit_lazy, audit_process
from theodore_otel.journal.audit_delivery import Outcome, deliver, deliver_left
from theodore_otel.journal.audit_keys import Keys
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
        outcome = deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon())
        assert deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon()) == Outcome()
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
        assert not deliver(trail, sender, soon(), outcome)
        assert (outcome.delivered, outcome.waiting, outcome.reason) == (8, 2, "HTTP 503 Service Unavailable")
        receiver.status = 200
        assert deliver(trail, Sender(f"{receiver.url}/v1/logs", {}), soon(), outcome)
        assert ids(receiver) == [each.id for each in records]


def test_several_that_deliver_at_once_send_each_record_once(folder):
    written = [each.id for _ in range(12) for each in finished(folder, 5)]
    with receiving(hang=0.01) as receiver:

        def work() -> None:
            deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon())

        threads = [threading.Thread(target=work) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon())
        assert sorted(ids(receiver)) == sorted(written)


def test_a_journal_of_another_credential_is_not_touched(folder):
    finished(folder, 3, "0123456789abcdef")
    with receiving() as receiver:
        assert deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon()) == Outcome()
        assert receiver.requests == []
    assert len(trails(folder, states=(OPEN,))) == 1


def test_a_damaged_line_holds_nothing_up(folder):
    records = finished(folder, 3)
    (segment,) = folder.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], b"}{\n", *lines[3:]]))
    with receiving() as receiver:
        assert deliver_left(folder, "none", Sender(f"{receiver.url}/v1/logs", {}), soon()).delivered == 2
        assert ids(receiver) == [records[0].id, records[2].id]


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
