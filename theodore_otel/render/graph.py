"""The rendered pipelines as a picture: receivers, pipelines with their processors, connectors, destinations."""

from __future__ import annotations

import html
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from theodore_otel.config.base import Signal
from theodore_otel.errors import DownError
from theodore_otel.render.exporters import Exporter

Kind = Literal["receiver", "pipeline", "connector", "exporter"]

_COLOURS = {"traces": "#d6e6f5", "logs": "#e3efd3", "metrics": "#fbe3cc", "": "#f4f4f4"}
_MERMAID: dict[Kind, tuple[str, str]] = {
    "receiver": ("([", "])"),
    "pipeline": ("[", "]"),
    "connector": ("{{", "}}"),
    "exporter": ("[(", ")]"),
}
_DOT: dict[Kind, str] = {"receiver": "oval", "pipeline": "box", "connector": "hexagon", "exporter": "cylinder"}
_MISSING = (
    "graphviz's `dot` is not installed, and SVG is drawn with it: install the package graphviz "
    "(apt-get install graphviz, dnf install graphviz, brew install graphviz), or take --format mermaid"
)


@dataclass(frozen=True)
class Node:
    """One box of the picture."""

    key: str
    kind: Kind
    title: str
    """The id in the collector."""
    lines: tuple[str, ...]
    """What stands below: a pipeline's processors in their order, whose own an exporter is."""
    signal: str
    """A pipeline's signal; empty for what serves several."""
    group: str | None
    """The destination an exporter belongs to."""


@dataclass(frozen=True)
class Graph:
    """The picture."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    """From one node's key to another's."""


def graph(rendered: Mapping[str, Any], exporters: Iterable[Exporter], signals: Sequence[Signal] = ()) -> Graph:
    """Return the picture of a collector configuration; only these signals' pipelines when some are named."""
    pipelines = {
        name: pipeline
        for name, pipeline in rendered["service"]["pipelines"].items()
        if not signals or _signal(name) in signals
    }
    known = {exporter.id: exporter for exporter in exporters}
    connectors = rendered.get("connectors") or {}
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    for name, pipeline in pipelines.items():
        own = f"pipeline {name}"
        sources = [_end(each, "receiver", connectors, known) for each in pipeline["receivers"]]
        targets = [_end(each, "exporter", connectors, known) for each in pipeline["exporters"]]
        nodes |= {node.key: node for node in sources}
        nodes[own] = Node(own, "pipeline", name, tuple(pipeline.get("processors") or ()), _signal(name), None)
        nodes |= {node.key: node for node in targets}
        edges += [(node.key, own) for node in sources]
        edges += [(own, node.key) for node in targets]
    return Graph(tuple(nodes.values()), tuple(dict.fromkeys(edges)))


def mermaid(picture: Graph) -> str:
    """Return the picture as a Mermaid flowchart, as GitHub and editors show it."""
    keys = _short(picture)
    lines = ["flowchart LR"]
    for group, nodes in _grouped(picture):
        indent = "    " if group is None else "        "
        if group is not None:
            lines.append(f'    subgraph {keys[f"group {group}"]}["{_escaped(group)}"]')
        for node in nodes:
            before, after = _MERMAID[node.kind]
            label = "<br/>".join([f"<b>{_escaped(node.title)}</b>", *map(_escaped, node.lines)])
            style = f":::{node.signal}" if node.signal else ""
            lines.append(f'{indent}{keys[node.key]}{before}"{label}"{after}{style}')
        if group is not None:
            lines.append("    end")
    lines += [f"    {keys[start]} --> {keys[end]}" for start, end in picture.edges]
    lines += [f"    classDef {name} fill:{colour},color:#000" for name, colour in _COLOURS.items() if name]
    return "\n".join(lines) + "\n"


def dot(picture: Graph) -> str:
    """Return the picture in graphviz's language."""
    keys = _short(picture)
    lines = [
        "digraph pipelines {",
        "    rankdir=LR",
        '    node [fontname="Helvetica" fontsize=11 style=filled]',
        '    graph [fontname="Helvetica" fontsize=12]',
    ]
    for group, nodes in _grouped(picture):
        indent = "    " if group is None else "        "
        if group is not None:
            lines += [f"    subgraph cluster_{keys[f'group {group}']} {{", f"        label=<{_escaped(group)}>"]
        for node in nodes:
            label = "<br/>".join([f"<b>{_escaped(node.title)}</b>", *map(_escaped, node.lines)])
            colour = _COLOURS[node.signal]
            lines.append(f'{indent}{keys[node.key]} [shape={_DOT[node.kind]} fillcolor="{colour}" label=<{label}>]')
        if group is not None:
            lines.append("    }")
    lines += [f"    {keys[start]} -> {keys[end]}" for start, end in picture.edges]
    return "\n".join([*lines, "}"]) + "\n"


def svg(picture: Graph) -> str:
    """Return the picture as SVG. Raises DownError when graphviz is missing or fails."""
    try:
        drawn = subprocess.run(
            ["dot", "-Tsvg"], input=dot(picture), capture_output=True, text=True, encoding="utf-8", check=False
        )
    except FileNotFoundError:
        raise DownError(_MISSING) from None
    if drawn.returncode != 0:
        raise DownError(f"graphviz's `dot` failed with exit code {drawn.returncode}: {drawn.stderr.strip()[:500]}")
    return drawn.stdout


def _end(name: str, kind: Kind, connectors: Mapping[str, Any], known: Mapping[str, Exporter]) -> Node:
    """Return what a pipeline begins or ends with."""
    if name in connectors:
        return Node(f"connector {name}", "connector", name, (), "", None)
    exporter = known.get(name) if kind == "exporter" else None
    if exporter is None:
        return Node(f"{kind} {name}", kind, name, (), "", None)
    whose = (f"of {exporter.tenant} alone",) if exporter.tenant else ()
    return Node(f"exporter {name}", "exporter", name, whose, "", exporter.destination)


def _grouped(picture: Graph) -> Iterator[tuple[str | None, list[Node]]]:
    """Return the nodes of no destination, then each destination's, those that tenants share first."""
    groups: dict[str | None, list[Node]] = {None: []}
    for node in picture.nodes:
        groups.setdefault(node.group, []).append(node)
    for group, nodes in groups.items():
        yield group, nodes if group is None else sorted(nodes, key=lambda node: node.lines)


def _short(picture: Graph) -> dict[str, str]:
    """Return a name for each node and group that both languages take."""
    groups = dict.fromkeys(f"group {node.group}" for node in picture.nodes if node.group is not None)
    keys = [*(node.key for node in picture.nodes), *groups]
    return {key: f"n{number}" for number, key in enumerate(keys)}


def _signal(pipeline: str) -> str:
    return pipeline.partition("/")[0]


def _escaped(text: str) -> str:
    return html.escape(text)
