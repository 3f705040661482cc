"""The Docker engine of this machine, and what of a compose project is on it."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import docker

ROOT = Path(__file__).parents[3]
COMPOSE_FILE = ROOT / "deploy/compose/docker-compose.yaml"
_COMPOSE = Path(sys.executable).with_name("docker-compose")


def compose_command() -> str:
    """Return how compose is called: by the development environment's own, or Docker's."""
    if _COMPOSE.exists():
        return str(_COMPOSE)
    return shutil.which("docker-compose") or "docker compose"


class Project:
    """What of one compose project is on the engine."""

    def __init__(self, name: str) -> None:
        self.engine = docker.from_env(timeout=120)
        self.name = name
        self._label = {"label": f"com.docker.compose.project={name}"}

    def left(self) -> list[str]:
        """Return the names of everything of the project that is there."""
        containers = self.engine.containers.list(all=True, filters=self._label)
        found = [
            *containers,
            *self.engine.volumes.list(filters=self._label),
            *self.engine.networks.list(filters=self._label),
        ]
        return [each.name for each in found]

    def containers(self, service: str | None = None, *, ended: bool = False) -> list[Any]:
        """Return the containers that run, or all of them; of one service when it is named."""
        found = self.engine.containers.list(all=ended, filters=self._label)
        return [each for each in found if service in (None, each.labels["com.docker.compose.service"])]

    def container(self, service: str) -> Any:
        (found,) = self.containers(service, ended=True)
        return found

    def said_by_ill(self) -> str:
        """Return the last that each container said which failed, or is not well."""
        text = ""
        for container in self.containers(ended=True):
            state = container.attrs["State"]
            well = state.get("Health", {}).get("Status", "healthy") in ("healthy", "starting")
            if state["ExitCode"] or state["Restarting"] or not well:
                said = container.logs(tail=10).decode(errors="replace")
                text += f"{container.name}, {state['Status']}, exit code {state['ExitCode']}:\n{said}\n"
        return text

    def files(self, service: str, folder: str) -> dict[str, bytes]:
        """Return the files below a folder of a container, by their paths in it."""
        chunks, _ = self.container(service).get_archive(folder)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            return {m.name: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}  # type: ignore[union-attr]

    def memory(self) -> dict[str, int]:
        """Return how many bytes each service's container uses, without what the system may take back."""
        used = {}
        for container in self.containers():
            memory = container.stats(stream=False)["memory_stats"]
            cache = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
            used[container.labels["com.docker.compose.service"]] = memory["usage"] - cache
        return used
