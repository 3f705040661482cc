"""Names of what a record has, as cases write them: `name`, `attributes.api_key`, `resource.tenant.id` ..."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from theodore_otel.config.base import Signal

_EVERYWHERE = ("attributes", "resource", "scope")
FIELDS: dict[Signal, tuple[str, ...]] = {
    "traces": (
        "name", "kind", "status", "status_message", "duration", "trace", "id", "parent", "trace_state", "events",
        "links", *_EVERYWHERE,
    ),
    "logs": ("body", "severity", "severity_number", "severity_text", "event_name", "trace", "span", *_EVERYWHERE),
    "metrics": (
        "name", "type", "unit", "description", "value", "count", "sum", "buckets", "temporality", "monotonic",
        *_EVERYWHERE,
    ),
}  # fmt: skip
"""The first part of every path, by signal."""
_WITH_KEYS = ("attributes", "resource", "scope", "events", "links")


def check_path(path: str, signal: Signal | None) -> None:
    """Make sure that a path can name something. Raises ValueError with a suggestion."""
    known = FIELDS[signal] if signal else tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))
    root, _, rest = path.partition(".")
    if root not in known:
        near = difflib.get_close_matches(re.split(r"\W", root)[0], known, n=1)
        of = f"of {signal} " if signal else ""
        suggestion = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a field {of}({', '.join(known)}), got {path!r}{suggestion}")
    if root in _WITH_KEYS and not rest:
        raise ValueError(f"expected a key behind {root!r}, such as {root}.NAME, or {root}.* for any")
    if path.startswith("resource.attributes."):
        raise ValueError(f"expected resource.KEY, got {path!r}; did you mean 'resource.{rest.partition('.')[2]}'?")


def leaves(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return every field of a record and everything within it, each under its path."""
    for key, value in record.items():
        path = f"{prefix}{key}"
        # The roots that only hold other fields are no field themselves.
        if prefix or key not in _WITH_KEYS:
            yield path, value
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, dict):
            yield from leaves(value, f"{path}.")


@cache
def glob(path: str) -> re.Pattern[str]:
    """Return the expression for a path in which `*` stands for any text."""
    return re.compile(".*".join(re.escape(part) for part in path.split("*")), re.DOTALL)
