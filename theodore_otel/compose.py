"""The development stack in Docker: Compose found and run, and what it says of its containers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from theodore_otel.errors import DownError, InputError

FILE = "docker-compose.yaml"
OVERRIDE = "docker-compose.override.yaml"
"""What a user adds to it or changes of it, beside it."""
WAIT_LIMIT = 300
"""Seconds that the containers have to become healthy."""

_OLDEST = "2.23.1"
"""The first that takes the content of a file from a variable."""

_STOPPED = (130, 143)
"""Exit codes of a process that ended when it got SIGINT or SIGTERM."""

State = Literal["running", "starting", "unhealthy", "waiting", "stopped", "done", "failed"]

_ENDPOINTS = {
    ("collector", "grpc"): ("OTLP gRPC", "{}"),
    ("collector", "http"): ("OTLP HTTP", "http://{}"),
    ("collector", "health"): ("collector's health", "http://{}/"),
    ("jaeger", "16686"): ("Jaeger", "http://{}"),
    ("prometheus", "9090"): ("Prometheus", "http://{}"),
    ("alertmanager", "9093"): ("Alertmanager", "http://{}"),
    ("elasticsearch", "9200"): ("Elasticsearch", "http://{}"),
    ("grafana", "3000"): ("Grafana", "http://{}"),
    ("kibana", "5601"): ("Kibana", "http://{}"),
    ("theodore", "8000"): ("sample Theodore", "http://{}"),
}


@dataclass(frozen=True)
class Container:
    """One container of the stack."""

    service: str
    state: State
    """waiting: for another one; stopped: by a person; done: it only had to do something, and did."""
    text: str
    """What Docker says of it, such as `Up 3 minutes (healthy)`."""
    ports: dict[int, str]
    """Where on this machine its ports are published, as `host:port`."""


class Compose:
    """Docker Compose for one stack."""

    def __init__(self, folder: Path, *, quiet: bool = False) -> None:
        """Find Compose for the stack whose file lies in `folder`; `quiet`: it tells of no progress.

        Raises InputError when there is no Compose.
        """
        self._files = [folder / FILE, *(file for file in [folder / OVERRIDE] if file.is_file())]
        self._command = [*_find(), *(["--progress", "quiet"] if quiet else [])]

    def up(self, profiles: Sequence[str]) -> None:
        """Start what does not run, start anew what has changed, and wait until all is well.

        Raises DownError when that does not come, with the end of the logs of whatever failed.
        """
        self._must_answer()
        words = ["up", "--detach", "--wait", "--wait-timeout", str(WAIT_LIMIT)]
        if self._run(profiles, *words):
            raise DownError("\n".join(["the stack did not come up", *self._failures()]))

    def down(self, *, volumes: bool) -> None:
        """Stop and remove the containers, with `volumes` also what they stored. Raises DownError when that fails."""
        self._must_answer()
        if self._run(["*"], "down", *(["--volumes"] if volumes else [])):
            raise DownError("the stack did not go down")

    def logs(self, *, follow: bool, lines: int) -> int:
        """Print what the containers said; return Compose's exit code."""
        self._must_answer()
        words = ["logs", "--tail", str(lines), *(["--follow"] if follow else [])]
        return subprocess.run(self._words(["*"], *words), check=False).returncode

    def containers(self) -> list[Container]:
        """Return the stack's containers, those that ended too. Raises DownError when Docker does not answer."""
        done = subprocess.run(
            self._words(["*"], "ps", "--all", "--format", "json"), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DownError(done.stderr.strip() or "docker compose ps failed")
        return sorted(_containers(done.stdout), key=lambda container: container.service)

    def _failures(self) -> Iterator[str]:
        for container in self.containers():
            if container.state in ("failed", "unhealthy"):
                words = self._words(["*"], "logs", "--no-log-prefix", "--tail", "5", container.service)
                said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
                yield f"{container.service}: {container.text}\n{textwrap.indent(said.rstrip(), '  ')}"

    def _words(self, profiles: Sequence[str], *words: str) -> list[str]:
        options = [word for file in self._files for word in ("--file", str(file))]
        options += [word for profile in profiles for word in ("--profile", profile)]
        return [*self._command, *options, *words]

    def _run(self, profiles: Sequence[str], *words: str) -> int:
        """Run it with all that it says on stderr, and return its exit code."""
        return subprocess.run(self._words(profiles, *words), stdout=sys.stderr, check=False).returncode

    def _must_answer(self) -> None:
        done = subprocess.run(self._words([], "ps", "--quiet"), capture_output=True, text=True, check=False)
        if done.returncode:
            raise DownError(f"Docker Compose cannot work:\n{done.stderr.strip()}")


def endpoints(containers: Sequence[Container], listeners: dict[int, str]) -> list[tuple[str, str]]:
    """Return name and address of what runs. `listeners`: the collector's, by the port inside of its container."""
    rows = []
    for container in containers:
        for inside, address in container.ports.items():
            key = listeners.get(inside, "") if container.service == "collector" else str(inside)
            if (container.service, key) in _ENDPOINTS:
                name, form = _ENDPOINTS[container.service, key]
                rows.append((name, form.format(address)))
    order = [name for name, _ in _ENDPOINTS.values()]
    return sorted(rows, key=lambda row: order.index(row[0]))


def _find() -> list[str]:
    """Return the words that run Compose: the plugin of docker, or a program of its own."""
    beside = Path(sys.executable).parent / "docker-compose"
    ways = [["docker", "compose"], ["docker-compose"], [str(beside)]]
    for way in ways:
        if shutil.which(way[0]) and (version := _version(way)):
            if version < Version(_OLDEST):
                raise InputError(f"`{' '.join(way)}` is version {version}: expected {_OLDEST} or newer")
            return way
    raise InputError(
        "Docker Compose is not there: neither `docker compose` nor `docker-compose` runs. See "
        "https://docs.docker.com/compose/install/, or use `theodore-otel stack up` without --compose, which needs no "
        "Docker."
    )


def _version(way: Sequence[str]) -> Version | None:
    done = subprocess.run([*way, "version", "--short"], capture_output=True, text=True, check=False)
    try:
        return Version(done.stdout.strip()) if done.returncode == 0 else None
    except InvalidVersion:
        return None


def _containers(text: str) -> Iterator[Container]:
    for line in text.splitlines():
        told = json.loads(line)
        published = {
            each["TargetPort"]: f"{each['URL']}:{each['PublishedPort']}"
            for each in told.get("Publishers") or []
            if each["PublishedPort"]
        }
        yield Container(told["Service"], _state(told), told["Status"], published)


def _state(told: dict[str, str]) -> State:
    if told["State"] == "exited":
        ends: dict[int, State] = {0: "done", **dict.fromkeys(_STOPPED, "stopped")}
        return ends.get(int(told["ExitCode"]), "failed")
    if told["State"] != "running":
        return "waiting" if told["State"] == "created" else "failed"
    states: dict[str, State] = {"starting": "starting", "unhealthy": "unhealthy"}
    return states.get(told["Health"], "running")
