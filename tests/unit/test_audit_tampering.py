"""Whatever is done to a journal without its key is found, and no file or folder entry stops the verification."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from theodore_otel.cli import main
from theodore_otel.instrument.sender import Answer
from theodore_otel.journal import audit_writer
from theodore_otel.journal.audit_delivery import deliver_left
from theodore_otel.journal.audit_keys import Keyring, Keys
from theodore_otel.journal.audit_record import encode, seal
from theodore_otel.journal.audit_trail import Position, Trail, trails
from theodore_otel.journal.audit_verify import journal as verify
from theodore_otel.journal.audit_writer import Files, Writer

KEY = "the-key-of-these-tests"
KEYS = Keys(KEY)
CREDENTIAL = "e24015e0db47fe46"
OTHER = "ab" * 8


class Journal:
    """Three finished writers of six records, and how to change the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        for _ in range(3):
            self.add(6)
        self.trail, self.other, _ = trails(folder)
        self.segment = self.trail.path / "000001.jsonl"
        self.writers = folder / "writers"

    def add(self, count: int) -> None:
        files: list[Files] = []

        def opened(first):
            files.append(Files(self.folder, CREDENTIAL, first, {"service.name": "t"}, KEYS))
            return files[0]

        writer = Writer(KEYS, opened, lambda error: pytest.fail(str(error)))
        for number in range(count):
            writer.append(action=f"a{number}", actor="u", resource="r", outcome="success")
        files[0].close()

    def lines(self, change: Callable[[list[bytes]], object], end: bytes = b"\n") -> None:
        """Change the list of the segment's lines in place."""
        lines = self.segment.read_bytes().split(b"\n")[:-1]
        change(lines)
        self.segment.write_bytes(b"\n".join(lines) + end)

    def replace(self, before: bytes, after: bytes, line: int = 3) -> None:
        def change(lines: list[bytes]) -> None:
            assert before in lines[line]
            lines[line] = lines[line].replace(before, after)

        self.lines(change)

    def note(self, name: str, **fields: object) -> None:
        (self.trail.path / name).write_text(json.dumps(fields))

    def move(self, path: str) -> None:
        target = self.folder / path / self.trail.writer
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.trail.path.rename(target)

    def register(self, change: Callable[[list[bytes]], object]) -> None:
        """Change the list of the register's lines in place."""
        lines = self.writers.read_bytes().split(b"\n")[:-1]
        change(lines)
        self.writers.write_bytes(b"".join(line + b"\n" for line in lines))

    def erase(self) -> None:
        shutil.rmtree(self.trail.path)

    def forge_with_another_key(self) -> None:
        """Make the whole first trail anew, with a key of one's own."""
        key = Keys("the-key-of-somebody-else").current()
        previous = "0" * 64
        lines = [json.loads(line) for line in self.segment.read_bytes().splitlines()]
        for fields in lines:
            mark = "seal" if "segment" in fields else "hash"
            fields["keyid"] = key.id
            if mark == "hash":
                fields.update(actor="mallory", previous=previous)
            fields.pop(mark)
            fields[mark] = seal(fields, key.secret)
            previous = fields["hash"] if mark == "hash" else previous
        self.segment.write_bytes(b"".join(encode(fields) + b"\n" for fields in lines))


def _swap(lines: list[bytes]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def _other_records(made: Journal) -> None:
    taken = (made.other.path / "000001.jsonl").read_bytes().split(b"\n")[:-1]
    made.lines(lambda lines: lines.__setitem__(slice(2, None), taken[2:]))


def _swap_folders(made: Journal) -> None:
    made.trail.path.rename(made.folder / "x")
    made.other.path.rename(made.trail.path)
    (made.folder / "x").rename(made.other.path)


def _erase_with_line(made: Journal) -> None:
    made.erase()
    made.register(lambda lines: lines.remove(next(line for line in lines if made.trail.writer.encode() in line)))


def _erase_newest_with_line(made: Journal) -> None:
    newest = re.findall(rb'"writer":"([0-9a-f]{32})"', made.writers.read_bytes())[-1].decode()
    shutil.rmtree(made.folder / "open" / CREDENTIAL / newest)
    made.register(lambda lines: lines.pop())


def _erase_and_old_form(made: Journal) -> None:
    """Write the list as the version before did, without the writer that is gone."""
    made.erase()
    left = [trail.writer for trail in trails(made.folder)]
    made.writers.write_text("".join(f"{writer}\n" for writer in left))


def _erase_and_old_form_then_next_process(made: Journal) -> None:
    """The next process seals what it finds, but says that it did not write it."""
    _erase_and_old_form(made)
    made.add(1)


def _erase_and_no_list_then_next_process(made: Journal) -> None:
    made.erase()
    made.writers.unlink()
    made.add(1)


def _cut_list_then_next_process(made: Journal) -> None:
    """The next process does not sign over what was cut."""
    _erase_newest_with_line(made)
    head = json.loads(made.writers.read_bytes()[:256])
    lines = made.writers.read_bytes()[256:].splitlines()
    head |= {"writers": len(lines), "last": json.loads(lines[-1])["seal"], "size": made.writers.stat().st_size}
    made.writers.write_bytes(encode(head).ljust(255) + b"\n" + made.writers.read_bytes()[256:])
    made.add(1)


def _inside(path: Path) -> None:
    for entry in path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _open_gone(made: Journal) -> None:
    shutil.rmtree(made.folder / "open")
    made.writers.write_bytes(b"")


def _shadow(made: Journal) -> None:
    """Put the true trail among the delivered ones, and a forged one where it is delivered from."""
    shutil.copytree(made.trail.path, made.folder / "kept" / CREDENTIAL / made.trail.writer)
    made.replace(b'"actor":"u"', b'"actor":"x"')


def _link(path: Path) -> None:
    target = path.parent.parent.parent.parent.parent / f"moved-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _cut_with_head(made: Journal) -> None:
    made.lines(lambda lines: lines.__delitem__(slice(4, None)))
    made.note("head", **(json.loads((made.trail.path / "head").read_bytes()) | {"sequence": 3}))


def _sparse(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)


def _at(number: int, line: bytes) -> Callable[[list[bytes]], None]:
    return lambda lines: lines.__setitem__(number, line)


TAMPERINGS: dict[str, Callable[[Journal], object]] = {
    "edit": lambda made: made.replace(b'"actor":"u"', b'"actor":"x"'),
    "delete_middle": lambda made: made.lines(lambda lines: lines.pop(3)),
    "delete_first": lambda made: made.lines(lambda lines: lines.pop(1)),
    "delete_last": lambda made: made.lines(lambda lines: lines.pop()),
    "delete_all_records": lambda made: made.lines(lambda lines: lines.__delitem__(slice(1, None))),
    "delete_first_line": lambda made: made.lines(lambda lines: lines.pop(0)),
    "swap": lambda made: made.lines(_swap),
    "duplicate": lambda made: made.lines(lambda lines: lines.insert(4, lines[3])),
    "duplicate_at_end": lambda made: made.lines(lambda lines: lines.append(lines[3])),
    "extra_field": lambda made: made.replace(b'{"action"', b'{"approved_by":"mallory","action"'),
    "duplicate_key": lambda made: made.replace(b'{"action":', b'{"action":"FORGED","action":'),
    "spaces": lambda made: made.replace(b",", b" , "),
    "key_with_space": lambda made: made.replace(b',"time"', b',"resource ":"evil","time"'),
    "escaped_otherwise": lambda made: made.replace(b'"actor":"u"', b'"actor":"\\u0075"'),
    "blank_line": lambda made: made.lines(lambda lines: lines.insert(3, b"")),
    "garbage_at_end": lambda made: made.segment.open("ab").write(b'{"action":"forged"'),
    "no_line_end": lambda made: made.lines(lambda lines: None, b""),
    "first_line_again": lambda made: made.lines(lambda lines: lines.insert(3, lines[0])),
    "process_changed": lambda made: made.replace(b'"service.name":"t"', b'"service.name":"x"', 0),
    "credential_changed": lambda made: made.replace(CREDENTIAL.encode(), OTHER.encode(), 0),
    "credential_taken_out": lambda made: made.replace(f'"credential":"{CREDENTIAL}",'.encode(), b"", 0),
    "form_before": lambda made: made.replace(b'"journal":2', b'"journal":1', 0),
    "records_of_another": _other_records,
    "folders_swapped": _swap_folders,
    "folder_gone": Journal.erase,
    "folder_and_line_gone": _erase_with_line,
    "newest_and_line_gone": _erase_newest_with_line,
    "gone_and_list_of_old_form": _erase_and_old_form,
    "gone_and_old_form_then_next_process": _erase_and_old_form_then_next_process,
    "gone_and_list_gone_then_next_process": _erase_and_no_list_then_next_process,
    "cut_list_then_next_process": _cut_list_then_next_process,
    "head_gone": lambda made: (made.trail.path / "head").unlink(),
    "head_and_segment_gone": lambda made: ((made.trail.path / "head").unlink(), made.segment.unlink()),
    "segment_gone": lambda made: made.segment.unlink(),
    "segment_emptied": lambda made: made.segment.write_bytes(b""),
    "list_gone": lambda made: made.writers.unlink(),
    "list_emptied": lambda made: made.writers.write_bytes(b""),
    "list_line_changed": lambda made: made.register(lambda lines: _at(2, lines[1])(lines)),
    "list_lines_swapped": lambda made: made.register(lambda lines: lines.insert(2, lines.pop(1))),
    "list_line_added": lambda made: made.register(lambda lines: lines.append(b'{"writer":"' + b"f" * 32 + b'"}')),
    "list_name_added": lambda made: made.register(lambda lines: lines.append(b"f" * 32)),
    "list_garbage": lambda made: made.writers.write_bytes(b"[" * 100_000),
    "list_pipe": lambda made: _pipe(made.writers),
    "list_folder": lambda made: _folder(made.writers),
    "all_gone": lambda made: shutil.rmtree(made.folder),
    "all_inside_gone": lambda made: _inside(made.folder),
    "all_trails_gone": lambda made: shutil.rmtree(made.folder / "open"),
    "all_trails_gone_and_list_emptied": _open_gone,
    "sent_forward": lambda made: made.note("sent", segment=1, offset=made.segment.stat().st_size, sequence=6),
    "sent_beyond": lambda made: made.note("sent", segment=9, offset=0, sequence=6),
    "sent_of_another": lambda made: (made.other.note_sent(Position(1, 9, 6), KEYS.current()),
                                     shutil.copy(made.other.path / "sent", made.trail.path / "sent")),
    "sent_pipe": lambda made: _pipe(made.trail.path / "sent"),
    "another_credential": lambda made: made.move(f"open/{OTHER}"),
    "among_the_delivered": lambda made: made.move(f"kept/{CREDENTIAL}"),
    "shadow": _shadow,
    "folder_link": lambda made: _link(made.trail.path),
    "segment_link": lambda made: _link(made.segment),
    "segment_pipe": lambda made: _pipe(made.segment),
    "segment_folder": lambda made: _folder(made.segment),
    "head_pipe": lambda made: _pipe(made.trail.path / "head"),
    "head_link": lambda made: _link(made.trail.path / "head"),
    "head_folder": lambda made: _folder(made.trail.path / "head"),
    "segment_renamed": lambda made: made.segment.rename(made.trail.path / "000002.jsonl"),
    "segment_renamed_far": lambda made: made.segment.rename(made.trail.path / ("9" * 18 + ".jsonl")),
    "segment_odd_digits": lambda made: made.segment.rename(made.trail.path / "00000\u00b2.jsonl"),
    "segment_added": lambda made: shutil.copy(made.segment, made.trail.path / "000002.jsonl"),
    "segment_huge": lambda made: _sparse(made.segment),
    "removed_note": lambda made: made.note("removed", writer=made.trail.writer, through=3, keyid="x"),
    "cut_and_head_set_back": _cut_with_head,
    "copy_of_another_name": lambda made: shutil.copytree(made.trail.path, made.trail.path.parent / ("f" * 32)),
    "key_of_ones_own": Journal.forge_with_another_key,
    "byte_order_mark": lambda made: made.segment.write_bytes(b"\xef\xbb\xbf" + made.segment.read_bytes()[3:]),
    "large_number": lambda made: made.replace(b'"sequence":3', b'"sequence":' + b"9" * 5000),
    "number_too_large": lambda made: made.replace(b'"sequence":3', b'"sequence":' + b"9" * 4000),
    "far_number": lambda made: made.replace(b'"sequence":3', b'"sequence":99999999'),
    "far_record": lambda made: made.lines(lambda lines: lines.append(
        lines[3].replace(b'"sequence":3', b'"sequence":1000000000').replace(b'-3"', b'-1000000000"'))),
    "number_true": lambda made: made.replace(b'"sequence":3', b'"sequence":true'),
    "number_infinite": lambda made: made.replace(b'"sequence":3', b'"sequence":1e999'),
    "number_negative": lambda made: made.replace(b'"sequence":3', b'"sequence":-3'),
    "nested": lambda made: made.lines(_at(3, b"[" * 100_000)),
    "nested_in_first_line": lambda made: made.replace(b'"process":{', b'"process":{"x":' + b"[" * 900 + b"]" * 900, 0),
    "nested_in_head": lambda made: (made.trail.path / "head").write_bytes(b'{"a":' * 30_000),
    "long_line": lambda made: made.lines(_at(3, b"x" * 3_000_000)),
    "long_record": lambda made: made.replace(b'"actor":"u"', b'"actor":"u' + b"u" * 3_000_000 + b'"'),
    "no_utf8": lambda made: made.replace(b'"actor":"u"', b'"actor":"\xff"'),
    "zeros": lambda made: made.lines(_at(3, b"\0" * 500)),
    "escape_in_keyid": lambda made: made.replace(b'"keyid":"', b'"keyid":"\\u001b[31mRED\\u0007'),
    "escape_in_writer": lambda made: made.replace(b'"writer":"', b'"writer":"\\u001b]8;;http://x\\u0007'),
    "half_a_character": lambda made: made.replace(b'"keyid":"', b'"keyid":"\\ud800\\u009b31m\\u202e'),
    "folder_of_another_kind": lambda made: (made.folder / "open" / "\x1b[31m").mkdir(),
    "file_in_open": lambda made: (made.folder / "open" / CREDENTIAL / "note\x9b31m").write_bytes(b""),
    "file_in_trail": lambda made: (made.trail.path / "000001.jsonl.bak").write_bytes(b""),
}  # fmt: skip


@contextmanager
def in_time(seconds: int = 20) -> Iterator[None]:
    """Fail where something waits for ever."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it does not end"))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", KEY)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("THEODORE_OTEL_CONFIG", raising=False)
    return Journal(tmp_path / "audit")


def run(capsys, *arguments: str) -> tuple[int, str]:
    with in_time(), pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_the_journal_before_is_whole(made, capsys):
    assert run(capsys, "verify") == (0, "18 records of 3 writers: nothing is missing or changed\n")


@pytest.mark.case("tampering")
@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_is_found_and_stops_no_command(made, capsys, name):
    TAMPERINGS[name](made)
    code, said = run(capsys, "verify")
    assert code == 1, said
    assert int(json.loads(run(capsys, "verify", "--format", "json")[1].partition("\n}")[0] + "}")["records"]) <= 40
    for arguments in (["export"], ["export", "--format", "csv"], ["report"], ["status"], ["flush"]):
        code, more = run(capsys, *arguments)
        assert code in (0, 1, 3), more
        said += more
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", said)
    assert max(map(len, said.splitlines()), default=0) < 5_000 or name in ("long_record",)


class Taking:
    """A collector that takes everything."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, body: bytes, timeout: float) -> Answer:
        self.bodies.append(body)
        return Answer(True)


def sent(made: Journal, *credentials: str) -> tuple[int, bytes]:
    sender = Taking()
    with in_time():
        outcomes = [deliver_left(made.folder, each, sender, 1e12, KEYS.all(), again=True) for each in credentials]
    return sum(each.delivered for each in outcomes), b"".join(sender.bodies)


@pytest.mark.case("audit_seals")
@pytest.mark.parametrize(
    ("name", "delivered"),
    [
        ("sent_forward", 18),
        ("sent_of_another", 18),
        ("among_the_delivered", 18),
        ("another_credential", 12),
        ("credential_changed", 12),
        ("credential_taken_out", 12),
        ("key_of_ones_own", 12),
        ("shadow", 12 + 6 + 5),
        ("edit", 17),
        ("records_of_another", 18 - 5),
        ("copy_of_another_name", 18),
        ("segment_folder", 12),
        ("segment_pipe", 12),
        ("head_pipe", 12),
        ("nested", 17),
        ("far_record", 18),
    ],
)
def test_delivery_can_neither_be_suppressed_nor_led_astray_without_the_key(made, name, delivered):
    """What is not as it was written is not sent, and holds nothing else up."""
    TAMPERINGS[name](made)
    count, bodies = sent(made, CREDENTIAL, OTHER)
    assert count == delivered
    assert b"mallory" not in bodies


@pytest.mark.case("audit_seals")
def test_what_was_forged_among_old_journals_is_not_removed_with_them(made):
    from theodore_otel.journal.audit_delivery import remove_old

    made.move(f"kept/{CREDENTIAL}")
    trail = Trail(made.folder / "kept" / CREDENTIAL / made.trail.writer)
    os.utime(trail.path / "000001.jsonl", (0, 0))
    assert remove_old(made.folder, 60, KEYS.all()) == 0
    trail.note_sent(Position(1, 0, 6), KEYS.current())
    assert remove_old(made.folder, 60, KEYS.all()) == 0  # its records are not old
    assert verify(made.folder, Keyring(KEYS.all())).findings == []


@pytest.mark.case("audit_seals")
def test_a_segment_that_says_something_else_is_not_the_beginning_after_others_are_removed(made, monkeypatch):
    monkeypatch.setattr(audit_writer, "SEGMENT_BYTES", 1)
    files: list[Files] = []

    def opened(first):
        files.append(Files(made.folder, CREDENTIAL, first, {}, KEYS))
        return files[0]

    writer = Writer(KEYS, opened, lambda error: pytest.fail(str(error)))
    for _ in range(4):
        writer.append(action="x", outcome="success")
    third = files[0].trail.path / "000003.jsonl"
    true = third.read_bytes()
    third.write_bytes(true.replace(b'"after":1', b'"after":3').replace(b'"after":2', b'"after":3'))
    writer.trim(Position(3, 0, 2), -1)
    assert len(files[0].trail.segments()) == 5
    third.write_bytes(true)
    writer.trim(Position(3, 0, 2), -1)
    assert len(files[0].trail.segments()) == 3
    files[0].close()
    assert verify(made.folder, Keyring(KEYS.all())).findings == []
