"""The audit journal: what a record holds, when it is on the disk, keys, forks, threads, what is removed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from theodore_otel.conventions import names
from theodore_otel.instrument.settings import Settings
from theodore_otel.journal import audit_keys, audit_lazy, audit_process, audit_register, audit_verify, audit_writer
from theodore_otel.journal.audit_delivery import batches, remove_old
from theodore_otel.journal.audit_keys import Key, Keys, UnusableKeyError
from theodore_otel.journal.audit_read import of_journal
from theodore_otel.journal.audit_record import NAMES, Record, record
from theodore_otel.journal.audit_trail import KEPT, OPEN, Position, Trail, identity, keep, trails
from theodore_otel.telemetry import audit_fields
from theodore_otel.telemetry.audit import audit

KEY = "the-key-of-these-tests"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give every test a state folder, and a process that has written nothing."""
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    for name in ("THEODORE_OTEL_CONFIG", "THEODORE_OTEL_CREDENTIAL", "THEODORE_OTEL_AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(audit_process, "_journal", None)
    monkeypatch.setattr(audit_process, "_told", set())
    monkeypatch.setattr(audit_lazy, "current", None)
    yield tmp_path
    if audit_process._journal is not None:
        audit_process._journal.writer.abandon()


def written(home: Path) -> list[Record]:
    return sorted(of_journal(home / "audit"), key=lambda each: each.sequence)


def verdict(home: Path, *keys: str) -> audit_verify.Verdict:
    folder = home / "audit"
    known = [Key.of(each) for each in keys] or Keys(folder / "key").all()
    return audit_verify.journal(folder, audit_verify.Keyring(known))


def settings(monkeypatch, home: Path, **audit_settings: object) -> None:
    file = home / "instrument.json"
    file.write_text(json.dumps({"schema": 1, "audit": audit_settings}))
    monkeypatch.setenv("THEODORE_OTEL_CONFIG", str(file))


def test_a_call_gives_the_id_of_a_record_that_is_on_the_disk(home):
    first, second = (
        audit("login", user_id="alice"),
        audit("logout", user_id="alice", resource="session:1", outcome="failure"),
    )
    one, two = written(home)
    assert (one.id, two.id) == (first, second)
    assert (two.action, two.actor, two.resource, two.outcome) == ("logout", "alice", "session:1", "failure")
    assert (one.sequence, two.sequence, two.previous) == (1, 2, one.hash)
    assert first == f"{one.writer}-1"
    assert verdict(home).findings == []


def test_the_journal_is_for_its_owner_alone(home):
    audit("login")
    for path in (home / "audit").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_every_record_is_synced_before_its_call_returns(home, monkeypatch):
    """What is written by then is what is synced: the sizes tell."""
    synced = []
    real = audit_writer._sync

    def sync(descriptor):
        real(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(audit_writer, "_sync", sync)
    for number in range(5):
        audit("count", number=number)
        (segment,) = (home / "audit").rglob("*.jsonl")
        assert synced[-1] == segment.stat().st_size


def test_threads_share_syncs_and_keep_one_chain(home, monkeypatch):
    """While one write waits for the disk, the others gather: far fewer syncs than calls."""
    syncs = []
    monkeypatch.setattr(audit_writer, "_sync", lambda descriptor: (syncs.append(1), time.sleep(0.01)))
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.extend(audit("x") for _ in range(20))) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(ids)) == 400
    assert len(syncs) < 200
    found = verdict(home)
    assert (found.records, found.findings) == (400, [])


def test_secrets_and_personal_data_are_masked_before_they_are_written(home):
    audit(
        "a@b.example.com",
        user_id="jane@example.com",
        resource="https://u:hunter22@h/x",
        api_key="s3cr3t",
        card=4111111111111111,
    )
    text = "".join(path.read_text() for path in (home / "audit").rglob("*.jsonl"))
    for secret in ("jane@", "hunter22", "s3cr3t", "4111111111111111", "a@b"):
        assert secret not in text
    assert json.loads(written(home)[0].context)["api_key"] == "[REDACTED]"


@pytest.mark.parametrize(
    "context",
    [
        {"number": 4111111111111111, "float": 4.111111111111111e15, "list": [4111111111111111, "4111 1111 1111 1111"]},
        {"quote": 'password="a b" "token": "abcdefgh"', "nested": {"Authorization": "Basic abcdefghijkl"}},
        {"controls": "a\x00b\x02c\x1ed\x1fe\x7f", "line": "a\nb"},
        {"url": "https://h/x?token=abcdefghijkl&b=1", "phone": "+1 415 555 0123 4", "nan": float("nan")},
        {"bytes": b"password=abc", "set": {1}, "none": None, "object": Settings(), "lone": "\ud800"},
    ],
)
def test_masking_a_context_again_changes_nothing(context):
    """The collector masks too: the hash of what it is sent must fit what it leaves."""
    text = audit_fields.details(context)
    assert audit_fields.redact.text(text) == text
    assert set(json.loads(text)) == set(context)
    assert text.isascii()
    assert not any(code in text for code in ("\\u0000", "\\u0002", "\\u001e", "\\u001f", "\\u007f", "\x7f"))


def test_a_context_that_is_too_long_keeps_what_is_short():
    found = json.loads(
        audit_fields.details({"long": "word " * 20_000, "short": 1, **{f"k{n}": "v" * 200 for n in range(100)}})
    )
    assert found["short"] == 1
    assert found["k7"] == "v" * 200


def test_fields_are_one_short_line(home):
    audit("a\nb\x02c" + " d" * 5000, user_id="  ", resource=7, outcome="")
    (made,) = written(home)
    assert made.action.startswith("a b c d d")
    assert len(made.action) <= 1024
    assert (made.actor, made.resource, made.outcome) == (None, "7", "unknown")


def test_a_surrounding_request_is_part_of_the_record(home):
    from opentelemetry import baggage, context, trace

    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))
    inner = trace.set_span_in_context(span)
    for name, value in (
        (names.TENANT_ID, "acme"),
        (names.USER_ID, "u-1"),
        (names.CORRELATION_ID, "c-1"),
        ("other", "x"),
    ):
        inner = baggage.set_baggage(name, value, inner)
    token = context.attach(inner)
    try:
        audit("read")
        audit("read", user_id="u-2")
    finally:
        context.detach(token)
    one, two = written(home)
    assert (one.actor, two.actor) == ("u-1", "u-2")
    assert one.details() == {
        names.TENANT_ID: "acme",
        names.CORRELATION_ID: "c-1",
        "trace_id": f"{0xABC:032x}",
        "span_id": f"{0xDEF:016x}",
    }


def test_the_actor_is_a_keyed_hash_when_the_configuration_says_so(home, monkeypatch):
    settings(monkeypatch, home, pseudonymise_actor=True)
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", KEY)
    audit("login", user_id="jane@example.com")
    audit("login", user_id="jane@example.com")
    audit("login", user_id="joe@example.com")
    actors = [each.actor for each in written(home)]
    assert actors[0] == actors[1] != actors[2]
    assert actors[0] == Key.of(KEY).pseudonym("jane@example.com") != Key.of(KEY + "2").pseudonym("jane@example.com")
    assert not {"jane", "example"} & set(actors[0].split("-"))


def test_the_key_is_named_in_each_record_and_can_change_in_the_middle_of_a_chain(home, monkeypatch):
    file = home / "keys"
    file.write_text("an-older-key-of-the-tests\n")
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY_FILE", str(file))
    audit("before")
    file.write_text("a-newer-key-of-these-tests\nan-older-key-of-the-tests\n")
    audit("after")
    one, two = written(home)
    assert (one.keyid, two.keyid) == (Key.of("an-older-key-of-the-tests").id, Key.of("a-newer-key-of-these-tests").id)
    assert two.previous == one.hash
    assert verdict(home, *file.read_text().split()).findings == []
    unknown = verdict(home, "a-newer-key-of-these-tests").findings
    assert {(each.sequence, each.kind) for each in unknown} == {(1, "unknown key")}


def test_a_key_file_that_is_being_changed_leaves_the_old_key(home):
    file = home / "keys"
    file.write_text(KEY)
    keys = Keys(file)
    file.write_text("")
    assert keys.current() == Key.of(KEY)
    file.unlink()
    assert keys.current() == Key.of(KEY)


@pytest.mark.parametrize("given", ["", "short", "   "])
def test_a_key_that_is_none_is_refused_without_repeating_it(given):
    with pytest.raises(UnusableKeyError) as refused:
        Keys(given)
    assert "short" not in str(refused.value)


def test_a_reference_that_leads_nowhere_is_told_and_a_key_is_generated(home, monkeypatch, capsys):
    settings(monkeypatch, home, key={"env": "NOT_SET"})
    assert audit("login")
    said = capsys.readouterr().err
    assert said.count("theodore-otel:") == 1
    assert "NOT_SET" in said
    assert verdict(home).findings == []


def test_processes_that_start_at_once_agree_on_the_generated_key(home):
    script = "from theodore_otel.telemetry.audit import audit; audit('x')"
    running = [subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ)) for _ in range(6)]
    assert [each.wait(60) for each in running] == [0] * 6
    found = verdict(home)
    assert (found.records, len(found.writers), found.findings) == (6, 6, [])


def test_a_forked_child_has_a_chain_of_its_own(home):
    first = audit("parent")
    child = os.fork()
    if not child:
        os._exit(0 if audit("child") and audit("child") else 1)
    assert os.waitpid(child, 0)[1] == 0
    second = audit("parent")
    assert first.rpartition("-")[0] == second.rpartition("-")[0]
    found = verdict(home)
    assert (found.records, len(found.writers), found.findings) == (4, 2, [])


def test_a_signal_handler_in_the_middle_of_a_call_can_call_too(home, monkeypatch):
    real = audit_writer._sync
    made: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: made.append(audit("in the handler")))
    try:

        def sync(descriptor):
            monkeypatch.setattr(audit_writer, "_sync", real)
            signal.raise_signal(signal.SIGUSR1)
            real(descriptor)

        monkeypatch.setattr(audit_writer, "_sync", sync)
        made.append(audit("interrupted"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    found = verdict(home)
    assert len(made) == 2
    assert (found.records, len(found.writers), found.findings) == (2, 2, [])


def test_an_interrupted_write_is_made_up_for(home, monkeypatch):
    """Ctrl-C while the disk is being waited for: the record is written again with the next one, and counts once."""
    real = audit_writer._sync
    audit("first")

    def sync(descriptor):
        monkeypatch.setattr(audit_writer, "_sync", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(audit_writer, "_sync", sync)
    with pytest.raises(KeyboardInterrupt):
        audit("interrupted")
    audit("last")
    found = verdict(home)
    assert (found.records, found.findings) == (3, [])
    assert [each.action for each in written(home)] == ["first", "interrupted", "last"]


def test_a_folder_that_cannot_be_written_is_told_once_and_nothing_is_raised(home, monkeypatch, capsys):
    (home / "audit").write_text("in the way")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert len({audit("x") for _ in range(3)}) == 3
    said = capsys.readouterr().err
    assert said.count("AUDIT RECORDS ARE NOT WRITTEN TO DISK") == 1
    assert len(audit_process._journal.writer.unwritten) == 3


def test_a_full_disk_leaves_whole_records_and_the_rest_in_memory(home, monkeypatch, capsys):
    audit("before")
    real = os.write

    def half(descriptor, content):
        if len(content) > 100:
            real(descriptor, content[:100])
            raise OSError(28, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        audit("lost")
    assert "No space left on device" in capsys.readouterr().err
    audit("after")
    assert [each.action for each in written(home)] == ["before", "after"]
    assert [(each.kind, each.sequence) for each in verdict(home).findings] == [("gap", 2)]
    assert [each.action for each in audit_process._journal.writer.take_unwritten()] == ["lost"]


def test_a_mistake_that_no_record_can_be_made_of_is_told_and_does_not_raise(home, monkeypatch, capsys):
    monkeypatch.setattr(audit_fields, "details", lambda _: 1 / 0)
    assert audit("x") == ""
    assert "AN AUDIT RECORD IS LOST" in capsys.readouterr().err


def test_segments_that_were_delivered_are_removed_after_their_time_and_not_missed(home, monkeypatch):
    monkeypatch.setattr(audit_writer, "SEGMENT_BYTES", 1)
    for _ in range(4):
        audit("x")
    (trail,) = trails(home / "audit")
    numbers = [number for number, _ in trail.segments()]
    assert numbers == [1, 2, 3, 4, 5][: len(numbers)]
    writer = audit_process._journal.writer
    writer.trim(Position(3, 0, 2), 3600)
    assert len(trail.segments()) == len(numbers)
    writer.trim(Position(3, 0, 2), -1)
    assert trail.segments()[0][0] == 3
    assert verdict(home).findings == []
    (trail.path / "removed").unlink()
    assert [(each.kind, each.sequence) for each in verdict(home).findings] == [("gap", 1)]


def test_delivered_journals_are_removed_after_their_time_others_never(home):
    audit("x")
    audit_process._journal.writer._files.close()
    folder = home / "audit"
    (trail,) = trails(folder)
    assert remove_old(folder, -1) == 0
    keep(trail, folder)
    assert remove_old(folder, 3600) == 0
    assert remove_old(folder, -1) == 1
    assert trails(folder) == []
    assert audit_register.known(folder) == []
    assert verdict(home).findings == []


def test_what_is_delivered_is_read_from_behind_it(home):
    for _ in range(3):
        audit("x")
    (trail,) = trails(home / "audit")
    ((records, position),) = batches(trail, trail.sent())
    assert [each.sequence for each in records] == [1, 2, 3]
    trail.note_sent(position)
    assert trail.sent().sequence == 3
    assert list(batches(trail, trail.sent())) == []
    audit("y")
    ((records, _),) = batches(trail, trail.sent())
    assert [each.action for each in records] == ["y"]


def test_a_credential_is_not_given_away_by_its_folder():
    assert identity({"Authorization": "Basic abc"}) == identity({"authorization": "Basic abc"})
    assert identity({"authorization": "Basic abc"}) != identity({"authorization": "Basic abd"})
    assert "abc" not in identity({"authorization": "Basic abc"})
    assert identity({}) == "none"


def test_the_registry_names_every_field():
    constants = {value for name, value in vars(names).items() if name.startswith("AUDIT_")}
    assert constants == {f"audit.{name}" for name in ("id", *NAMES)}


@pytest.mark.parametrize(
    "fields", [{}, {"writer": "w"}, {"writer": 1, "sequence": "x"}, {"sequence": 1, "writer": ["w"]}]
)
def test_what_is_no_record_is_refused(fields):
    with pytest.raises(ValueError, match="no audit record"):
        record(fields)


def test_importing_the_call_imports_nothing_of_the_journal():
    script = (
        "import sys, theodore_otel.telemetry.audit\n"
        "heavy = {'hashlib', 'hmac', 'pydantic', 'yaml', 'click', 'opentelemetry.sdk'}\n"
        "print(sorted(name for name in sys.modules if 'journal' in name or name in heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_imports_nothing_that_is_slow(home):
    script = (
        "import sys\nfrom theodore_otel.telemetry.audit import audit\naudit('x')\n"
        "slow = {'pydantic', 'yaml', 'jinja2', 'click', 'rich', 'opentelemetry.sdk', 'google.protobuf'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_open_and_kept_are_told_apart(home):
    audit("x")
    folder = home / "audit"
    assert len(trails(folder, states=(OPEN,))) == 1
    assert trails(folder, states=(KEPT,)) == []
    assert trails(folder, "other") == []
    assert isinstance(trails(folder)[0], Trail)
    assert trails(folder)[0].lives()
    assert audit_keys.FILE in os.listdir(folder)
