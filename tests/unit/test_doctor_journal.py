"""`theodore-otel doctor` on the audit journal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from theodore_otel.config import load_text
from theodore_otel.config.source import parse
from theodore_otel.doctor.finding import Setup
from theodore_otel.doctor.journal import check_journal
from theodore_otel.journal.audit_keys import Keys
from theodore_otel.journal.audit_trail import head_line, trails

KEY = "the-key-of-these-tests"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    for name in ("THEODORE_OTEL_CONFIG", "THEODORE_OTEL_AUDIT_KEY", "THEODORE_OTEL_AUDIT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def found(text: str = "version: 1", **environment: str) -> list[tuple[str, str]]:
    setup = Setup(parse(text, "t"), None, load_text(text, "t"), {**os.environ, **environment})
    return [(each.state, each.found) for each in check_journal(setup)]


def write(**environment: str) -> None:
    script = "from theodore_otel.telemetry.audit import audit; audit('x'); audit('y')"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environment}, check=True)


def test_nothing_written_yet_is_well(home):
    assert found() == [("ok", f"{home}/audit: no audit record of an earlier run waits")]
    assert os.listdir(home) == []


def test_records_that_wait_and_a_generated_key_are_told(home):
    write()
    assert found() == [
        ("note", f"the audit key is generated, in {home}/audit"),
        ("warning", "2 audit records of earlier runs are not delivered"),
    ]


def test_a_note_that_nobody_signed_does_not_hide_what_waits(home):
    write()
    (trail,) = trails(home / "audit")
    (trail.path / "sent").write_text('{"segment": 1, "offset": 0, "sequence": 2}')
    assert found()[-1] == ("warning", "some audit records of earlier runs are not delivered")


def test_lost_records_are_told(home):
    write()
    (trail,) = trails(home / "audit")
    key = Keys(home / "audit" / "key").current()
    (trail.path / "head").write_bytes(head_line(key, trail.writer, 2, "0" * 64, 7))
    assert ("warning", "7 audit records of earlier runs are lost: neither written to disk nor delivered") in found()


def test_a_key_that_is_given_is_named_by_its_id_alone(home):
    (state, told), *_ = found(THEODORE_OTEL_AUDIT_KEY=KEY)
    assert state == "ok"
    assert told.startswith("audit records are signed with key k")
    assert KEY not in told


@pytest.mark.parametrize("reference", ["{env: NOT_SET}", "{file: /nowhere/key}"])
def test_a_key_that_cannot_be_had_fails(home, reference):
    states = [state for state, _ in found(f"version: 1\ninstrument: {{audit: {{key: {reference}}}}}")]
    assert states == ["failed", "ok"]


def test_a_folder_that_cannot_be_written_fails(home):
    (home / "audit").write_text("in the way")
    assert found() == [("failed", f"{home}/audit: audit records cannot be written")]
