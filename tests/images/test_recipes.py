"""The images are those of the compose file, and one that is out of date is known."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess

import pytest
import yaml

from images import __main__ as command
from images import recipes
from images.recipes import ROOT, images
from theodore_otel import __version__

COMPOSE = ROOT / "deploy/compose"


def test_every_image_of_the_compose_file_is_made_but_the_user_interfaces():
    services = yaml.safe_load((COMPOSE / "docker-compose.yaml").read_text())["services"].values()
    wanted = {service["image"] for service in services if service.get("profiles") != ["ui"]}
    names = {re.sub(r"\$\{THEODORE_OTEL_VERSION:-(.*)\}", r"\1", name) for name in wanted}
    assert names == {image.name for image in images().values()}


def test_what_the_compose_file_lets_containers_be_is_what_the_images_are():
    services = yaml.safe_load((COMPOSE / "docker-compose.yaml").read_text())["services"]
    owners = {
        service["image"]: service["user"]
        for service in services.values()
        if service.get("image", "").startswith(("prom/", "docker.elastic.co/elasticsearch/"))
    }
    made = {image.name: image.data["folders"] for image in images().values() if "folders" in image.data}
    for name, user in owners.items():
        assert user in {folder["owner"] for folder in made[name].values()}, name


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a copy of what our own images are made of, in the place of the checkout."""
    for source in recipes.sources():
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / source)
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    return tmp_path


def digests():
    return {key: image.digest for key, image in images().items()}


def test_a_changed_checkout_outdates_our_own_images_alone(checkout):
    before = digests()
    assert digests() == before
    (checkout / "theodore_otel/entry.py").write_text("changed")
    changed = {key for key, digest in digests().items() if digest != before[key]}
    assert changed == {"theodore-otel", "theodore-sample"}


def test_what_python_leaves_in_the_checkout_outdates_nothing(checkout):
    before = digests()
    (checkout / "theodore_otel/__pycache__").mkdir()
    (checkout / "theodore_otel/__pycache__/entry.pyc").touch()
    (checkout / "tests/sample_app/sample_theodore.egg-info").mkdir()
    (checkout / "tests/sample_app/sample_theodore.egg-info/PKG-INFO").touch()
    assert digests() == before


def test_another_recipe_or_server_outdates_an_image(monkeypatch):
    image = images()["jaeger"]
    other = recipes.Image("jaeger", {**image.data, "user": "0"})
    assert other.digest != image.digest
    before = image.digest
    server = recipes.servers()["jaeger"]
    monkeypatch.setitem(server.data, "version", "0")
    monkeypatch.setattr(recipes, "servers", lambda: {"jaeger": server})
    assert image.digest != before


def test_what_is_installed_is_what_the_dockerfile_copies():
    dockerfile = (COMPOSE / "Dockerfile").read_text()
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for word in line.split()[:-1]
    }
    found = {str(file) for file in recipes.sources()}
    for pattern in copied:
        assert any(name == pattern or fnmatch.fnmatch(name, f"{pattern}/*") for name in found), pattern
    assert {name for name in found if not any(name == each or name.startswith(f"{each}/") for each in copied)} == set()


def test_what_no_commit_has_is_in_no_image():
    done = subprocess.run(
        ["git", "check-ignore", *map(str, recipes.sources())], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def test_our_own_images_have_the_version_of_the_package():
    assert images()["theodore-otel"].name == f"theodore-otel:{__version__}"


def test_an_unknown_image_is_bad_input(capsys):
    assert command.main(["colector"]) == 2
    assert "no such image: colector; there are collector, jaeger" in capsys.readouterr().err
