"""Say where a value comes from and what it does."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from theodore_otel.config.alerting import AlertRule
from theodore_otel.config.alerts import alerts
from theodore_otel.config.errors import Fields, elsewhere, fields_at, keys_at
from theodore_otel.config.loader import Layers
from theodore_otel.config.merge import lists_add
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
    lists: str = ""
    """How a list of the file meets those below it: `add` or `replace`; empty for what is no list."""

    def shown_value(self) -> str:
        """Return the value as YAML in one line."""
        return json.dumps(self.value, ensure_ascii=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON output."""
        layers = [{"layer": layer, "value": value} for layer, value in self.layers]
        shown = {"key": self.key, "value": self.value, "description": self.description, "layers": layers}
        return {**shown, "lists": self.lists} if self.lists else shown


def explain_key(loaded: Layers, source: Source, key: str) -> Explanation:
    """Explain one dotted key, set or not; in lists the index may be left out.

    Raises:
        InputError: when no such key exists, with a suggestion.
    """
    path = tuple(key.split("."))
    value = _at(loaded.config.model_dump(mode="json", by_alias=True), path)
    built_in = _built_in(path)
    if value is _ABSENT or value is None:
        value = _at(built_in, path)
    fields = fields_at(Config, path)
    described = _described(path, fields)
    if value is _ABSENT:
        if not described:
            raise InputError(f"{key}: unknown key{_suggestion(path)}")
        value = _default(fields)
    said = []
    for name, data in (("built in", built_in), *loaded.layers):
        own = _at(data, path)
        if own is not _ABSENT:
            line = source.line(path) if name == source.name else None
            said.append((f"{name}:{line}" if line else name, json.dumps(own, ensure_ascii=False)))
    lists = ("add" if lists_add(path) else "replace") if isinstance(value, list) else ""
    return Explanation(key, value, described, tuple(said), lists)


def _described(path: tuple[str, ...], fields: Fields) -> str:
    """Return what a key does; where the sections that know it differ, such as types of destinations, each says so."""
    if len(fields) > 1 and path[-1] == "type":
        kinds = [kind for _, field in fields for kind in get_args(field.annotation)]
        return f"What it is, which decides on the other keys: {', '.join(kinds)}."
    told: dict[str, list[str]] = {}
    for owner, field in fields:
        told.setdefault(field.description or "What it is.", []).append(_title(owner))
    if len(told) == 1:
        return next(iter(told))
    if told:
        return "\n".join(f"{', '.join(owners)}: {text}" for text, owners in told.items())
    known = keys_at(Config, path)
    return f"A name of your choice, or an item; keys below it: {', '.join(known)}." if known else ""


def _title(owner: type[BaseModel]) -> str:
    kind = owner.model_fields.get("type")
    return f"type {get_args(kind.annotation)[0]}" if kind and get_args(kind.annotation) else owner.__name__


def _default(fields: Fields) -> Any:
    """Return what a key is worth that nobody sets, as JSON has it; None where that differs or has to be given."""
    found = [
        owner.model_fields[name].get_default(call_default_factory=True)
        for owner, field in fields
        for name, each in owner.model_fields.items()
        if each is field and not field.is_required()
    ]
    shown = [to_jsonable_python(value) for value in found]
    return shown[0] if shown and all(value == shown[0] for value in shown) else None


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
            hint = (
                f"; did you mean {'.'.join((*path[:length], near[0]))!r}?"
                if near
                else elsewhere(Config, path[-1], path[:length])
            )
            return f"{hint} (known below {prefix or 'the top'}: {', '.join(known)})"
    return ""
