"""Read a YAML file and remember on which line each key stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from theodore_otel.config import bounds
from theodore_otel.errors import InputError

KeyPath = tuple[str | int, ...]

LARGEST = 2**20
"""Bytes of a configuration file; a thousand tenants take a fifth of it."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MEANINGS = {
    "cannot start any token": "a text that begins so needs quotes",
    "mapping values are not allowed": "a second `: ` stands here; put the text in quotes, or mend the indentation",
    "did not find expected key": "the line is not indented as the ones above it, or a quote or bracket is not closed",
    "expected <block end>": "the line is not indented as the ones above it, or a quote or bracket is not closed",
    "could not find expected ':'": "a key without `:`",
    "did not find expected '-'": "the line is not indented as the items of the list above it",
}
"""What a part of YAML's own message means to a person."""


@dataclass(frozen=True)
class Source:
    """One layer of configuration as it was written."""

    name: str
    """File name for messages."""
    data: dict[str, Any]
    """The mapping it holds."""
    lines: dict[KeyPath, int]
    """Line of each key path, from 1."""

    def line(self, path: KeyPath) -> int | None:
        """Return the line of the path, or of the nearest key above it; None when nothing of it stands here."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read(path: Path, *, tags: bool = False) -> Source:
    """Read a configuration file; `tags` also takes what only YAML knows, such as dates and bytes.

    Raises:
        InputError: when it cannot be read or is not a YAML mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `theodore-otel init` writes a commented sample") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path}: expected a file of {LARGEST // 2**20} MiB at most")
    return parse(text, str(path), tags=tags)


def parse(text: str, name: str, *, tags: bool = False) -> Source:
    """Parse the text of a configuration file; `tags` as for `read`.

    Raises:
        InputError: when it is not a YAML mapping of what JSON knows, names a key twice, or would grow without bounds.
    """
    loader: Any = None
    try:
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return Source(name, {}, {})
        bounds.check(node, tags=tags)
        lines: dict[KeyPath, int] = {}
        _collect_lines(node, (), lines, name)
        data = loader.construct_document(node)
    except bounds.OutOfBoundsError as error:
        raise InputError(f"{name}:{error.line}: {error}") from None
    except RecursionError:
        raise InputError(f"{name}: nested too deep, or an alias (*name) stands inside what it refers to") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{min(mark.line + 1, len(text.splitlines()) or 1)}" if mark else name
        raise InputError(f"{where}: this is not valid YAML: {_plain(error, text)}") from None
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        raise InputError(f"{name}: this is not valid YAML: {' '.join(str(error).split())}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(data, dict):
        raise InputError(f"{name}:1: expected a mapping of keys such as `service:`, got {type(data).__name__}")
    return Source(name, data, lines)


def _plain(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return YAML's own message with what it means."""
    problem = str(error.problem)
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f"{problem}: a tab stands before the text; indent with spaces"
    meaning = next((meaning for part, meaning in _MEANINGS.items() if part in problem), None)
    return f"{problem}: {meaning}" if meaning else problem


def _collect_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*path, str(key.value))
            line = key.start_mark.line + 1
            if child in lines:
                dotted = ".".join(map(str, child))
                raise InputError(f"{name}:{line}: {dotted}: this key stands twice, first on line {lines[child]}")
            lines[child] = line
            _collect_lines(value, child, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _collect_lines(value, (*path, index), lines, name)
