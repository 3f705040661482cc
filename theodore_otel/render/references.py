"""What a rendered collector configuration takes from the environment and from files: `${env:NAME}`, `${file:PATH}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from theodore_otel.config.source import KeyPath

# `$$` is an escaped dollar: taken first, so that `$${env:X}` is no reference.
_REFERENCE = re.compile(r"\$\$|\$\{(?:(?P<scheme>env|file):)?(?P<name>[^${}:]+)(?P<default>:-[^}]*)?\}")


@dataclass(frozen=True)
class Reference:
    """One `${env:NAME}` or `${file:PATH}`."""

    kind: str
    """`env` or `file`."""
    name: str
    has_default: bool
    in_statement: bool = False
    """Whether it stands in quotes within a statement, where a quote of its own would end it."""

    def __str__(self) -> str:
        """Return it as a message names it."""
        return f"environment variable {self.name}" if self.kind == "env" else f"file {self.name}"


def references(text: str) -> list[Reference]:
    """Return what a collector configuration refers to, each once, in the order of its first use."""
    found: dict[Reference, None] = {}
    for _, value in strings(yaml.safe_load(text), ()):
        found.update(dict.fromkeys(in_string(value)))
    return list(found)


def in_string(value: str) -> Iterator[Reference]:
    """Yield what one value refers to."""
    for match in _REFERENCE.finditer(value):
        if match["name"]:
            quoted = value[match.start() - 1 : match.start()] == value[match.end() : match.end() + 1] == '"'
            yield Reference(match["scheme"] or "env", match["name"], match["default"] is not None, quoted)


def strings(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text of a document with the path of its key, which begins with `path`."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, (*path, index))
