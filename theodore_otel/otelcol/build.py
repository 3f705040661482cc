"""The binary made here: main package from the manifest, modules from the lock, compiled by Go."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from theodore_otel.errors import DownError
from theodore_otel.otelcol import golang, places

_PROGRESS_EVERY = 15.0
_LAST_LINES = 12


def build(made_of: places.Recipe, target: Path, note: places.Note) -> None:
    """Build the collector at `target`, or leave nothing behind. Takes 10 to 15 minutes with cold caches.

    Go's own variables (GOFLAGS, GOPROXY, GOMODCACHE ...) are respected; modules are verified against the lock.
    Raises DownError naming the step that failed and the last lines it printed.
    """
    go = golang.find_go(made_of.go_version, made_of.go_wheel, note)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        source = _generate(go, made_of, Path(folder), note)
        binary = _compile(go, source, Path(folder) / made_of.binary, note)
        binary.replace(target)


def _generate(go: Path, made_of: places.Recipe, scratch: Path, note: places.Note) -> Path:
    """Have the builder write the main package, then put the lock in the place of the go.mod it made up."""
    note(f"writing the main package with {made_of.builder}")
    manifest = made_of.folder / "manifest.yaml"
    command = ["run", made_of.builder, "--config", str(manifest), "--skip-compilation", "--skip-get-modules"]
    _run(go, command, scratch, note, "the builder")
    # The manifest's path counts from the folder the builder runs in.
    source = scratch / str(places.read_yaml(manifest)["dist"]["output_path"])
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(made_of.folder / name, source / name)
    return source


def _compile(go: Path, source: Path, binary: Path, note: places.Note) -> Path:
    note("compiling the collector (10 to 15 minutes when Go's caches are cold)")
    command = ["build", "-v", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", str(binary), "."]
    _run(go, command, source, note, "go build")
    return binary


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the Go commands: the given one, kept from what would change the result."""
    # GOWORK: a workspace around the cache would replace the lock. GOTOOLCHAIN: the Go that was found is the one used.
    return {**given, "CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def _run(go: Path, arguments: Sequence[str], folder: Path, note: places.Note, step: str) -> None:
    """Run one Go command, counting its lines (one per module fetched or package compiled) as progress."""
    progress = _Progress()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with (
        progress.told(note),
        subprocess.Popen(
            [go, *arguments],
            cwd=folder,
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        for line in process.stdout:
            last.append(line.rstrip())
            progress.count(line)
    if process.returncode != 0:
        said = "\n  ".join(last)
        raise DownError(f"the collector cannot be built: {step} ended with exit code {process.returncode}:\n  {said}")


class _Progress:
    """What a Go command has done so far, told every few seconds, also while it says nothing (the linker takes long)."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._fetched = self._compiled = 0

    def count(self, line: str) -> None:
        self._fetched += line.startswith("go: downloading")
        self._compiled += "/" in line and " " not in line.strip()

    @contextmanager
    def told(self, note: places.Note) -> Iterator[None]:
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(_PROGRESS_EVERY):
                took = time.monotonic() - self._started
                note(f"  {took:.0f} s: {self._fetched} modules fetched, {self._compiled} packages compiled")

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()
