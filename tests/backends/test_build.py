"""What is made is what the lock says, or nothing."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from backends import __main__ as command
from backends import build
from backends.recipes import Recipe, recipes
from theodore_otel.errors import DownError


@pytest.fixture
def jars(tmp_path):
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("server-1.jar", "other-1.jar"):
        (folder / name).write_bytes(name.encode())
    with zipfile.ZipFile(folder / "module-1.jar", "w") as archive:
        archive.writestr("META-INF/es-plugins/module/plugin-descriptor.properties", "name=module")
    return folder


@pytest.fixture
def lock(jars, tmp_path):
    file = tmp_path / "jars.sha256"
    rows = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars.iterdir()]
    file.write_text("".join(rows))
    return file


def test_jars_of_the_lock_pass(jars, lock):
    build._verify(jars, lock)


@pytest.mark.parametrize("change", ["altered", "missing", "added"])
def test_a_jar_that_differs_from_the_lock_is_refused_by_name(jars, lock, change):
    if change == "altered":
        (jars / "other-1.jar").write_bytes(b"something else")
    elif change == "missing":
        (jars / "other-1.jar").unlink()
    else:
        (jars / "extra-1.jar").write_bytes(b"")
    with pytest.raises(DownError, match="extra-1" if change == "added" else "other-1"):
        build._verify(jars, lock)


def test_jars_are_laid_out_as_the_recipe_says(jars, tmp_path):
    build._lay_out(jars, tmp_path / "made", {"module": ["module-*", "other-*"]})
    made = sorted(str(file.relative_to(tmp_path / "made")) for file in (tmp_path / "made").rglob("*") if file.is_file())
    names = ("module-1.jar", "other-1.jar", "plugin-descriptor.properties")
    assert made == ["lib/server-1.jar", *(f"modules/module/{name}" for name in names)]


def test_a_failed_step_leaves_nothing_and_shows_what_it_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = next(iter(recipes().values()))

    def fail(recipe, made, scratch, note):
        build._run(["sh", "-c", "echo the reason; exit 3"], scratch, note)

    monkeypatch.setattr(build, "_with_go", fail)
    with pytest.raises(DownError, match="sh ended with exit code 3:\n  the reason"):
        build.obtain(recipe, lambda message: None)
    assert [file.name for file in (tmp_path / "theodore-otel" / "backends").iterdir()] == ["lock"]


def test_another_version_or_lock_is_another_folder(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.setattr("backends.recipes._HERE", tmp_path)
    homes = [Recipe("x", {"version": "1"}).home, Recipe("x", {"version": "2"}).home]
    (tmp_path / "x" / "go.sum").write_text("changed")
    homes.append(Recipe("x", {"version": "1"}).home)
    assert len(set(homes)) == 3


def test_an_unknown_server_is_bad_input(capsys):
    assert command.main(["prometeus"]) == 2
    assert (
        "no such server: prometeus; there are prometheus, jaeger, alertmanager, elasticsearch, kafka"
        in capsys.readouterr().err
    )


def test_without_maven_the_reason_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownError, match="Maven and a JDK of version 17 or later are needed"):
        build.obtain(recipes()["kafka"], lambda message: None)
