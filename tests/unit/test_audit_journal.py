"""The audit journal: what a record holds, when it is on the disk, keys, forks, threads, what is removed."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from theodore_otel.conventions import names
from theodore_otel.instrument.sender import Answer
from theodore_otel.instrument.settings import Settings
from theodore_otel.journal import audit_keys, audit_lazy, audit_process, audit_register, audit_verify, audit_writer
from theodore_otel.journal.audit_delivery import batches, deliver_left, remove_old
from theodore_otel.journal.audit_keys import Key, Keyring, Keys, UnusableKeyError
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
    monkeypatch.setattr(atexit, "register", lambda *_: None)  # what a process says at its end, this one need not
    yield tmp_path
    if audit_process._journal is not None:
        audit_process._journal.writer.abandon()


def written(home: Path) -> list[Record]:
    return sorted(of_journal(home / "audit"), key=lambda each: each.sequence)


def verdict(home: Path, *keys: str) -> audit_verify.Verdict:
    folder = home / "audit"
    known = [Key.of(each) for each in keys] or Keys(folder / "key").all()
    return audit_verify.journal(folder, Keyring(known))


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
        {"order": 4111111111111112, "text": "4111111111111112", "list": ["4111 1111 1111 1112"], "4111111111111112": 1},
        {"bytes": b"password=abc", "set": {1}, "none": None, "object": Settings(), "lone": "\ud800"},
    ],
)
def test_masking_a_context_again_changes_nothing(context):
    """The collector masks too: the hash of what it is sent must fit what it leaves."""
    text = audit_fields.details(context)
    assert audit_fields.redact.text(text) == text
    assert {key for key in context if audit_fields._key(key) == key} <= set(json.loads(text))
    assert len(json.loads(text)) == len(context)
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
    assert made.action.startswith("a bc d d")
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
    assert {(each.sequence, each.kind) for each in unknown} == {(0, "unknown key"), (1, "unknown key")}


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


def test_a_full_disk_leaves_whole_records_and_the_rest_in_memory_until_there_is_room(home, monkeypatch, capsys):
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
        audit("late")
        assert [each.action for each in written(home)] == ["before"]
        assert audit_process._journal.writer.in_memory() == trails(home / "audit")[0].unwritten() == 1
    assert "No space left on device" in capsys.readouterr().err
    audit("after")
    assert [each.action for each in written(home)] == ["before", "late", "after"]
    assert verdict(home).findings == []
    assert audit_process._journal.writer.in_memory() == 0


FULL = """
import resource, signal, sys
from theodore_otel.telemetry.audit import audit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
made = []
for number in range(120):
    if number == 70:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    made.append(audit("k", user_id="u", resource="x" * 300))
    if number == int(sys.argv[1]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(set(made)))
"""


@pytest.mark.case("disk_full")
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("freed", [100, 1000])
def test_what_a_full_disk_does_not_take_is_written_when_there_is_room_or_told_as_lost(home, wrapped, freed):
    """The kernel refuses to make the segment larger: 70 records are in it, 50 are not, or not yet."""
    program = home / "program.py"
    program.write_text(FULL)
    command = [sys.executable, program, str(freed)]
    if wrapped:
        command = [str(Path(sys.executable).parent / "theodore-otel"), "run", "--", *map(str, command)]
    environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "120\n"
    assert done.stderr.count("AUDIT RECORDS ARE NOT WRITTEN TO DISK") == 1
    count = len(written(home))
    kinds = [each.kind for each in verdict(home).findings]
    (trail,) = trails(home / "audit")
    if freed == 100:
        assert (count, kinds, trail.unwritten()) == (120, [], 0)
        assert "LOST" not in done.stderr
        assert "lost:" not in done.stderr
        return
    assert 65 <= count <= 75
    assert (kinds, trail.unwritten()) == (["lost"], 120 - count)
    said = f"kept: {count} audit records, lost: {120 - count} audit records"
    assert (said if wrapped else f"AUDIT RECORDS ARE LOST: {120 - count} neither") in done.stderr
    status = subprocess.run(
        [str(Path(sys.executable).parent / "theodore-otel"), "audit", "status"], capture_output=True, text=True
    )
    assert status.returncode == 1
    assert f"{120 - count} are lost" in status.stdout


def unwritable(monkeypatch) -> tuple[audit_writer.Writer, list[Exception]]:
    """Return a writer whose disk takes nothing."""
    told: list[Exception] = []

    def opened(first):
        raise OSError(28, "No space left on device")

    return audit_writer.Writer(Keys(KEY), opened, told.append), told


@pytest.mark.case("memory_bound")
def test_what_memory_has_no_room_for_is_refused_at_once_and_counted(monkeypatch):
    """Nothing that was taken is dropped."""
    writer, told = unwritable(monkeypatch)
    monkeypatch.setattr(audit_writer, "_IN_MEMORY", 200)
    made = [writer.append(action="a", outcome="success") for _ in range(200)]
    for _ in range(5):
        with pytest.raises(audit_writer.LostError, match="No space left"):
            writer.append(action="a", outcome="success")
    assert list(writer.unwritten) == made
    assert (writer.in_memory(), writer.lost(), len(told)) == (200, 5, 205)
    writer.handled(writer.oldest_unwritten(10))
    assert writer.append(action="a", outcome="success")
    assert (writer.in_memory(), writer.lost()) == (191, 5)
    writer.handled(writer.oldest_unwritten(1), refused=True)
    assert (writer.in_memory(), writer.lost()) == (190, 6)


@pytest.mark.case("memory_bound")
def test_memory_is_bounded_in_bytes_too(monkeypatch):
    writer, _ = unwritable(monkeypatch)
    monkeypatch.setattr(audit_writer, "_MEMORY_BYTES", 100_000)
    with pytest.raises(audit_writer.LostError):
        for _ in range(100):
            writer.append(action="a", outcome="success", context="x" * 10_000)
    assert writer.in_memory() == 9


@pytest.mark.case("memory_bound")
def test_a_call_whose_record_is_lost_gives_no_id_and_says_so(home, monkeypatch, capsys):
    (home / "audit").write_text("in the way")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setattr(audit_writer, "_IN_MEMORY", 3)
    assert [bool(audit("x")) for _ in range(5)] == [True, True, True, False, False]
    assert capsys.readouterr().err.count("AN AUDIT RECORD IS LOST") == 1
    assert audit_process._journal.writer.lost() == 2


def test_what_was_delivered_from_memory_is_written_later_and_not_sent_again(home, monkeypatch):
    audit("first")
    with monkeypatch.context() as patched:
        patched.setattr(audit_writer, "_sync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        patched.setenv("OTEL_SDK_DISABLED", "true")
        audit("second")
        audit("third")
        writer = audit_process._journal.writer
        assert [each.action for each in writer.oldest_unwritten(9)] == ["second", "third"]
        writer.handled(writer.oldest_unwritten(1))
        (trail,) = trails(home / "audit")
        assert trail.unwritten() == writer.in_memory() == 1
    writer.retry()
    assert (trail.unwritten(), writer.in_memory()) == (0, 0)
    assert [each.action for each in written(home)] == ["first", "second", "third"]
    assert verdict(home).findings == []


def test_a_program_that_closes_every_descriptor_has_none_of_its_own_files_written_into(home, monkeypatch):
    script = """
import os
from theodore_otel.telemetry.audit import audit
audit("before")
os.closerange(3, 64)
own = [os.open(os.environ["OWN"], os.O_RDWR | os.O_CREAT) for _ in range(60)]
audit("after"); audit("after")
os.closerange(3, 64)
child = os.fork()
audit("child" if not child else "parent")
if not child: os._exit(0)
os.waitpid(child, 0)
"""
    own = home / "own"
    environment = os.environ | {"OWN": str(own), "OTEL_SDK_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert own.read_bytes() == b""
    assert done.stderr.count("NOT WRITTEN TO DISK") == 1
    assert "AUDIT RECORDS ARE LOST: 3" in done.stderr
    assert sorted(each.action for each in written(home)) == ["before", "child"]


def test_a_segment_that_could_not_be_begun_leaves_nothing_behind(home, monkeypatch):
    monkeypatch.setattr(audit_writer, "SEGMENT_BYTES", 1)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    audit("a")
    with monkeypatch.context() as patched:
        patched.setattr(audit_writer, "_sync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        audit("b")
        audit("c")
    audit("d")
    (trail,) = trails(home / "audit")
    assert [number for number, _ in trail.segments()] == [1, 2, 3]
    assert verdict(home).findings == []
    assert len(written(home)) == 4


FORM_1 = Path(__file__).parent / "journal_form_1"


@pytest.fixture
def old(home):
    """Return a journal that the version before wrote: one trail delivered, one with two records left."""
    shutil.copytree(FORM_1, home / "audit")
    for path in [home / "audit", *(home / "audit").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return home / "audit"


def test_a_journal_of_the_version_before_is_whole_and_delivered_from_where_it_was_left(old, home):
    keys = Keys(KEY).all()
    found = verdict(home, KEY)
    assert (found.records, len(found.writers), found.findings) == (9, 2, [])

    class Taking:
        bodies = b""

        def send(self, body, timeout):
            self.bodies += body
            return Answer(True)

    collector = Taking()
    outcome = deliver_left(old, "none", collector, time.monotonic() + 30, keys, again=True)
    assert (outcome.delivered, outcome.troubles) == (2, [])
    assert verdict(home, KEY).findings == []
    assert len(trails(old, states=(KEPT,))) == 2


def test_a_journal_of_the_version_before_is_gone_on_with(old, home, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", KEY)
    audit("x")
    found = verdict(home, KEY)
    assert (found.records, len(found.writers), found.findings) == (10, 3, [])
    shutil.rmtree(old / "kept")
    assert [each.kind for each in verdict(home, KEY).findings] == ["missing"]


def test_old_journals_of_the_version_before_are_removed_after_their_time(old, home):
    segment = next((old / "kept").rglob("*.jsonl"))
    os.utime(segment, (0, 0))
    assert remove_old(old, 0, Keys(KEY).all()) == 1
    assert verdict(home, KEY).findings == []


def test_copies_in_a_journal_of_the_version_before_are_writes_that_were_made_up_for(old, home):
    segment = next((old / "kept").rglob("*.jsonl"))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines, lines[-1]]))
    assert verdict(home, KEY).findings == []
    assert len(written(home)) == 9


def test_a_process_that_begins_while_the_list_cannot_be_verified_does_not_sign_over_it(home, monkeypatch):
    """The old key is gone when the next process begins: with it, all is whole again; without it, that is told."""
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", "an-older-key-of-the-tests")
    for key in ("an-older-key-of-the-tests", "a-newer-key-of-these-tests"):
        monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", key)
        monkeypatch.setattr(audit_process, "_journal", None)
        audit("x")
        audit_process._journal.writer._files.close()
    both = verdict(home, "a-newer-key-of-these-tests", "an-older-key-of-the-tests")
    assert (both.records, both.findings) == (2, [])
    assert {each.kind for each in verdict(home, "a-newer-key-of-these-tests").findings} == {"unknown key"}


def test_a_process_that_was_killed_between_its_line_and_the_head_of_the_list_is_no_finding(home, monkeypatch):
    audit("x")
    keys = Keys(home / "audit" / "key")
    file = home / "audit" / "writers"
    head = file.read_bytes()[:256]
    audit_register.add(home / "audit", "0" * 32, keys)
    file.write_bytes(head + file.read_bytes()[256:])
    monkeypatch.setattr(audit_process, "_journal", None)
    audit("y")
    register = audit_register.read(home / "audit", Keyring(keys.all()))
    assert (register.wrong, len(register.writers)) == ([], 3)


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
    keys = Keys(folder / "key").all()
    assert remove_old(folder, -1, keys) == 0
    trail = keep(trail, folder)
    assert remove_old(folder, -1, keys) == 0  # nobody says that it is delivered
    assert [each.kind for each in verdict(home).findings] == ["undelivered"]
    trail.note_sent(Position(1, 0, 1), keys[0])
    assert remove_old(folder, 3600, keys) == 0
    assert remove_old(folder, -1, keys) == 1
    assert trails(folder) == []
    assert audit_register.read(folder, Keyring(keys)).writers == {}
    assert verdict(home).findings == []


def test_what_is_delivered_is_read_from_behind_it(home):
    for _ in range(3):
        audit("x")
    (trail,) = trails(home / "audit")
    keys = Keys(home / "audit" / "key").all()
    known = Keyring(keys)
    (batch,) = batches(trail, trail.sent(known), known)
    assert [each.sequence for each, _ in batch.records] == [1, 2, 3]
    trail.note_sent(batch.behind, keys[0])
    assert trail.sent(known).sequence == 3
    assert list(batches(trail, trail.sent(known), known)) == []
    audit("y")
    (batch,) = batches(trail, trail.sent(known), known)
    assert [each.action for each, _ in batch.records] == ["y"]


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
