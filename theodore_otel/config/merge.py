"""Lay one mapping over another: maps merge, everything else replaces, lists too unless they are said to add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

KeyPath = tuple[str, ...]
Adds = Callable[[KeyPath], bool]
"""Return True for the path of a list that adds to the one below it."""


def lists_add(path: KeyPath) -> bool:
    """Return True for a list of the file that adds: redaction is not weakened by accident, presets are a choice."""
    return path[:1] == ("redaction",) or path == ("instrument", "presets")


def merge(
    below: Mapping[str, Any], above: Mapping[str, Any], adds: Adds = lambda _: False, path: KeyPath = ()
) -> dict[str, Any]:
    """Return both mappings merged; neither is changed. What a list adds twice stands once."""
    result = dict(below)
    for key, value in above.items():
        result[key] = _merge_value(result[key], value, adds, (*path, str(key))) if key in result else value
    return result


def with_lists(own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `own` with the items of the lists of `more` behind those of its own; nothing else changes."""
    result = dict(own)
    for key, value in more.items():
        mine = result.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[key] = with_lists(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            result[key] = _added(mine, value)
    return result


def _merge_value(below: Any, above: Any, adds: Adds, path: KeyPath) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return merge(below, above, adds, path)
    if isinstance(below, list) and isinstance(above, list) and adds(path):
        return _added(below, above)
    return above


def _added(first: list[Any], more: list[Any]) -> list[Any]:
    return first + [item for item in more if item not in first]
