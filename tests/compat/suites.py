"""Other people's tests, run with and without telemetry, and compared outcome by outcome."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from support.receiver import environment, receiving

from theodore_otel import paths
from theodore_otel.errors import DownError

_HERE = Path(__file__).parent
_RUN = [str(Path(sys.executable).parent / "theodore-otel"), "run", "--"]
_SECONDS = 900
_WHOLE = "(the whole run)"

Outcomes = Mapping[str, str]


@dataclass(frozen=True)
class Suite:
    """Tests that one command runs."""

    name: str
    command: Sequence[str]
    folder: Path | None = None
    """Where it runs; None is a new one for each run."""
    path: str = ""
    """PYTHONPATH."""


@dataclass
class Comparison:
    """What came of a suite with and without telemetry."""

    suite: str
    alike: int = 0
    differ: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Outcome without and with telemetry, by test."""
    excused: dict[str, str] = field(default_factory=dict)
    """Why those that differ and cannot be otherwise do, by test."""


def listed() -> dict[str, Any]:
    """Return what suites.yaml says."""
    data: dict[str, Any] = yaml.safe_load((_HERE / "suites.yaml").read_text())
    return data


def cpython(module: str) -> Suite:
    """Return a module of the interpreter's own tests. Raises DownError where it comes without."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.libregrtest") is None:
        raise DownError("this Python was installed without its own tests")
    return Suite(module, [sys.executable, "-m", "test", "--junit-xml", "{xml}", module])


def library(name: str) -> Suite:
    """Return the tests of a library's source distribution. Raises DownError where it cannot be had."""
    entry = listed()["libraries"][name]
    folder = _unpacked(name, entry["version"], entry["sha256"])
    needs = _installed(entry["needs"])
    options = [
        "-q",
        "--continue-on-collection-errors",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--junitxml",
        "{xml}",
    ]
    command = [sys.executable, "-m", "pytest", *options, *entry.get("options", []), *entry["tests"]]
    return Suite(name, command, folder, os.pathsep.join([str(needs), str(folder / "src")]))


def compared(suite: Suite) -> Comparison:
    """Run a suite both ways. What differs is run both ways once more, because some tests fail by themselves.

    Raises DownError where no test passes without telemetry: such a suite shows nothing.
    """
    result = Comparison(suite.name)
    plain = outcomes(suite, observed=False)
    if "passed" not in plain.values():
        raise DownError(f"no test passes here without telemetry ({', '.join(sorted(set(plain.values())))})")
    observed = outcomes(suite, observed=True)
    differ = _differing(plain, observed)
    if differ:
        again = _differing(outcomes(suite, observed=False), outcomes(suite, observed=True))
        differ = {test: both for test, both in differ.items() if test in again}
    excuses = (yaml.safe_load((_HERE / "exceptions.yaml").read_text()) or {}).get(suite.name, {})
    result.alike = len(plain) - len(differ)
    for test, both in differ.items():
        if test in excuses:
            result.excused[test] = excuses[test]
        else:
            result.differ[test] = both
    return result


def outcomes(suite: Suite, *, observed: bool) -> Outcomes:
    """Run a suite and return what came of each test, and of the run where it did not come to its end."""
    with receiving() as receiver, tempfile.TemporaryDirectory() as scratch:
        xml = Path(scratch) / "outcomes.xml"
        words = [word.replace("{xml}", str(xml)) for word in suite.command]
        env = environment(receiver.url, {"PYTHONPATH": suite.path} if suite.path else None)
        env["THEODORE_OTEL_HOME"] = str(Path(scratch) / "home")
        env["PYTHONHASHSEED"] = "0"
        work = Path(scratch) / "work"
        work.mkdir()
        try:
            done = subprocess.run(
                [*(_RUN if observed else []), *words],
                env=env,
                cwd=suite.folder or work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {_WHOLE: "no end"}
        if not xml.exists():
            return {_WHOLE: f"ended by {done.returncode}"}
        return _read(xml)


def _read(xml: Path) -> Outcomes:
    found: dict[str, str] = {}
    for case in ElementTree.parse(xml).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname', '')}:{case.get('name', '')}".lstrip(":")
        found[name] = kinds[0] if kinds else "passed"
    return found


def _differing(plain: Outcomes, observed: Outcomes) -> dict[str, tuple[str, str]]:
    return {
        test: (plain.get(test, "not run"), observed.get(test, "not run"))
        for test in {**plain, **observed}
        if plain.get(test) != observed.get(test)
    }


def _cache() -> Path:
    folder = paths.cache() / "compat"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unpacked(name: str, version: str, digest: str) -> Path:
    folder = _cache() / f"{name}-{version}"
    if folder.is_dir():
        return folder
    archive = _cache() / f"{name}-{version}.tar.gz"
    if not archive.exists():
        _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(_cache()), f"{name}=={version}")
    if not archive.exists() or hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
        raise DownError(f"the source distribution of {name} {version} is not the one with the digest {digest}")
    with tempfile.TemporaryDirectory(dir=_cache()) as scratch, tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
        (Path(scratch) / folder.name).rename(folder)
    return folder


def _installed(needs: Mapping[str, str]) -> Path:
    wanted = sorted(f"{name}=={version}" for name, version in needs.items())
    folder = _cache() / f"needs-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=_cache()) as scratch:
            _pip("install", "--no-deps", "--target", f"{scratch}/needs", *wanted)
            Path(scratch, "needs").rename(folder)
    return folder


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, "-q"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise DownError(f"pip {arguments[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
