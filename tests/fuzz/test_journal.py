"""Journals with random damage: no command fails, hangs or grows, and nothing passes for whole that is not.

The truth is kept aside: the records as they were written. A damaged journal that `audit verify` calls whole holds
exactly these, and delivery sends none but these.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.fuzzing import rounds
from support.receiver import attributes

from theodore_otel.cli import main
from theodore_otel.instrument.sender import Answer
from theodore_otel.journal import audit_delivery, audit_writer
from theodore_otel.journal.audit_delivery import deliver_left
from theodore_otel.journal.audit_keys import Keys
from theodore_otel.journal.audit_read import of_journal
from theodore_otel.journal.audit_trail import Position, keep
from theodore_otel.journal.audit_writer import Files, Writer

KEY = "the-key-of-these-tests"
KEYS = Keys(KEY)
CREDENTIALS = ("none", "e24015e0db47fe46")
MOST_MEGABYTES = 400
"""What the whole process may grow by; the journal itself is some kilobytes."""

_LARGE = 64 * 1024 * 1024
NUMBERS = [b"0", b"-1", b"1e999", b"NaN", b"true", b"null", b"9" * 19, b"9" * 4000, b"9" * 5000, b"1000000000", b"3.0"]
BYTES = [b"", b"\0", b"\n", b"\r", b"\x1b[31m", b"\xff", b'"', b"{", b"[" * 5000, b"\xef\xbb\xbf", b" " * 3_000_000]
NESTED = b'{"a":' * 900 + b"1" + b"}" * 900
VALUES = [b'""', b'"\\ud800"', b'"\\u009b31m"', b"[]", b"{}", NESTED, b'"' + b"x" * 2_000_000 + b'"']


def write(folder: Path) -> None:
    """Write a journal of several writers, credentials and segments, partly delivered, partly removed."""
    for number in range(5):
        files: list[Files] = []

        def opened(first, number=number, files=files):
            files.append(Files(folder, CREDENTIALS[number % 2], first, {"service.name": "t"}, KEYS))
            return files[0]

        writer = Writer(KEYS, opened, lambda error: pytest.fail(str(error)))
        for each in range(4 + number):
            writer.append(
                action=f"a{each}", actor="u", resource="r", outcome="success", context=json.dumps({"n": each})
            )
        trail = files[0].trail
        if number == 1:
            trail.note_sent(Position(1, 0, 2, (1,)), KEYS.current())
        files[0].close()
        if number == 2:
            trail.note_sent(Position(9, 0, 6), KEYS.current())
            keep(trail, folder)


def damage(folder: Path, dice: random.Random) -> str:
    """Change something in a folder; return what."""
    entries = sorted(path for path in folder.rglob("*"))
    if not entries:
        return "nothing is left"
    kind, change = dice.choice(list(CHANGES.items()))
    path = dice.choice(entries)
    if kind in ON_FILES:
        path = dice.choice([each for each in entries if each.is_file() and not each.is_symlink()] or [path])
        if not path.is_file():
            return "no file is left"
    if any(each.is_file() and each.stat().st_size > _LARGE for each in entries):
        return "something is too large to be copied"
    with suppress(OSError):  # such as a move of a folder into itself
        change(path, dice, entries)
    return f"{kind} {path.relative_to(folder)}"


def _content(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random, list[Path]], None]:
    def changed(path: Path, dice: random.Random, entries: list[Path]) -> None:
        path.write_bytes(change(path.read_bytes(), dice))

    return changed


def _flip(content: bytes, dice: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 5))):
        if made:
            made[dice.randrange(len(made))] ^= 1 << dice.randrange(8)
    return bytes(made)


def _insert(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content) + 1)
    return content[:at] + dice.choice((*BYTES, dice.randbytes(dice.randrange(1, 40)))) + content[at:]


def _cut(content: bytes, dice: random.Random) -> bytes:
    start, end = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


def _end(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content) + 1)]


def _lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    change = dice.randrange(4)
    if change == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif change == 1:
        lines.insert(other, lines[one])
    elif change == 2:
        del lines[one]
    else:
        del lines[one:]
    return b"".join(lines)


def _value(content: bytes, dice: random.Random) -> bytes:
    """Put another value in place of one of a line's; what was sealed is not sealed anew."""
    lines = content.splitlines(keepends=True)
    at = dice.randrange(len(lines)) if lines else 0
    try:
        fields = json.loads(lines[at])
        name = dice.choice(sorted(fields))
    except (IndexError, ValueError, TypeError, AttributeError, RecursionError):
        return content
    kind = dice.randrange(4)
    if kind == 0:
        fields.pop(name)
    elif kind == 1:
        fields[name] = dice.choice(("x", 3, 0, -1, None, True, [1], {"a": 1}, "f" * 32, "\ud800", fields.get("hash")))
    elif kind == 2:
        fields[dice.choice(("refused", "unwritten", "journal", "before", "adopted", "x"))] = dice.choice(
            (1, [1], {}, "x")
        )
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
    if kind == 3:
        old = json.dumps(fields[name], sort_keys=True, separators=(",", ":")).encode("ascii")
        text = text.replace(b":" + old, b":" + dice.choice((*NUMBERS, *VALUES)), 1)
    lines[at] = text + b"\n"
    return b"".join(lines)


def _splice(path: Path, dice: random.Random, entries: list[Path]) -> None:
    """Put a piece of another file of its kind into it, or all of it in its place."""
    alike = [each for each in entries if each.is_file() and not each.is_symlink() and each.suffix == path.suffix]
    lines = path.read_bytes().splitlines(keepends=True)
    others = dice.choice(alike or [path]).read_bytes().splitlines(keepends=True)
    start, end = sorted(dice.randrange(len(lines) + 1) for _ in range(2))
    path.write_bytes(b"".join([*lines[:start], *others[dice.randrange(len(others) + 1) :], *lines[end:]]))


def _gone(path: Path, dice: random.Random, entries: list[Path]) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _other_kind(path: Path, dice: random.Random, entries: list[Path]) -> None:
    _gone(path, dice, entries)
    kind = dice.randrange(4)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(dice.choice((*entries, Path("/dev/zero"), Path("/dev/null"), path)))
    else:
        path.write_bytes(b"")


def _moved(path: Path, dice: random.Random, entries: list[Path]) -> None:
    target = dice.choice(entries)
    name = dice.choice((path.name, target.name, "000001.jsonl", "000002.jsonl", "head", "f" * 32, "\x1b[31m"))
    path.rename((target if target.is_dir() else target.parent) / name)


def _copied(path: Path, dice: random.Random, entries: list[Path]) -> None:
    target = dice.choice(entries)
    into = (target if target.is_dir() else target.parent) / dice.choice((path.name, target.name, "0" * 32))
    shutil.copytree(path, into, symlinks=True) if path.is_dir() else shutil.copy(path, into, follow_symlinks=False)


def _grown(path: Path, dice: random.Random, entries: list[Path]) -> None:
    os.truncate(path, 1 << dice.choice((21, 30, 40)))


CHANGES: dict[str, Callable[[Path, random.Random, list[Path]], None]] = {
    "flip": _content(_flip),
    "insert": _content(_insert),
    "cut": _content(_cut),
    "end": _content(_end),
    "lines": _content(_lines),
    "value": _content(_value),
    "value_again": _content(_value),
    "lines_again": _content(_lines),
    "splice": _splice,
    "grown": _grown,
    "gone": _gone,
    "other_kind": _other_kind,
    "moved": _moved,
    "copied": _copied,
}
ON_FILES = tuple(CHANGES)[:10]


class Taking:
    """A collector that takes everything, refuses for good, or is not there."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.hashes: set[str] = set()

    def send(self, body: bytes, timeout: float) -> Answer:
        for group in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in group.scope_logs:
                self.hashes |= {attributes(each)["audit.hash"] for each in scope.log_records}
        answers = (Answer(True),) * 6 + (Answer(False, "HTTP 400", permanent=True), Answer(False, "down", retry=True))
        return self._dice.choice(answers)


def run(*arguments: str) -> tuple[int, str]:
    """Run one command as a person does; return its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    return int(ended.value.code or 0), out.getvalue() + err.getvalue()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", KEY)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("THEODORE_OTEL_CONFIG", raising=False)
    monkeypatch.setattr(audit_writer, "SEGMENT_BYTES", 1500)
    monkeypatch.setattr(audit_delivery, "_BATCH", 3)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it does not end"))
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


@pytest.mark.fuzz
def test_no_damage_stops_a_command_or_passes_for_whole(home):
    pristine, folder = home / "pristine", home / "audit"
    pristine.mkdir(mode=0o700)
    write(pristine)
    truth = sorted(of_journal(pristine), key=lambda each: each.hash)
    hashes = {each.hash for each in truth}
    assert len(truth) == 4 + 5 + 6 + 7 + 8
    shutil.copytree(pristine, folder)
    assert run("verify")[0] == 0
    before = megabytes()
    for seed in rounds(15):
        dice = random.Random(seed)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pristine, folder)
        done = [damage(folder, dice) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
        told = f"seed {seed}: {done}"
        signal.alarm(60)
        code, said = run("verify")
        assert code in (0, 1), f"{told}: {said}"
        if code == 0:
            assert sorted(of_journal(folder), key=lambda each: each.hash) == truth, told
        command = dice.choice((["export"], ["export", "--format", "csv"], ["report"], ["status"], ["flush"]))
        code, said = run(*command)
        assert code in (0, 1, 3), f"{told}: {command}: {said}"
        collector = Taking(dice)
        for credential in CREDENTIALS:
            deliver_left(folder, credential, collector, 1e12, KEYS.all(), again=dice.random() < 0.5)
        assert collector.hashes <= hashes, told
        signal.alarm(0)
        assert megabytes() - before < MOST_MEGABYTES, told


@pytest.mark.fuzz
def test_no_file_of_what_arrived_stops_verifying_or_passes_for_whole(home):
    folder = home / "audit"
    folder.mkdir(mode=0o700)
    write(folder)
    truth = {each.id: each for each in of_journal(folder)}
    documents = [
        "\n".join(json.dumps(each.fields()) for each in truth.values()),
        json.dumps([each.fields() for each in truth.values()]),
        json.dumps({"hits": [{"_source": {"attributes": _prefixed(each)}} for each in truth.values()]}),
        "\n".join(json.dumps({"logRecords": [{"attributes": _otlp(each)}]}) for each in truth.values()),
    ]
    file = home / "arrived.json"
    for seed in rounds(5):
        dice = random.Random(seed)
        content = dice.choice(documents).encode()
        for _ in range(dice.choice((1, 1, 3))):
            content = dice.choice((_flip, _insert, _cut, _end, _lines, _value))(content, dice)
        file.write_bytes(content)
        signal.alarm(60)
        code, said = run("verify", "--format", "json", str(file))
        assert code in (0, 1, 2), f"seed {seed}: {said}"
        assert code != 2 or said.count("\n") == 1, f"seed {seed}: {said}"
        if code == 0 and said.startswith("{"):
            assert run("export", str(file))[0] == 0
            found = json.loads(run("export", str(file))[1])
            assert all(truth[each["id"]].fields() == each for each in found), f"seed {seed}"
        signal.alarm(0)


def _prefixed(each) -> dict:
    return {f"audit.{name}": value for name, value in each.fields().items()}


def _otlp(each) -> list:
    return [
        {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for name, value in _prefixed(each).items()
    ]
