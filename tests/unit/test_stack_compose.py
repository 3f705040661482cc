"""`theodore-otel stack --compose` where there is no Docker, and what it makes of what Compose answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from theodore_otel import compose
from theodore_otel.compose import Container, endpoints
from theodore_otel.errors import InputError

TOOL = Path(sys.executable).parent / "theodore-otel"
LISTEN = "collector: {listen: {grpc: '0.0.0.0:4317', http: '0.0.0.0:4318', health: '0.0.0.0:13133', telemetry: '0.0.0.0:8888'}}\n"  # noqa: E501


def stack(folder, *words, **more):
    environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/no-engine", **more}
    return subprocess.run([TOOL, "stack", *words], cwd=folder, env=environment, capture_output=True, text=True)


def program(folder, version):
    folder.mkdir(exist_ok=True)
    (folder / "docker-compose").write_text(f"#!/bin/sh\necho {version}\n")
    (folder / "docker-compose").chmod(0o755)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "theodore-otel.yaml").write_text(LISTEN)
    return tmp_path


@pytest.fixture
def nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_without_compose_it_says_what_to_install_and_what_needs_none(tmp_path, nothing_installed):
    with pytest.raises(InputError, match=r"Docker Compose is not there.*without --compose"):
        compose.Compose(tmp_path)


def test_a_compose_that_is_too_old_is_refused(tmp_path, nothing_installed):
    program(tmp_path / "bin", "1.29.2")
    with pytest.raises(InputError, match=r"`docker-compose` is version 1.29.2: expected 2.23.1 or newer"):
        compose.Compose(tmp_path)


def test_the_compose_beside_the_interpreter_is_found(tmp_path, nothing_installed):
    program(tmp_path, "2.40.0")
    compose.Compose(tmp_path)


@pytest.mark.parametrize("words", [["up"], ["down"], ["logs"], ["ps"]])
def test_an_engine_that_does_not_answer_is_down(folder, words):
    if words != ["up"]:
        (folder / compose.FILE).write_text("services: {}\n")
    done = stack(folder, *words, "--compose")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Docker daemon" in done.stderr or "docker API" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_up_renders_the_stack_before_it_starts_it(folder):
    done = stack(folder, "up", "--compose")
    assert "wrote docker-compose.yaml" in done.stderr
    assert {"docker-compose.yaml", ".env.example", "collector.yaml", "instrument.json"} <= set(os.listdir(folder))


@pytest.mark.parametrize("words", [["down"], ["logs"], ["ps"]])
def test_a_folder_without_a_stack_is_named(tmp_path, words):
    done = stack(tmp_path, *words, "--compose", "-c", "there/theodore-otel.yaml")
    assert done.returncode == 2
    assert "there/docker-compose.yaml: no such file" in done.stderr


def test_an_unknown_profile_is_refused(folder):
    done = stack(folder, "up", "--compose", "--profile", "gui")
    assert done.returncode == 2
    assert "--profile: expected ui or demo with --compose, got 'gui'" in done.stderr


def test_options_of_the_other_stack_are_refused(folder):
    assert "--volumes goes with --compose" in stack(folder, "down", "--volumes").stderr
    assert "can be given once" in stack(folder, "up", "--profile", "dev", "--profile", "local").stderr


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"State": "running", "Health": "healthy"}, "running"),
        ({"State": "running", "Health": ""}, "running"),
        ({"State": "running", "Health": "starting"}, "starting"),
        ({"State": "running", "Health": "unhealthy"}, "unhealthy"),
        ({"State": "created", "Health": ""}, "waiting"),
        ({"State": "exited", "Health": "", "ExitCode": 0}, "done"),
        ({"State": "exited", "Health": "", "ExitCode": 2}, "failed"),
        ({"State": "exited", "Health": "", "ExitCode": 137}, "failed"),
        ({"State": "exited", "Health": "", "ExitCode": 143}, "stopped"),
        ({"State": "restarting", "Health": ""}, "failed"),
    ],
)
def test_a_containers_state_is_read_from_composes_answer(told, state):
    line = json.dumps({"Service": "prepare", "Status": "as Docker says", **told})
    (container,) = compose._containers(line)
    assert container == Container("prepare", state, "as Docker says", {})


def test_endpoints_are_told_by_name_and_in_order():
    containers = [
        Container("theodore", "running", "Up", {8000: "127.0.0.1:28000"}),
        Container("collector", "running", "Up", {4318: "127.0.0.1:24318", 4317: "127.0.0.1:24317", 9: "127.0.0.1:9"}),
    ]
    assert endpoints(containers, {4317: "grpc", 4318: "http"}) == [
        ("OTLP gRPC", "127.0.0.1:24317"),
        ("OTLP HTTP", "http://127.0.0.1:24318"),
        ("sample Theodore", "http://127.0.0.1:28000"),
    ]
