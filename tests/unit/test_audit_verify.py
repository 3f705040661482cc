"""`audit verify`, `export`, `report`: what was done to a journal is found, with writer, sequence and kind."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from theodore_otel.cli import main
from theodore_otel.journal import audit_verify
from theodore_otel.journal.audit_keys import Keys
from theodore_otel.journal.audit_read import moment, of_text
from theodore_otel.journal.audit_record import Record, encode, seal
from theodore_otel.journal.audit_trail import Position, Trail, trails
from theodore_otel.journal.audit_writer import Files, Writer

KEY = "the-key-of-these-tests"


class Journal:
    """A journal with one finished writer of six records."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "audit"
        self.folder.mkdir(mode=0o700)
        self.records = self.add(6)
        self.trail: Trail = trails(self.folder)[0]

    def add(self, count: int, key: str = KEY) -> list[Record]:
        keys, files = Keys(key), []

        def opened(first: Record) -> Files:
            files.append(Files(self.folder, "none", first, {"service.name": "t"}, keys))
            return files[0]

        writer = Writer(keys, opened, lambda error: pytest.fail(str(error)))
        actions = ("login", "read", "export")
        made = [
            writer.append(
                action=actions[number % 3],
                actor=f"u-{number % 2}",
                outcome="denied" if number == 4 else "success",
                resource="=report",
            )
            for number in range(count)
        ]
        files[0].close()
        return made

    @property
    def segment(self) -> Path:
        return self.trail.path / "000001.jsonl"

    def lines(self, change: Callable[[list[str]], list[str]]) -> None:
        """Change the list of a segment's lines; the first one says what follows."""
        self.segment.write_text("".join(change(self.segment.read_text().splitlines(keepends=True))))


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", KEY)
    monkeypatch.delenv("THEODORE_OTEL_CONFIG", raising=False)
    return Journal(tmp_path)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def findings(capsys, *arguments: str) -> list[tuple[int, str]]:
    code, out, _ = run(capsys, "verify", "--format", "json", *arguments)
    found = [(each["sequence"], each["kind"]) for each in json.loads(out)["findings"]]
    assert code == int(bool(found))
    return found


def test_an_untouched_journal_is_whole(journal, capsys):
    code, out, _ = run(capsys, "verify")
    assert (code, out) == (0, "6 records of 1 writers: nothing is missing or changed\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[:3] + lines[4:], [(3, "gap")]),
        (lambda lines: lines[:1] + lines[2:], [(1, "gap")]),
        (lambda lines: lines[:1] + lines[3:], [(1, "gap")]),
        (lambda lines: [*lines[:2], lines[2].replace("read", "erase"), *lines[3:]], [(2, "changed")]),
        (lambda lines: [*lines[:5], lines[5].replace("denied", "success"), *lines[6:]], [(5, "changed")]),
        (lambda lines: [*lines[:5], lines[5].replace("u-0", "u-1"), *lines[6:]], [(5, "changed")]),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], [(2, "reordered")]),
        (lambda lines: lines[:5], [(5, "truncated")]),
        (lambda lines: lines[:1], [(1, "truncated")]),
        (lambda lines: [], [(1, "truncated")]),
        (lambda lines: [*lines[:4], "}{\n", *lines[5:]], [(4, "gap"), (4, "unreadable")]),
        (lambda lines: [*lines[:4], "[1]\n", *lines[4:]], [(4, "unreadable")]),
        (lambda lines: [lines[0].replace('"service.name":"t"', '"service.name":"x"'), *lines[1:]], [(1, "changed")]),
        (lambda lines: lines + lines[1:2], [(1, "repeated")]),
        (lambda lines: [*lines, lines[6]], [(6, "repeated")]),
        (lambda lines: [*lines, lines[6][:40]], [(7, "unfinished")]),  # as a killed process may leave one
    ],
)
def test_what_is_done_to_lines_is_found(journal, capsys, change, expected):
    journal.lines(change)
    assert findings(capsys) == expected


def test_a_record_that_was_cut_at_the_end_is_found(journal, capsys):
    journal.segment.write_bytes(journal.segment.read_bytes()[:-10])
    assert findings(capsys) == [(6, "truncated"), (6, "unfinished")]


def test_a_record_signed_by_another_key_is_found(journal, capsys):
    forged = Record(
        **{**as_fields(journal.records[2]), "actor": "u-9", "keyid": Keys("another-key-of-the-tests").current().id}
    )
    sealed = Record(**{**as_fields(forged), "hash": forged.seal(b"another-key-of-the-tests")})
    journal.lines(lambda lines: [*lines[:3], sealed.line().decode(), *lines[4:]])
    assert findings(capsys) == [(3, "unknown key"), (4, "broken")]


def test_a_record_that_was_replaced_by_one_with_the_right_key_does_not_fit_the_next(journal, capsys):
    forged = Record(**{**as_fields(journal.records[2]), "actor": "u-9"})
    sealed = Record(**{**as_fields(forged), "hash": forged.seal(KEY.encode())})
    journal.lines(lambda lines: [*lines[:3], sealed.line().decode(), *lines[4:]])
    assert findings(capsys) == [(4, "broken")]


def test_a_head_that_was_set_back_is_found(journal, capsys):
    """Who cuts the end has to change the head too, and cannot sign it."""
    journal.lines(lambda lines: lines[:5])
    fields = json.loads((journal.trail.path / "head").read_text()) | {"sequence": 4, "hash": journal.records[3].hash}
    (journal.trail.path / "head").write_bytes(encode(fields))
    assert findings(capsys) == [(4, "changed")]
    fields.pop("seal")
    (journal.trail.path / "head").write_bytes(encode({**fields, "seal": seal(fields, KEY.encode())}))
    assert findings(capsys) == []  # with the key, only what was delivered tells


def test_what_the_collector_has_taken_is_missed_too(journal, capsys):
    journal.lines(lambda lines: lines[:5])
    journal.trail.note_sent(Position(1, 9, 5), Keys(KEY).current())
    (journal.trail.path / "head").write_bytes(b"")
    assert findings(capsys) == [(4, "changed"), (5, "truncated")]


def test_a_journal_that_vanished_is_found(journal, capsys):
    second = journal.add(2)
    for path in (journal.folder / "open/none" / second[0].writer).iterdir():
        path.unlink()
    assert findings(capsys) == [(0, "missing")]
    (journal.folder / "writers").unlink()
    assert findings(capsys) == [(0, "missing")]


def test_a_journal_that_is_being_written_is_whole(journal, capsys):
    """However verifying and writing fall together: what the head says is on the disk before it says so."""
    keys = Keys(KEY)
    writer = Writer(
        keys, lambda first: Files(journal.folder, "none", first, {}, keys), lambda error: pytest.fail(str(error))
    )
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            writer.append(action="x", outcome="success")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert [findings(capsys) for _ in range(20)] == [[]] * 20
    finally:
        stop.set()
        writing.join()


def test_a_journal_that_was_emptied_is_found(journal, capsys):
    journal.segment.unlink()
    (journal.trail.path / "head").write_bytes(b"")
    assert findings(capsys) == [(0, "missing")]


def test_a_writer_that_begins_meanwhile_is_not_missed(journal, capsys, monkeypatch):
    """It is written down behind what was looked at, and its folder can be seen before anything is in it."""
    real = audit_verify.trails

    def listed(folder):
        found = real(folder)
        journal.add(1)
        empty = folder / "open/none" / ("0" * 32)
        empty.mkdir()
        (empty / "head").touch()
        return [*found, Trail(empty)]

    monkeypatch.setattr(audit_verify, "trails", listed)
    assert findings(capsys) == []


def test_nothing_verifies_without_the_key(journal, capsys, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_AUDIT_KEY", "another-key-of-the-tests")
    assert {kind for _, kind in findings(capsys)} == {"unknown key"}
    (journal.folder / "old-keys").write_text(KEY)
    assert findings(capsys, "--key-file", str(journal.folder / "old-keys")) == []


def test_an_export_is_verified_in_any_order_and_format(journal, capsys):
    _, exported, _ = run(capsys, "export")
    records = json.loads(exported)
    assert [each["sequence"] for each in records] == [1, 2, 3, 4, 5, 6]
    file = journal.folder.parent / "given.json"
    lines = [json.dumps(each) for each in reversed(records)]
    for text in (exported, "\n".join(lines), "\n".join(lines + lines[:2])):
        file.write_text(text)
        assert findings(capsys, str(file)) == []
    file.write_text("\n".join(lines[:2]))
    assert findings(capsys, str(file)) == [(1, "gap")]
    assert findings(capsys, "--partial", str(file)) == []
    file.write_text("\n".join([lines[0], *lines[2:]]))
    assert findings(capsys, str(file)) == [(5, "gap")]


def test_standard_input_is_read(journal):
    from theodore_otel.cli.audit import command

    text = "\n".join(each.line().decode() for each in journal.records)
    result = CliRunner().invoke(command, ["verify", "-"], input=text)
    assert result.output == "6 records of 1 writers: nothing is missing or changed\n"


def test_forms_of_destinations_are_read(journal):
    fields = journal.records[0].fields()
    attributes = {f"audit.{name}": value for name, value in fields.items()}
    otlp = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
    for document in (
        fields,
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": otlp}, {"attributes": []}]}]}]},
        {"hits": {"hits": [{"_id": "x", "_source": {"attributes": attributes}}]}},
        {"audit": fields, "message": "as ecs has it"},
    ):
        assert list(of_text(json.dumps(document))) == [journal.records[0]]


def test_a_table_for_spreadsheets_runs_nothing(journal, capsys):
    _, out, _ = run(capsys, "export", "--format", "csv", "--from", "1h")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["sequence"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {row["resource"] for row in rows} == {"'=report"}


def test_a_report_says_who_did_what_with_what_outcome_what_is_missing_and_what_is_kept(journal, capsys):
    config = journal.folder.parent / "theodore-otel.yaml"
    config.write_text(
        "version: 1\ntenants: {list: {acme: {retention: {audit: 90d}}}}\ninstrument: {audit: {keep: 7d}}\n"
    )
    journal.lines(lambda lines: lines[:3] + lines[4:])
    code, out, _ = run(capsys, "report", "--format", "json", "--from", "1h")
    summary = json.loads(out)
    assert code == 0
    assert (summary["records"], summary["actors"]) == (5, 2)
    assert summary["outcomes"] == {"denied": 1, "success": 4}
    assert {"actor": "u-0", "action": "read", "resource": "=report", "outcomes": {"denied": 1}} in summary["activity"]
    assert [(each["kind"], each["sequence"]) for each in summary["findings"]] == [("gap", 3)]
    assert summary["retention"] == {"destinations": "400d", "tenants": {"acme": "90d"}, "journal": "7d"}
    _, out, _ = run(capsys, "report")
    assert "400d at the destinations, acme 90d; 7d in the journal" in out
    _, out, _ = run(capsys, "report", "--from", "2020-01-01", "--to", "2020-01-02", "--format", "json")
    assert json.loads(out)["records"] == 0


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-11-01", False, datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01", True, datetime(2026, 11, 2, tzinfo=UTC)),
        ("2026-11-01T12:00Z", True, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01T12:00", False, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("24h", False, datetime(2026, 11, 9, tzinfo=UTC)),
    ],
)
def test_times_of_a_period(text, end, expected):
    assert moment(text, end=end, now=datetime(2026, 11, 10, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "--from", "yesterday"], "--from: expected a time such as 2026-11-01"),
        (["verify", "nowhere.json"], "nowhere.json: No such file"),
        (["verify", "--key-file", "nowhere"], "--key-file nowhere: No such file"),
        (["verify", "theodore.txt"], "theodore.txt: expected JSON"),
    ],
)
def test_bad_input_is_one_line(journal, capsys, arguments, said):
    Path("theodore.txt").write_text("no json")
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_status_says_what_waits(journal, capsys):
    _, out, _ = run(capsys, "status", "--format", "json")
    (one,) = json.loads(out)["journals"]
    assert (one["state"], one["own_credential"], one["waiting"]) == ("left behind", True, 6)
    assert run(capsys, "status")[1].startswith(f"{journal.folder}: 0 journals delivered, 1 open, 6 records wait")


def test_an_empty_state_folder_is_fine(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("THEODORE_OTEL_AUDIT_KEY", raising=False)
    for arguments in (["status"], ["export"], ["report"]):
        assert run(capsys, *arguments)[0] == 0
    assert run(capsys, "verify")[0] == 1  # nothing to verify is nothing to be sure of
    assert os.listdir(tmp_path) == []


def as_fields(made: Record) -> dict:
    return {name: value for name, value in made.fields().items() if name != "id"}
