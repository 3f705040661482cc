"""What the Docker engine of this machine has, and what it can pull."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from images.make import LABEL
from images.recipes import ROOT, Image
from theodore_otel.errors import DownError
from theodore_otel.otelcol import places

_BASE = "python:3.12-slim-bookworm"
_ANSWER = 20.0
"""Seconds a registry may take to say that it has an image."""
_PULL = 1800.0


class Engine:
    """The engine that the environment names, or the one of this machine."""

    def __init__(self) -> None:
        """Raise DownError when none answers."""
        try:
            self._client = docker.from_env(timeout=_PULL)
            self._client.ping()
            self._asking = docker.from_env(timeout=_ANSWER)
        except DockerException as error:
            raise DownError(f"no Docker engine answers: {error}") from error
        self._silent: set[str] = set()

    def has(self, image: Image) -> bool:
        """Return whether it is there: pulled, or made of what it would be made of now."""
        try:
            labels = self._client.images.get(image.name).labels or {}
        except ImageNotFound:
            return False
        return (LABEL not in labels and not image.own) or labels.get(LABEL) == image.digest

    def can_pull(self, name: str) -> bool:
        """Ask the registry, and only once when it does not answer."""
        first = name.partition("/")[0]
        registry = first if "." in first else "docker.io"
        if registry in self._silent:
            return False
        try:
            self._asking.api.inspect_distribution(name)
        except (DockerException, OSError) as error:  # requests' errors are OSErrors
            # An answer that it has no such image says nothing of the others.
            if not (isinstance(error, APIError) and error.is_client_error()):
                self._silent.add(registry)
            return False
        return True

    def pull(self, name: str) -> None:
        """Pull it, or raise DownError."""
        try:
            self._client.images.pull(name)
        except (DockerException, OSError) as error:
            raise DownError(f"{name} cannot be pulled: {error}") from error

    def build(self, image: Image, note: places.Note) -> bool:
        """Build one of our own from its Dockerfile where its base can be pulled; return whether it was."""
        docker_command = shutil.which("docker")
        if not (docker_command and self.can_pull(_BASE)):
            return False
        labelled = ["--label", f"{LABEL}={image.digest}", "--target", image.data["target"], "--tag", image.name]
        command = [docker_command, "build", "--quiet", "-f", "deploy/compose/Dockerfile", *labelled, "."]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            note(f"  its Dockerfile does not build here: {done.stderr.strip()[-500:]}")
        return not done.returncode

    def load(self, image: Image, layer: Path, settings: list[str]) -> None:
        """Make it of one layer and settings, in the place of what had its name."""
        repository, _, tag = image.name.rpartition(":")
        try:
            self._client.api.import_image_from_file(str(layer), repository, tag, settings)
        except (DockerException, OSError) as error:
            raise DownError(f"{image.name} cannot be made: {error}") from error
        self._sweep()

    def _sweep(self) -> None:
        """Remove what was made here and has lost its name since; what still runs stays until the next time."""
        for old in self._client.images.list(filters={"dangling": True, "label": LABEL}):
            with contextlib.suppress(DockerException):
                self._client.api.remove_image(old.id)
