"""Read a YAML file and remember on which line each key stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from theodore_otel.errors import InputError

KeyPath = tuple[str | int, ...]


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


def read(path: Path) -> Source:
    """Read a configuration file.

    Raises:
        InputError: when it cannot be read or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `theodore-otel init` writes a commented sample") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Source:
    """Parse the text of a configuration file.

    Raises:
        InputError: when it is not a YAML mapping, or names a key twice.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Source(name, {}, {})
        lines: dict[KeyPath, int] = {}
        _collect_lines(node, (), lines, name)
        data = loader.construct_document(node)
    except RecursionError:
        raise InputError(f"{name}: nested too deep, or an alias (*name) stands inside what it refers to") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise InputError(f"{where}: this is not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name}: this is not valid YAML: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise InputError(f"{name}:1: expected a mapping of keys such as `service:`, got {type(data).__name__}")
    return Source(name, data, lines)


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
