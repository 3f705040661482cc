"""The layer has the owners and modes that were said, whoever makes it."""

from __future__ import annotations

import tarfile

import pytest

from images.layer import Layer


@pytest.fixture
def made(tmp_path):
    """Return a function that has a layer filled and returns its entries by name."""

    def make(fill):
        file = tmp_path / "layer.tar"
        with Layer(file) as layer:
            fill(layer)
        with tarfile.open(file) as archive:
            entries = archive.getmembers()
        assert len({entry.name for entry in entries}) == len(entries)
        return {entry.name: entry for entry in entries}

    return make


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/program").write_text("program")
    (root / "a/program").chmod(0o755)
    (root / "a/same").hardlink_to(root / "a/program")
    (root / "a/link").symlink_to("program")
    (root / "docs").mkdir()
    (root / "docs/text").write_text("text")
    return root


def test_a_tree_is_roots_without_what_is_left_out(made, tree):
    found = made(lambda layer: layer.tree(tree, "/opt", without=["docs"]))
    assert set(found) == {"opt", "opt/a", "opt/a/b", "opt/a/program", "opt/a/same", "opt/a/link"}
    assert {(entry.uid, entry.gid, entry.uname) for entry in found.values()} == {(0, 0, "")}
    assert found["opt/a/program"].mode == 0o755
    assert found["opt/a/link"].linkname == "program"
    assert found["opt/a/same"].isreg()
    assert found["opt/a/same"].size == len("program")


def test_a_folder_has_its_owner_though_files_follow(made, tree):
    def fill(layer):
        layer.folder("/data/deep", "1000:0", 0o775)
        layer.tree(tree, "/data/deep")

    found = made(fill)
    assert (found["data/deep"].uid, found["data/deep"].gid, found["data/deep"].mode) == (1000, 0, 0o775)
    assert (found["data"].uid, found["data"].mode) == (0, 0o755)
    assert list(found).index("data") < list(found).index("data/deep") < list(found).index("data/deep/a")


def test_programs_are_below_usr_where_the_system_is_merged(made):
    def fill(layer):
        layer.merge()
        layer.text("/bin/program", "text", 0o755)
        layer.link("/bin/applet", "/usr/bin/busybox")
        assert layer.has("/usr/bin/program")
        assert not layer.has("/bin/other")

    found = made(fill)
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/program"].mode == 0o755
    assert found["usr/bin/applet"].issym()
    assert list(found).index("bin") < list(found).index("usr/bin/program")
