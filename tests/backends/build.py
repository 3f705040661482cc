"""Servers made once, from Go modules or jars, each verified against the lock beside its recipe."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.recipes import Recipe, cache
from theodore_otel.errors import DownError
from theodore_otel.otelcol import build, golang, places

_MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JAVA = 17
_PROGRESS_EVERY = 15.0


def obtain(recipe: Recipe, note: places.Note) -> Path:
    """Return the server's folder, making it when the cache has none; one build at a time on a machine.

    Raises DownError saying what is missing here or which step failed.
    """
    if not recipe.home.is_dir():
        with places.locked(cache() / "lock", lambda: note("waiting for another build")):
            if not recipe.home.is_dir():
                _make(recipe, note)
    return recipe.home


def _make(recipe: Recipe, note: places.Note) -> None:
    note(f"{recipe.name} {recipe.data['version']}: making {recipe.home}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f".{recipe.name}-") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        make = _with_go if "go" in recipe.data else _with_maven
        make(recipe, made, Path(folder), note)
        made.rename(recipe.home)
    note(f"{recipe.name}: done in {time.monotonic() - started:.0f} s")


def _with_go(recipe: Recipe, made: Path, scratch: Path, note: places.Note) -> None:
    said = recipe.data["go"]
    wanted = re.search(r"^go (\S+)", (recipe.lock / "go.mod").read_text(), re.MULTILINE)[1]
    go = golang.find_go(wanted, said["wheel"], note)
    folder = _with_page(go, recipe.lock, scratch, note, **said["page"]) if "page" in said else recipe.lock
    command = [go, "build", "-v", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", f"{made}/", *said["programs"]]
    _run(command, folder, note, build.environment(os.environ))


def _with_page(go: Path, lock: Path, scratch: Path, note: places.Note, *, module: str, file: str) -> Path:
    """Return a folder with the lock, where the module is a copy of the verified one with an empty page added."""
    folder, copy = scratch / "main", scratch / "module"
    shutil.copytree(lock, folder)
    environment = build.environment(os.environ)
    _run([go, "mod", "download", module], folder, note, environment)
    said = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    place = subprocess.run(said, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    _run(["cp", "-R", place, copy], scratch, note)
    _run(["chmod", "-R", "u+w", copy], scratch, note)  # the cache's folders are read-only
    (copy / file).parent.mkdir(parents=True, exist_ok=True)
    (copy / file).touch()
    _run([go, "mod", "edit", f"-replace={module}={copy}"], folder, note, environment)
    return folder


def _with_maven(recipe: Recipe, made: Path, scratch: Path, note: places.Note) -> None:
    maven, javac = _java_tools()
    jars = scratch / "jars"
    shutil.copy(recipe.lock / "pom.xml", scratch)
    # --strict-checksums: a jar that differs from the registry's own checksum fails. jars.sha256 is ours, checked below.
    options = ["--batch-mode", "--strict-checksums", "--no-transfer-progress"]
    _run([maven, *options, _MAVEN_GOAL, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"], scratch, note)
    _verify(jars, recipe.lock / "jars.sha256")
    _lay_out(jars, made, recipe.data["maven"].get("modules", {}))
    if main := recipe.data["maven"].get("main"):
        _run([javac, "-cp", f"{made}/lib/*", "-d", made / "main", recipe.lock / main], scratch, note)


def _java_tools() -> tuple[str, str]:
    """Return Maven and a Java compiler that is new enough."""
    found = [shutil.which(name) for name in ("mvn", "javac")]
    if None in found:
        raise DownError(f"Maven and a JDK of version {_JAVA} or later are needed; mvn and javac are not both on PATH")
    said = subprocess.run([found[1], "-version"], capture_output=True, text=True, check=False)
    version = re.search(r"\d+", said.stdout + said.stderr)
    if not version or int(version[0]) < _JAVA:
        raise DownError(
            f"a JDK of version {_JAVA} or later is needed, javac says: {(said.stdout or said.stderr).strip()}"
        )
    return found[0], found[1]


def _verify(jars: Path, lock: Path) -> None:
    """Compare every jar with the lock; it names each file and no other."""
    expected = dict(reversed(line.split()) for line in lock.read_text().splitlines())
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise DownError(f"not what {lock} says, nothing is installed: {', '.join(wrong)}")


def _lay_out(jars: Path, made: Path, modules: Mapping[str, Sequence[str]]) -> None:
    for jar in sorted(jars.iterdir()):
        owners = [name for name, patterns in modules.items() if any(fnmatch.fnmatch(jar.name, p) for p in patterns)]
        for folder in [made / "modules" / name for name in owners] or [made / "lib"]:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(jar, folder)
    for name in modules:
        _unpack_descriptor(next((made / "modules" / name).glob(f"{name}-[0-9]*.jar")), name)


def _unpack_descriptor(jar: Path, module: str) -> None:
    prefix = f"META-INF/es-plugins/{module}/"
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.namelist():
            if entry.startswith(prefix) and entry != prefix:
                (jar.parent / entry.removeprefix(prefix)).write_bytes(archive.read(entry))


def _run(
    command: Sequence[str | Path], folder: Path, note: places.Note, environment: Mapping[str, str] | None = None
) -> None:
    """Run one step, telling now and then that it goes on; raise DownError with its last lines when it fails."""
    started = told = time.monotonic()
    lines = 0
    last: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            last.append(line.rstrip())
            lines += 1
            if time.monotonic() - told > _PROGRESS_EVERY:
                told = time.monotonic()
                note(f"  {told - started:.0f} s: {lines} lines, the last: {line.strip()[-100:]}")
    if process.returncode != 0:
        said = "\n  ".join(last)
        raise DownError(f"{Path(command[0]).name} ended with exit code {process.returncode}:\n  {said}")
