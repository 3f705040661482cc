"""This checkout and what it depends on, installed by an image's own Python into folders of this machine.

That Python runs here, from the image's files and with its libraries: the container needs no registry, and this machine
needs no Python of the same version.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.build import _run as run

from images import recipes
from images.layer import Layer
from theodore_otel.otelcol import places

_WRAPPER = """\
#!/bin/sh
for loader in {root}/lib64/ld-linux-* {root}/lib/ld-linux-*; do test -e "$loader" && break; done
libraries=$(echo {root}/usr/lib/*-linux-gnu)
export PYTHONHOME={root}/usr PYTHONNOUSERSITE=1
exec "$loader" --library-path "$libraries" --argv0 "$0" {program} "$@"
"""
# pip writes three lines where the interpreter is itself a script.
_INTERPRETER = re.compile(r"\A#!.*\n(?:'''exec' .*\n' '''\n)?")


@dataclass(frozen=True)
class Python:
    """The Python below `root`, called through a script of this machine."""

    root: Path
    program: Path

    @classmethod
    def of(cls, root: Path, folder: Path) -> Python:
        wrapper = folder / "python"
        wrapper.write_text(_WRAPPER.format(root=root, program=next((root / "usr/bin").glob("python3.[0-9]*"))))
        wrapper.chmod(0o755)
        return cls(root, wrapper)

    @property
    def name(self) -> str:
        """Return its name with the version, such as `python3.11`."""
        return next((self.root / "usr/bin").glob("python3.[0-9]*")).name

    def install(self, what: Sequence[str | Path], into: Path, path: str, note: places.Note) -> None:
        """Install what pip is told to into a folder that will be `path` in the container."""
        pip = [sys.executable, "-m", "pip", "--python", self.program, "install", "--quiet", "--no-compile"]
        run([*pip, "--only-binary=:all:", "--no-warn-conflicts", "--target", into, *what], recipes.ROOT, note)
        self.compile(into, path, note)

    def compile_own(self, note: places.Note) -> None:
        """Compile its own modules, once: the package leaves that to a script."""
        library = f"usr/lib/{self.name}"
        if not (self.root / library / "__pycache__").is_dir():
            self.compile(self.root / library, f"/{library}", note)

    def compile(self, folder: Path, path: str, note: places.Note) -> None:
        """Compile all modules: a container that may not write would do so at every start."""
        options = ["-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", path]
        # Some of what is installed is no module, but a template of one.
        run(["sh", "-c", '"$@" || true', "-", self.program, "-m", "compileall", *options, folder], folder, note)


def add(layer: Layer, root: Path, into: str, install: Sequence[str], note: places.Note) -> None:
    """Add a virtual environment at `into`, with what `install` names as for pip, in this checkout."""
    with tempfile.TemporaryDirectory(dir=recipes.cache(), prefix=".python-") as scratch:
        python = Python.of(root, Path(scratch))
        python.compile_own(note)
        site = f"{into}/lib/{python.name}/site-packages"
        own = Path(scratch) / "own"
        python.install(["--no-deps", *_wheels(install, Path(scratch), note)], own, site, note)
        layer.text(f"{into}/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
        for name in ("python", "python3", python.name):
            layer.link(f"{into}/bin/{name}", f"/usr/bin/{python.name}")
        for folder in (own, _dependencies(python, install, site, note)):
            layer.tree(folder, site, without=["bin"])
            for script in sorted((folder / "bin").glob("*")):
                if script.is_file():
                    text = _INTERPRETER.sub(f"#!{into}/bin/python\n", script.read_text())
                    layer.text(f"{into}/bin/{script.name}", text, 0o755)


def _wheels(install: Sequence[str], folder: Path, note: places.Note) -> list[Path]:
    checkouts = [recipes.ROOT / requirement.partition("[")[0] for requirement in install]
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels]
    run([*pip, *checkouts], folder, note)
    return sorted(wheels.iterdir())


def _dependencies(python: Python, install: Sequence[str], site: str, note: places.Note) -> Path:
    """Return the folder with what the checkout depends on; made again only when what it asks for has changed."""
    wanted = sorted(set(_requirements(install)))
    said = " ".join([*wanted, python.name, site])
    made = recipes.cache() / f"python-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if not made.is_dir():
        note(f"  installing {len(wanted)} packages and what they depend on")
        with tempfile.TemporaryDirectory(dir=recipes.cache(), prefix=".python-") as scratch:
            folder = Path(scratch) / "made"
            python.install(wanted, folder, site, note)
            folder.rename(made)
    return made


def _requirements(install: Sequence[str]) -> Iterator[str]:
    for requirement in install:
        place, extras = re.fullmatch(r"([^[]+)(?:\[(.*)\])?", requirement).groups()
        project = tomllib.loads((recipes.ROOT / place / "pyproject.toml").read_text())["project"]
        yield from project["dependencies"]
        for extra in (extras or "").split(","):
            yield from project.get("optional-dependencies", {}).get(extra, ())
