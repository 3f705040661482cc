"""Merge `collector.extra` into the rendered configuration; it may add, not change what is there."""

from __future__ import annotations

from typing import Any

import yaml

from theodore_otel.config.errors import dotted
from theodore_otel.config.source import KeyPath
from theodore_otel.errors import InputError

_EXTRA: KeyPath = ("collector", "extra")
_KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")


def with_extra(text: str, extra: dict[str, Any], header: str) -> str:
    """Return the configuration with the additions, or the text unchanged when there are none.

    Raises:
        InputError: when an addition names something that is rendered already, or a pipeline would take
            telemetry before its tenant is checked and its secrets are masked.
    """
    if not extra:
        return text
    rendered: dict[str, Any] = yaml.safe_load(text)
    _check_keys(extra, _EXTRA)
    _check_pipelines(extra, rendered)
    merged = _add(rendered, extra, _EXTRA)
    return header + "\n" + yaml.safe_dump(merged, sort_keys=False, width=120, allow_unicode=True)


def _check_keys(value: Any, path: KeyPath) -> None:
    """Refuse keys that the collector reads as others: `a::b` is a level below another, and ids lose their spaces."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_keys(item, (*path, number))
    for key, below in value.items() if isinstance(value, dict) else ():
        if "::" in str(key):
            raise InputError(
                f"{dotted(path)}: expected nested mappings, got the key {key!r}, which the collector reads as levels"
            )
        where = (*path, key)
        if _is_component(where) and _ids([key], dotted(path)) != [key]:
            raise InputError(
                f"{dotted(path)}: expected a component or pipeline without spaces in its name, got {key!r}"
            )
        _check_keys(below, where)


def _check_pipelines(extra: dict[str, Any], rendered: dict[str, Any]) -> None:
    """A new pipeline joins new components only: what is rendered carries or takes telemetry of checked tenants."""
    service = extra.get("service") or {}
    pipelines = service.get("pipelines") if isinstance(service, dict) else None
    for name, pipeline in pipelines.items() if isinstance(pipelines, dict) else ():
        where = f"collector.extra.service.pipelines.{name}"
        if not isinstance(pipeline, dict):
            raise InputError(f"{where}: expected a mapping with receivers and exporters, got {pipeline!r}")
        for end, why in (
            ("receivers", "its data has not been checked and redacted there"),
            ("exporters", "what it takes has to be checked first; send it to the collector's own listener"),
        ):
            ours = {found for kind in (end, "connectors") for found in rendered.get(kind) or {}}
            taken = sorted(ours.intersection(_ids(pipeline.get(end) or [], f"{where}.{end}")))
            if taken:
                raise InputError(f"{where}.{end}: expected {end} that collector.extra adds, got {taken[0]!r}: {why}")


def _ids(listed: Any, where: str) -> list[str]:
    """Return component ids as the collector reads them; what it would only know when it starts cannot be judged."""
    if not isinstance(listed, list) or not all(isinstance(each, str) and "$" not in each for each in listed):
        raise InputError(f"{where}: expected a list of plain component ids, got {listed!r}")
    return ["/".join(part.strip() for part in each.split("/", 1)) for each in listed]


def _add(below: dict[str, Any], above: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        where = (*path, key)
        if key not in result:
            result[key] = value
        elif isinstance(result[key], dict) and isinstance(value, dict) and not _is_component(where):
            result[key] = _add(result[key], value, where)
        elif where == (*_EXTRA, "service", "extensions"):
            result[key] = [*result[key], *(item for item in value if item not in result[key])]
        else:
            raise InputError(
                f"{dotted(where)}: this is rendered already and cannot be changed here; give it another name"
            )
    return result


def _is_component(path: KeyPath) -> bool:
    """Whether the path names one component or pipeline, which may not be changed in part either."""
    parts = path[len(_EXTRA) :]
    return (len(parts) == 2 and parts[0] in _KINDS) or (parts[:2] == ("service", "pipelines") and len(parts) == 3)
