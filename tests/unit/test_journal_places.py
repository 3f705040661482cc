"""The state folder and its files: the owner's alone, whole or not there, claimed by one process at a time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from theodore_otel.journal import places

HOLD = """
import sys, time
from pathlib import Path
from theodore_otel.journal import places
held = places.create(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_and_what_is_made_above_it_are_the_owners_alone(tmp_path):
    made = places.folder("spool", tmp_path / "state" / "theodore-otel")
    assert made == tmp_path / "state" / "theodore-otel" / "spool"
    assert {mode(made), mode(made.parent), mode(made.parent.parent)} == {0o700}


def test_the_state_folder_is_used_when_no_other_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    assert places.folder("audit") == tmp_path / "home" / "audit"


def test_a_folder_that_others_could_open_is_closed_to_them(tmp_path):
    (tmp_path / "spool").mkdir(mode=0o755)
    assert mode(places.folder("spool", tmp_path)) == 0o700


def test_a_link_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        places.folder("spool", tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "spool").mkdir()
    os.chown(tmp_path / "spool", 12345, 12345)
    with pytest.raises(PermissionError):
        places.folder("spool", tmp_path)


def test_a_file_is_written_whole_and_for_the_owner_alone(tmp_path):
    places.write(tmp_path / "file", b"content", durable=True)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert mode(tmp_path / "file") == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        places.write(tmp_path / "file", "not bytes")
    assert os.listdir(tmp_path) == []


def test_a_file_is_claimed_once_until_it_is_released(tmp_path):
    with places.create(tmp_path / "file") as held:
        assert mode(held.path) == 0o600
        assert places.claim(tmp_path / "file") is None
    with places.claim(tmp_path / "file") as again:
        assert again.descriptor >= 0


def test_a_file_that_is_gone_cannot_be_claimed(tmp_path):
    assert places.claim(tmp_path / "file") is None


def test_a_lock_file_is_made_when_it_is_asked_for(tmp_path):
    with places.claim(tmp_path / "lock", make=True):
        assert mode(tmp_path / "lock") == 0o600
        assert places.claim(tmp_path / "lock", make=True) is None


def test_creating_does_not_replace_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        places.create(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert os.listdir(tmp_path) == ["file"]


def test_the_file_of_a_living_process_cannot_be_claimed_and_that_of_a_killed_one_can(tmp_path):
    file = tmp_path / "file"
    process = subprocess.Popen([sys.executable, "-c", HOLD, file], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        assert places.claim(file) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with places.claim(file) as held:
        assert held is not None


def test_a_forked_child_does_not_keep_its_parents_claim(tmp_path):
    held = places.create(tmp_path / "file")
    (ready, say_ready), (end, say_end) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(say_end)
        os.write(say_ready, b"!")
        os.read(end, 1)  # until the parent is done
        os._exit(0)
    try:
        os.read(ready, 1)
        assert places.claim(tmp_path / "file") is None
        held.release()
        with places.claim(tmp_path / "file") as again:
            assert again is not None
    finally:
        os.close(say_end)
        os.waitpid(child, 0)
        for descriptor in (ready, say_ready, end):
            os.close(descriptor)
