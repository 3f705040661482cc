"""Where images can be pulled they are; elsewhere they are made, and only once."""

from __future__ import annotations

import docker
import pytest
from docker.errors import APIError, ImageNotFound, NotFound

from images import make
from images.engine import _BASE, Engine
from images.obtain import obtain
from images.recipes import ROOT, images
from theodore_otel.errors import DownError


class Registry:
    """The engine's client: which images it has, by name with their labels, and which it can pull."""

    def __init__(self, has=(), pulls=()):
        self.has, self.pulls = dict(has), set(pulls)
        self.asked, self.pulled, self.imported = [], [], []
        self.refusal = APIError("no such host")
        self.images = self.api = self

    def ping(self):
        return True

    def get(self, name):
        if name not in self.has:
            raise ImageNotFound(name)
        return type("Image", (), {"labels": self.has[name]})

    def inspect_distribution(self, name):
        self.asked.append(name)
        if name not in self.pulls:
            raise self.refusal

    def pull(self, name):
        self.pulled.append(name)
        self.has[name] = {}

    def import_image_from_file(self, file, repository, tag, settings):
        label, _, digest = settings[0].removeprefix("LABEL ").partition("=")
        self.imported.append(f"{repository}:{tag}")
        self.has[f"{repository}:{tag}"] = {label: digest}

    def list(self, filters):
        return []


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """Return a function that makes an engine on such a client; nothing is made really."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(make, "layer", lambda image, file, note: file.write_bytes(b""))
    (tmp_path / "theodore-otel/images").mkdir(parents=True)

    def on(registry):
        monkeypatch.setattr(docker, "from_env", lambda **_: registry)
        return Engine()

    return on


def had(image, engine):
    return obtain(image, engine, lambda message: None)


def test_an_image_is_pulled_where_a_registry_has_it_and_then_stays(engine):
    image = images()["jaeger"]
    registry = Registry(pulls=[image.name])
    assert had(image, engine(registry)) == "pulled"
    assert had(image, engine(registry)) == "there"
    assert (registry.pulled, registry.imported) == ([image.name], [])


def test_an_image_is_made_where_none_can_be_pulled_and_only_once(engine):
    image = images()["jaeger"]
    registry = Registry()
    assert had(image, engine(registry)) == "made"
    assert had(image, engine(registry)) == "there"
    assert registry.imported == [image.name]


def test_an_image_made_of_something_else_is_made_again(engine):
    image = images()["jaeger"]
    registry = Registry(has={image.name: {make.LABEL: "older"}})
    assert had(image, engine(registry)) == "made"


def test_our_own_image_that_compose_built_is_not_taken_for_the_checkout(engine):
    image = images()["theodore-otel"]
    registry = Registry(has={image.name: {}})
    assert had(image, engine(registry)) == "made"


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """Return the file with the arguments of the command that builds images, and what ends it with an exit code."""
    told = tmp_path / "told"

    def ending(code):
        (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" >{told}; echo the reason >&2; exit {code}\n')
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return told, ending


def test_our_own_image_is_built_from_its_dockerfile_where_the_base_can_be_pulled(engine, builder):
    told, ending = builder
    ending(0)
    image = images()["theodore-sample"]
    registry = Registry(pulls=["python:3.12-slim-bookworm"])
    assert had(image, engine(registry)) == "built"
    assert registry.imported == []
    arguments = told.read_text()
    assert f"--label {make.LABEL}={image.digest} --target theodore-sample --tag {image.name} ." in arguments


def test_our_own_image_is_made_where_its_dockerfile_fails_and_the_reason_is_told(engine, builder):
    builder[1](1)
    image = images()["theodore-otel"]
    notes = []
    assert obtain(image, engine(Registry(pulls=["python:3.12-slim-bookworm"])), notes.append) == "made"
    assert any("the reason" in note for note in notes)


def test_the_base_of_our_own_images_is_that_of_the_dockerfile():
    assert f"FROM {_BASE} AS base" in (ROOT / "deploy/compose/Dockerfile").read_text()


def test_an_image_made_while_the_checkout_changed_is_out_of_date(engine, monkeypatch):
    image = images()["jaeger"]
    registry = Registry()
    monkeypatch.setattr(make, "layer", lambda *_: image.data.update(changed=True))
    assert had(image, engine(registry)) == "made"
    monkeypatch.setattr(make, "layer", lambda *_: None)
    assert had(image, engine(registry)) == "made"
    assert had(image, engine(registry)) == "there"


def test_a_registry_that_does_not_answer_is_asked_once(engine):
    registry = Registry()
    asking = engine(registry)
    for key in ("collector", "jaeger", "prometheus", "elasticsearch"):
        had(images()[key], asking)
    assert registry.asked == [images()[key].name for key in ("collector", "elasticsearch")]


def test_a_registry_without_one_image_is_asked_for_the_others(engine):
    registry = Registry(pulls=[images()["jaeger"].name])
    asking = engine(registry)
    registry.refusal = NotFound("no such tag", type("Answer", (), {"status_code": 404})())
    assert had(images()["collector"], asking) == "made"
    assert had(images()["jaeger"], asking) == "pulled"


def test_an_image_that_cannot_be_loaded_names_itself(engine, monkeypatch):
    registry = Registry()

    def fail(*_):
        raise APIError("no space left")

    monkeypatch.setattr(registry, "import_image_from_file", fail)
    with pytest.raises(DownError, match=r"jaegertracing/all-in-one:1\.62\.0 cannot be made: no space left"):
        had(images()["jaeger"], engine(registry))


def test_without_an_engine_the_reason_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(DownError, match="no Docker engine answers"):
        Engine()
