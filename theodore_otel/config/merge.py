"""Lay one mapping over another: maps merge, lists add, everything else replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings merged; neither is changed. What a list adds twice stands once."""
    result = dict(below)
    for key, value in above.items():
        result[key] = _merge_value(result[key], value) if key in result else value
    return result


def _merge_value(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return merge(below, above)
    if isinstance(below, list) and isinstance(above, list):
        return below + [item for item in above if item not in below]
    return above
