"""Say where a value comes from and what it does."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from theodore_otel.config.alerting import AlertRule
from theodore_otel.config.alerts import alerts
from theodore_otel.config.errors import description_at, keys_at
from theodore_otel.config.loader import Layers
from theodore_otel.config.model import Config
from theodore_otel.config.source import Source
from theodore_otel.errors import InputError

_ABSENT = object()


@dataclass(frozen=True)
class Explanation:
    """One key: its value, what each layer says of it, what it does."""

    key: str
    value: Any
    description: str
    layers: tuple[tuple[str, str], ...]
    """Layer and what it says, the lowest first."""

    def shown_value(self) -> str:
        """Return the value as YAML in one line."""
        return json.dumps(self.value, ensure_ascii=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON output."""
        layers = [{"layer": layer, "value": value} for layer, value in self.layers]
        return {"key": self.key, "value": self.value, "description": self.description, "layers": layers}


def explain_key(loaded: Layers, source: Source, key: str) -> Explanation:
    """Explain one dotted key.

    Raises:
        InputError: when no such key exists, with a suggestion.
    """
    path = tuple(key.split("."))
    value = _at(loaded.config.model_dump(mode="json", by_alias=True), path)
    built_in = _built_in(path)
    if value is _ABSENT or value is None:
        value = _at(built_in, path)
    if value is _ABSENT:
        raise InputError(f"{key}: unknown key{_suggestion(path)}")
    said = []
    for name, data in (("built in", built_in), *loaded.layers):
        own = _at(data, path)
        if own is not _ABSENT:
            line = source.line(path) if name == source.name else None
            said.append((f"{name}:{line}" if line else name, json.dumps(own, ensure_ascii=False)))
    return Explanation(key, value, description_at(Config, path), tuple(said))


def _built_in(path: tuple[str, ...]) -> dict[str, Any]:
    """Return what a built-in alert rule says of a key of its own; lists there replace, so that it is no layer."""
    if path[:2] != ("alerting", "rules") or len(path) < 3:
        return {}
    rule = alerts().get(path[2], {})
    said = {"enabled": True, **rule} if rule else {}
    return {"alerting": {"rules": {path[2]: {key: said[key] for key in AlertRule.model_fields if key in said}}}}


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return _ABSENT
    return data


def _suggestion(path: tuple[str, ...]) -> str:
    for length in range(len(path)):
        known = keys_at(Config, path[:length])
        if known and path[length] not in known:
            near = difflib.get_close_matches(path[length], known, n=1)
            prefix = ".".join(path[:length])
            hint = f"; did you mean {'.'.join((*path[:length], near[0]))!r}?" if near else ""
            return f"{hint} (known below {prefix or 'the top'}: {', '.join(known)})"
    return "; it is not set in any layer"
