"""The real collector's judgement of a configuration, told in the words of the file it was rendered from."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from theodore_otel.config.source import KeyPath, Source, parse
from theodore_otel.errors import InputError

_SECTIONS = {
    "receiver": "receivers",
    "processor": "processors",
    "exporter": "exporters",
    "extension": "extensions",
    "connector": "connectors",
}
_READING = re.compile(r"^'(?P<section>\w+)' error reading configuration for \"(?P<id>[^\"]+)\": ?(?P<rest>.*)$")
_DECODING = re.compile(r"^'(?P<path>[^']*)' (?P<rest>.*)$")
_VALIDATING = re.compile(r"^(?P<path>\w+(?:::[^:\s]+)*): (?P<rest>.+)$")
_CREATING = re.compile(r"failed to (?:create|start) \"(?P<id>[^\"]+)\" (?P<kind>\w+)\b[^:]*: (?P<rest>.+)$")
_BOILERPLATE = "decoding failed due to the following error(s):"


@dataclass(frozen=True)
class Problem:
    """One thing the collector refuses."""

    path: KeyPath
    """Where it stands in the rendered configuration; empty when the collector does not say."""
    said: str
    """What the collector says about it."""


def validate(binary: Path, text: str, environment: Mapping[str, str], source: Source) -> None:
    """Have the collector check a rendered configuration without starting it.

    Raises InputError with a line for each thing it refuses, naming the key in `source` it came from where that is
    known, else the rendered line.
    """
    with tempfile.TemporaryDirectory(prefix="theodore-otel-") as folder:
        file = Path(folder) / "collector.yaml"
        file.write_text(text, encoding="utf-8")
        answer = subprocess.run(
            [binary, "validate", "--config", file],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if answer.returncode != 0:
        raise InputError(explain(answer.stderr or answer.stdout, text, source))


def explain(output: str, text: str, source: Source) -> str:
    """Return the collector's refusal of the rendered `text`, a line for each problem."""
    rendered = parse(text, "rendered collector.yaml")
    return "\n".join(dict.fromkeys(_told(problem, rendered, text, source) for problem in problems(output)))


def problems(output: str) -> list[Problem]:
    """Read what the collector printed when it refused a configuration."""
    found: list[Problem] = []
    component: KeyPath = ()
    within: KeyPath = ()
    for line in _lines(output):
        if match := _READING.match(line):
            component, within = (match["section"], match["id"]), ()
        elif match := _DECODING.match(line):
            path = tuple(match["path"].split(".")) if match["path"] else within
            if match["rest"].endswith(_BOILERPLATE):
                within = path
            else:
                found += _decoded((*component, *path), match["rest"])
        elif match := _CREATING.search(line):
            section = _SECTIONS.get(match["kind"].lower(), match["kind"])
            found.append(Problem((section, match["id"]), match["rest"]))
        elif match := _VALIDATING.match(line):
            found.append(Problem(tuple(match["path"].split("::")), match["rest"]))
    return found or [Problem((), " ".join(_lines(output)) or "it gave no reason")]


def _decoded(path: KeyPath, said: str) -> Iterator[Problem]:
    """Name unknown keys one by one: each has a line of its own."""
    unknown = said.removeprefix("has invalid keys: ")
    if unknown == said:
        yield Problem(path, said)
    else:
        yield from (Problem((*path, key.strip()), "unknown key") for key in unknown.split(","))


def _lines(output: str) -> Iterator[str]:
    for raw in output.splitlines():
        line = raw.strip().removeprefix("Error: ")
        # With JSON logs the error follows on a line of its own as well: the log line is left out.
        if line and not line.startswith("{") and line != _BOILERPLATE and not re.match(r"\d{4}/\d\d/\d\d ", line):
            yield line.removeprefix("failed to get config: ").removeprefix("invalid configuration: ")


def _told(problem: Problem, rendered: Source, text: str, source: Source) -> str:
    key = _own_key(problem.path, source)
    if key:
        line = source.line(key)
        own = f"{source.name}{f':{line}' if line else ''}: {'.'.join(map(str, key))}"
        return f"{own}: the collector refuses this: {problem.said}{_as_rendered(problem.path, rendered, text)}"
    return f"{source.name}: the collector refuses: {problem.said}{_as_rendered(problem.path, rendered, text)}"


def _as_rendered(path: KeyPath, rendered: Source, text: str) -> str:
    if not path:
        return ""
    line = rendered.line(path)
    shown = f", line {line}: {text.splitlines()[line - 1].strip()}" if line else ""
    return f" (rendered as {'.'.join(map(str, path))}{shown})"


def _own_key(path: KeyPath, source: Source) -> KeyPath | None:
    """Return the key of the user's file that a path of the rendered configuration comes from."""
    raw = ("collector", "extra", *path)
    for length in range(len(raw), 3, -1):
        if raw[:length] in source.lines:
            return raw
    destinations = source.data.get("destinations") or {}
    if len(path) > 1 and path[0] == "exporters":
        named = str(path[1]).partition("/")[2]
        for name in (named, named.rpartition("_")[0]):
            if name and name in destinations:
                return ("destinations", name)
    return None
