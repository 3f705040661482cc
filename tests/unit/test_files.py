"""Files that a person names: whole or not at all, permissions kept, devices written to, no planted link followed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from theodore_otel import files
from theodore_otel.cli import cli
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.files import write as render

ROOT = os.geteuid() == 0
OTHER = 12345


def test_a_new_file_is_as_readable_as_any_other_and_nothing_is_left_beside_it(tmp_path):
    files.write(tmp_path / "made", "text")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "made").read_text() == "text"
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made", "plain"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(mode)
    files.write(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
    render([RenderedFile("old", "rendered")], tmp_path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("rendered", mode)


def test_what_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "old"
    path.write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path / "folder", "new")
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "none" / "x", "new")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        files.write(path, "new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "old"]
    assert path.read_text() == "old"


@pytest.mark.case("export_replaces_devices")
def test_a_device_is_written_to_and_stays_one():
    before = os.stat("/dev/null")
    files.write(Path("/dev/null"), "x")
    with pytest.raises(OSError, match="No space"):
        files.write(Path("/dev/full"), "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.path.samestat(before, os.stat("/dev/null"))


@pytest.mark.case("export_replaces_devices")
@pytest.mark.skipif(not ROOT, reason="only root may make a device")
def test_exports_to_a_device_leave_it_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    device = tmp_path / "null"
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    for words in (("logs",), ("logs", "--format", "json"), ("metrics",), ("metrics", "--format", "prometheus")):
        assert CliRunner().invoke(cli, ["observability", *words, "--export", str(device)]).exit_code == 0
        assert stat.S_ISCHR(device.stat().st_mode)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["home", "null"]


@pytest.mark.case("export_replaces_devices")
def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    files.write(path, "text")
    reader.join(30)
    assert read == ["text"]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.case("export_replaces_devices")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_is_written_to_wherever_it_leads(tmp_path, name, into):
    if not os.path.exists(name):
        pytest.skip(f"no {name} here")
    program = f"import pathlib, theodore_otel.files as f; f.write(pathlib.Path({name!r}), 'text')"
    out = tmp_path / "out"
    out.write_text("before ")
    with out.open("a") as file:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE if into == "pipe" else file)
    assert done.returncode == 0
    if into == "pipe":
        assert done.stdout == b"text"
    else:
        assert out.read_text() == "before text"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.case("export_follows_planted_links")
def test_a_link_that_waits_under_a_name_of_the_draft_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for planted in (".out.new", ".out", "out.new", "out.tmp", ".out.tmp"):
        (tmp_path / planted).symlink_to(victim)
    result = CliRunner().invoke(cli, ["observability", "logs", "--export", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert (tmp_path / "out").read_text() == ""
    assert victim.read_text() == "mine"


@pytest.mark.case("export_follows_planted_links")
def test_a_link_of_the_users_own_leads_to_its_file_and_stays_one(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "real").write_text("old")
    (tmp_path / "link").symlink_to("second")
    (tmp_path / "second").symlink_to("data/real")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "data" / "real").read_text() == "new"
    (tmp_path / "nowhere").symlink_to("data/made")
    files.write(tmp_path / "nowhere", "made")
    assert (tmp_path / "data" / "made").read_text() == "made"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="Too many levels"):
        files.write(tmp_path / "round", "x")


@pytest.mark.case("export_follows_planted_links")
@pytest.mark.skipif(not ROOT, reason="only root may make another user's links")
def test_another_users_link_or_pipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link, pipe, own = tmp_path / "link", tmp_path / "pipe", tmp_path / "own"
    link.symlink_to(victim)
    own.symlink_to(link)
    os.mkfifo(pipe)
    for planted in (link, pipe):
        os.chown(planted, OTHER, OTHER, follow_symlinks=False)
    for path in (link, pipe, own):
        result = CliRunner().invoke(cli, ["observability", "logs", "--export", str(path)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"--export: {path} cannot be written: is another user's link or device" in result.stderr
    assert victim.read_text() == "mine"


@pytest.mark.skipif(not ROOT, reason="only root may make another user's files")
def test_a_file_of_another_user_does_not_say_who_may_read_what_takes_its_place(tmp_path):
    path = tmp_path / "open"
    path.write_text("")
    path.chmod(0o666)
    os.chown(path, OTHER, OTHER)
    files.write(path, "new")
    assert (stat.S_IMODE(path.stat().st_mode) & 0o022, path.stat().st_uid) == (0, 0)
