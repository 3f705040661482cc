"""Render what Elasticsearch has to have before the collector writes there: mappings, data streams, lifecycles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import yaml

from theodore_otel.config.base import Category
from theodore_otel.config.destinations import Elasticsearch
from theodore_otel.config.model import Config
from theodore_otel.config.units import format_duration
from theodore_otel.conventions.registry import attributes
from theodore_otel.render.exporters import dedicated_tenants
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.lanes import lanes
from theodore_otel.render.templates import environment

Kind = Literal["lifecycle", "component_templates", "index_templates"]
MAPPINGS = ("otel", "ecs")
MARK = "theodore_otel"
"""Where a backing index says, in its mappings' `_meta`, which templates it was made from."""
CUSTOM = "theodore-custom"
"""A component template of the cluster's operators, put over ours where it exists."""
FAILURES = "theodore-failures"
"""A component template that keeps what cannot be stored; older servers do not take it."""

_TYPES = {"string": "keyword", "int": "long", "double": "double", "bool": "boolean"}
_TEXTS = ("exception.message", "exception.stacktrace", "audit.context")
"""Attributes that are searched for words and are too long for a keyword."""
_NEVER_SAMPLED = ("audit", "security")
_LEVELS = {
    "resource": ("resource",),
    "log": ("record", "log"),
    "span": ("record", "span"),
    "all": ("resource", "record", "log", "span"),
}


@dataclass(frozen=True)
class Piece:
    """One thing that Elasticsearch is given."""

    kind: Kind
    name: str
    body: dict[str, Any]
    """What is put, as JSON."""

    @property
    def path(self) -> str:
        """Return the rendered file's path."""
        return f"elasticsearch/{self.kind}/{self.name}.json"


@dataclass(frozen=True)
class _Stream:
    """Data streams that differ in their namespace only."""

    base: str
    """Their name up to the namespace."""
    part: str
    """Which part of the mappings they have: logs, traces or metrics."""
    retention: str
    """Which retention they have: logs, traces, metrics or audit."""


def render(config: Config, header: str) -> list[RenderedFile]:  # noqa: ARG001  JSON takes no comments
    """Return every piece as a file; none when the configuration has no destination of type elasticsearch."""
    mappings = [each.mapping for each in config.destinations.values() if isinstance(each, Elasticsearch)]
    found = pieces(config, mappings)
    return [RenderedFile(each.path, json.dumps(each.body, indent=2) + "\n") for each in found]


def pieces(config: Config, mappings: Iterable[str]) -> list[Piece]:
    """Return what has to be put for destinations with these mappings, in the order in which it is put."""
    wanted = [mapping for mapping in MAPPINGS if mapping in set(mappings)]
    if not wanted:
        return []
    streams = {mapping: _streams(config, mapping) for mapping in wanted}
    used = {stream.retention for found in streams.values() for stream in found}
    kept = dict(sorted({each: format_duration(each) for kind in used for each in _namespaces(config, kind)}.items()))
    components = _components(streams)
    indices = [
        _index_template(stream, mapping, classes, namespaces, components)
        for mapping, found in streams.items()
        for stream in found
        for classes, namespaces in _namespaces(config, stream.retention).items()
    ]
    return [
        *(_lifecycle(each, name) for each, name in kept.items()),
        *components.values(),
        _piece("component_templates", FAILURES, FAILURES),
        *(_piece("component_templates", _policy(name), "theodore-lifecycle", kept=name) for name in kept.values()),
        *indices,
    ]


def rollover_age(kept: timedelta) -> timedelta:
    """Return how long one backing index is written to: a quarter of the retention, from an hour to 30 days, rounded."""
    age = min(max(kept / 4, timedelta(hours=1)), timedelta(days=30))
    unit = timedelta(days=1) if age >= timedelta(days=1) else timedelta(hours=1)
    return age // unit * unit


def needs_lifecycle(piece: Piece) -> bool:
    """Say whether a server without lifecycles cannot take it."""
    return piece.kind == "lifecycle" or "lifecycle" in piece.body["template"].get("settings", {}).get("index", {})


def _streams(config: Config, mapping: str) -> list[_Stream]:
    """Return the data streams that destinations with this mapping write to."""
    named = {n: d for n, d in config.destinations.items() if isinstance(d, Elasticsearch) and d.mapping == mapping}
    outlets = [outlet for lane in lanes(config) for outlet in lane.outlets if outlet.name.partition(".")[0] in named]
    signals = {outlet.signal for outlet in outlets}
    suffix = ".otel" if mapping == "otel" else ""
    found: list[_Stream] = []
    if "logs" in signals:
        for category in Category.__args__:  # type: ignore[attr-defined]
            retention = "audit" if category in _NEVER_SAMPLED else "logs"
            found.append(_Stream(f"logs-theodore.{category}{suffix}", "logs", retention))
    if "traces" in signals:
        found.append(_Stream(f"traces-theodore{suffix}", "traces", "traces"))
        if mapping == "otel":
            # Events of spans become log records, which are kept as long as their spans.
            found.append(_Stream("logs-theodore.otel", "logs", "traces"))
    if "metrics" in signals:
        found.append(_Stream(f"metrics-theodore{suffix}", "metrics", "metrics"))
    return found


def _namespaces(config: Config, kind: str) -> dict[timedelta, list[str]]:
    """Return the data streams' namespaces by how long they are kept: the collector names them in the same way."""
    general: timedelta = getattr(config.tenants.defaults.retention, kind)
    dedicated = dedicated_tenants(config)
    found = {general: [format_duration(general)]}
    for name, tenant in config.tenants.list.items():
        kept: timedelta = getattr(tenant.retention, kind) or general
        namespace = f"{name}_{format_duration(kept)}" if name in dedicated else format_duration(kept)
        names = found.setdefault(kept, [])
        if namespace not in names:
            names.append(namespace)
    return found


def _components(streams: Mapping[str, Sequence[_Stream]]) -> dict[str, Piece]:
    """Return the component templates that the streams share, by name."""
    names = ["theodore-settings"]
    if "otel" in streams:
        names.append("theodore-otel")
        parts = {stream.part for stream in streams["otel"]}
        names += [f"theodore-otel-{part}" for part in ("logs", "traces", "metrics") if part in parts]
    if "ecs" in streams:
        names.append("theodore-ecs")
    known = {name: _known(levels) for name, levels in _LEVELS.items()}
    return {name: _piece("component_templates", name, name, attributes=known) for name in names}


def _known(levels: Sequence[str]) -> dict[str, str]:
    """Return the field types of the registry's attributes; whose the telemetry is stands on the resource."""
    found = {
        each.name: "text" if each.name in _TEXTS else _TYPES[each.type]
        for each in attributes().values()
        if ("resource" if each.name == "tenant.id" else each.level) in levels
    }
    return dict(sorted(found.items()))


def _lifecycle(kept: timedelta, name: str) -> Piece:
    rollover = format_duration(rollover_age(kept))
    piece = _read("elasticsearch/lifecycle.yaml.j2", kept=name, rollover=rollover)
    piece["policy"] = {"_meta": _meta(), **piece["policy"]}
    return Piece("lifecycle", f"theodore-{name}", piece)


def _policy(kept: str) -> str:
    return f"theodore-lifecycle-{kept}"


def _index_template(
    stream: _Stream, mapping: str, kept: timedelta, namespaces: Sequence[str], components: Mapping[str, Piece]
) -> Piece:
    name = format_duration(kept)
    own = ["theodore-settings", "theodore-ecs"]
    if mapping == "otel":
        own = ["theodore-settings", "theodore-otel", f"theodore-otel-{stream.part}"]
    body = _read(
        "elasticsearch/index_template.yaml.j2",
        patterns=[f"{stream.base}-{namespace}" for namespace in namespaces],
        composed_of=[*own, FAILURES, _policy(name), CUSTOM],
        optional=[FAILURES, _policy(name), CUSTOM],
    )
    made_of = json.dumps([components[each].body for each in own])
    mark = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    body["template"] = {"mappings": {"_meta": {MARK: mark}}}
    return Piece("index_templates", f"theodore-{stream.base}-{name}", {**body, "_meta": _meta()})


def _piece(kind: Kind, name: str, template: str, **given: Any) -> Piece:
    body = _read(f"elasticsearch/{kind}/{template}.yaml.j2", **given)
    return Piece(kind, name, {**body, "_meta": _meta()})


def _read(template: str, **given: Any) -> dict[str, Any]:
    macros = environment().get_template("elasticsearch/_mappings.yaml.j2").module
    text = environment().get_template(template).render(m=macros, **given)
    body: dict[str, Any] = yaml.safe_load(text)
    return body


def _meta() -> dict[str, str]:
    return {"managed_by": "theodore-otel", "description": "Put by `theodore-otel elasticsearch apply`."}
