"""From the description of a dashboard to the JSON that Grafana loads.

A query may hold `@scope`, the tenants and services that were chosen above the dashboard, and `added(COUNTER[WINDOW])`,
by how much a counter grew. increase() does not know what a series began with, and wants two samples in the window; a
short command leaves one.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from theodore_otel import paths
from theodore_otel.config.merge import merge

_SCOPE = {
    "prometheus": 'tenant=~"$tenant", service=~"$service"',
    "elasticsearch": "resource.attributes.tenant.id:$tenant AND resource.attributes.service.name:$service",
}
_ADDED = re.compile(r"added\((?P<counter>\w+(?:\{[^}]*\})?)\[(?P<window>[^]]+)\]\)")
# What a counter was before the window is looked for as long as the collector remembers it (its `max_stale`).
_GREW = (
    r"(last_over_time(\g<counter>[\g<window>]) - last_over_time(\g<counter>[1d] offset \g<window>) >= 0"
    r" or last_over_time(\g<counter>[\g<window>]))"
)
_COLUMNS = 24
_HEIGHT = 8
_LINE = 1
# From each dashboard to the others, with what was chosen.
_LINKS = {
    "title": "Theodore",
    "type": "dashboards",
    "tags": ["theodore"],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "",
    "tooltip": "",
    "url": "",
}


def dashboard(name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard as Grafana loads it."""
    source = described["source"]
    chosen = described.get("variables", ["tenant", "service"])
    return {
        "uid": f"theodore-{name}",
        "title": described["title"],
        "description": described["description"],
        "tags": ["theodore"],
        "schemaVersion": 36,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_variable(each, source) for each in chosen]},
        "annotations": {"list": []},
        "links": [_LINKS],
        "panels": list(_panels(described["rows"], source)),
    }


def _variable(name: str, source: str) -> dict[str, Any]:
    """Return the choice of some or all values of a label; they are asked for whenever the time is changed."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _source(source),
        "query": _data("variables")[source][name],
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _panels(rows: Sequence[Mapping[str, Any]], source: str) -> Iterator[dict[str, Any]]:
    """Return rows and panels, one below the other, side by side within a row."""
    number, y = 0, 0
    for row in rows:
        number += 1
        yield _row(number, y, row["title"])
        y += _LINE
        x, height = 0, row.get("height", _HEIGHT)
        widths = _widths(row["panels"])
        for panel, width in zip(row["panels"], widths, strict=True):
            number += 1
            place = {"x": x, "y": y, "w": width, "h": height}
            yield {"id": number, "gridPos": place, **_panel(panel, source)}
            x += width
        y += height


def _row(number: int, y: int, title: str) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": _COLUMNS, "h": _LINE}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _widths(panels: Sequence[Mapping[str, Any]]) -> list[int]:
    """Give each panel the width it asks for, and let the others share what is left."""
    left = _COLUMNS - sum(panel.get("width", 0) for panel in panels)
    sharing = sum("width" not in panel for panel in panels)
    return [panel.get("width") or left // sharing for panel in panels]


def _panel(panel: Mapping[str, Any], source: str) -> dict[str, Any]:
    kind = panel["kind"]
    result = merge(_data("panels")[kind], {"fieldConfig": {"defaults": _defaults(panel)}})
    result |= {"title": panel["title"], "datasource": _source(source), "targets": _targets(panel, source)}
    if "description" in panel:
        result["description"] = panel["description"]
    if kind == "bars":
        result["interval"] = "1m"
    if kind == "table":
        result["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return result


def _defaults(panel: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a value is shown: its unit, its colour from each step on, and what is written in its place."""
    result: dict[str, Any] = {}
    if "unit" in panel:
        result["unit"] = panel["unit"]
    if "steps" in panel:
        steps = [{"color": colour, "value": value} for colour, value in panel["steps"].items()]
        result |= {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
    if "values" in panel:
        texts = {str(value): {"text": text, "index": n} for n, (value, text) in enumerate(panel["values"].items())}
        result["mappings"] = [{"type": "value", "options": texts}]
    return result


def _targets(panel: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    make = _of_prometheus if source == "prometheus" else _of_elasticsearch
    queries = panel.get("queries", [panel])
    return [
        {"refId": letter, "datasource": _source(source), **make(query, panel["kind"])}
        for letter, query in zip(string.ascii_uppercase, queries, strict=False)
    ]


def _of_prometheus(query: Mapping[str, Any], kind: str) -> dict[str, Any]:
    at_once = kind in ("stat", "table")
    return {
        "expr": _ADDED.sub(_GREW, query["expr"]).replace("@scope", _SCOPE["prometheus"]),
        "legendFormat": query.get("legend", "__auto"),
        "format": "table" if kind == "table" else "time_series",
        "instant": at_once,
        "range": not at_once,
    }


def _of_elasticsearch(query: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a query for the records themselves, or for how many there are by a field."""
    parts = (_SCOPE["elasticsearch"], query.get("query"))
    common = {"query": " AND ".join(part for part in parts if part), "timeField": "@timestamp", "alias": ""}
    if kind == "logs":
        return {**common, "metrics": [{"id": "1", "type": "logs", "settings": {"limit": "500"}}], "bucketAggs": []}
    terms = {"order": "desc", "orderBy": "_count", "size": "10", "min_doc_count": "1"}
    by = {"id": "2", "type": "terms", "field": query["count_by"], "settings": terms}
    steps = {"id": "3", "type": "date_histogram", "field": "@timestamp", "settings": {"interval": "auto"}}
    return {**common, "metrics": [{"id": "1", "type": "count"}], "bucketAggs": [by, steps]}


def _source(kind: str) -> dict[str, str]:
    return {"type": kind, "uid": kind}


@cache
def _data(name: str) -> Any:
    return yaml.safe_load((paths.data("templates") / f"grafana/{name}.yaml").read_text(encoding="utf-8"))
