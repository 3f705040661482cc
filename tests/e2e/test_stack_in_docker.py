"""`theodore-otel stack --compose` with Docker: the smallest stack, one collector that prints what it gets."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.stack import engine
from images.fixtures import stack_images
from support.ports import free_ports

__all__ = ["stack_images"]

TOOL = Path(sys.executable).parent / "theodore-otel"
CONFIGURATION = """
version: 1
profile: dev
collector:
  memory: 128MiB
  listen: {grpc: "0.0.0.0:4317", http: "0.0.0.0:4318", health: "0.0.0.0:13133", telemetry: "0.0.0.0:8888"}
"""
PRINTED = "destinations: {seen: {type: console}}\n"


class Stack:
    """A stack of its own: a folder, a project and free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = engine.Project(f"theodore-command-{secrets.token_hex(4)}")
        self.ports = dict(zip(("OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "HEALTH_PORT"), free_ports(3), strict=True))
        self.configure(PRINTED)

    def configure(self, more: str) -> None:
        (self.folder / "theodore-otel.yaml").write_text(CONFIGURATION + more)

    def run(self, *words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        ports = {name: str(port) for name, port in self.ports.items()}
        environment = {**os.environ, **ports, "COMPOSE_PROJECT_NAME": self.project.name}
        environment.pop("COMPOSE_PROFILES", None)
        command = [TOOL, *(["-q"] if quiet else []), "stack", *words, "--compose"]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def good(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def id_of(self, service: str) -> str:
        return self.project.container(service).id


@pytest.fixture
def stack(tmp_path, stack_images):
    made = Stack(tmp_path)
    yield made
    made.run("down", "--volumes")
    assert made.project.left() == []


def test_it_comes_up_is_looked_at_and_goes_with_what_it_stored_when_told_so(stack):
    printed = stack.good("up")
    assert [line.split()[-1] for line in printed.splitlines()[1:]] == [
        f"127.0.0.1:{stack.ports['OTLP_GRPC_PORT']}",
        f"http://127.0.0.1:{stack.ports['OTLP_HTTP_PORT']}",
        f"http://127.0.0.1:{stack.ports['HEALTH_PORT']}/",
    ]
    states = {each["name"]: each["state"] for each in json.loads(stack.good("ps", "--format", "json"))}
    assert states == {"prepare": "done", "collector": "running", "collector-health": "running"}
    assert "Everything is ready" in stack.good("logs")
    collector = stack.id_of("collector")
    again = stack.run("up")
    assert stack.id_of("collector") == collector, again.stderr
    stack.configure(PRINTED + "logging: {sampling: {INFO: 0.5}}\n")
    quietly = stack.run("up", quiet=True)
    assert (quietly.returncode, quietly.stderr) == (0, "")
    assert stack.id_of("collector") != collector
    stack.good("down")
    assert stack.project.left() == [f"{stack.project.name}_state"]
    stack.good("down", "--volumes")
    assert stack.run("ps").returncode == 3
    assert stack.project.left() == []


def test_a_configuration_that_would_throw_everything_away_starts_nothing(stack):
    stack.configure("")
    done = stack.run("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert "destinations: expected one at least" in done.stderr
    assert stack.project.left() == []


def test_a_secret_that_is_not_set_is_named_and_nothing_is_sent(stack):
    stack.configure("destinations: {nr: {type: newrelic, license_key: {env: NO_SUCH_KEY}}}\n")
    done = stack.run("up")
    assert (done.returncode, done.stdout) == (3, "")
    assert "destinations.nr.license_key: environment variable NO_SUCH_KEY is not set" in done.stderr
    assert stack.project.containers("collector") == []
    assert stack.run("ps").returncode == 3
