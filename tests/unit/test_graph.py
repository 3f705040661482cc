"""The picture shows every pipeline, what joins them, and whose the exporters are."""

from __future__ import annotations

import re
import shutil
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.errors import DownError
from theodore_otel.render import graph, render
from theodore_otel.render.exporters import exporters

CONFIGURATION = """
profile: local
tenants: {list: {acme: {isolation: dedicated}}}
destinations:
  jaeger: {type: jaeger, endpoint: "jaeger:4317"}
  scrape: {type: prometheus}
"""


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    (file,) = render(load_text(CONFIGURATION, "theodore-otel.yaml"), "theodore-otel.yaml", ["collector"])
    return yaml.safe_load(file.text)


def picture(rendered: dict[str, Any], *signals: Any) -> graph.Graph:
    return graph.graph(rendered, exporters(load_text(CONFIGURATION, "theodore-otel.yaml")), signals)


def test_every_pipeline_with_its_processors_and_every_connector_and_exporter_is_there(rendered):
    drawn = picture(rendered)
    pipelines = {node.title: list(node.lines) for node in drawn.nodes if node.kind == "pipeline"}
    assert pipelines == {
        name: pipeline.get("processors") or [] for name, pipeline in rendered["service"]["pipelines"].items()
    }
    for kind in ("connector", "receiver"):
        assert {node.title for node in drawn.nodes if node.kind == kind} == set(rendered[f"{kind}s"])
    used = {name for pipeline in rendered["service"]["pipelines"].values() for name in pipeline["exporters"]}
    assert {node.title for node in drawn.nodes if node.kind == "exporter"} == used & set(rendered["exporters"])


def test_edges_lead_from_receivers_through_connectors_to_exporters(rendered):
    titles = {node.key: node.title for node in picture(rendered).nodes}
    edges = {(titles[start], titles[end]) for start, end in picture(rendered).edges}
    expected = set()
    for name, pipeline in rendered["service"]["pipelines"].items():
        expected |= {(each, name) for each in pipeline["receivers"]}
        expected |= {(name, each) for each in pipeline["exporters"]}
    assert edges == expected


def test_exporters_are_grouped_by_destination_and_say_whose_alone_they_are(rendered):
    exporters_ = [node for node in picture(rendered).nodes if node.kind == "exporter"]
    jaeger = {node.title: node.lines for node in exporters_ if node.group == "jaeger"}
    assert jaeger == {"otlp/jaeger": (), "otlp/jaeger.acme": ("of acme alone",)}
    assert {node.group for node in exporters_ if node.group} == {"jaeger", "scrape", "local"}
    # What full queues do not take is at no destination.
    assert {node.title for node in exporters_ if not node.group} == {"file/full.jaeger", "file/full.jaeger.acme"}


def test_one_signal_can_be_drawn_alone(rendered):
    drawn = picture(rendered, "logs")
    assert {node.signal for node in drawn.nodes if node.kind == "pipeline"} == {"logs"}
    assert not [node for node in drawn.nodes if node.group == "jaeger"]
    ends = {key for edge in drawn.edges for key in edge}
    assert ends == {node.key for node in drawn.nodes}


def test_mermaid_names_each_node_once_and_joins_only_what_it_names(rendered):
    text = graph.mermaid(picture(rendered))
    assert text.startswith("flowchart LR\n")
    named = re.findall(r'^ +(n\d+)[\[({]+"<b>', text, re.MULTILINE)
    assert len(named) == len(set(named)) == len(picture(rendered).nodes)
    joined = {key for edge in re.findall(r"(n\d+) --> (n\d+)", text) for key in edge}
    assert joined == set(named)
    assert text.count("subgraph") == text.count("\n    end\n") == 3


def test_a_name_cannot_break_the_pictures_language():
    odd = {
        "receivers": {"otlp": {}}, "exporters": {'x/"]<b>': {}},
        "service": {"pipelines": {"logs": {"receivers": ["otlp"], "exporters": ['x/"]<b>']}}},
    }  # fmt: skip
    assert '"<b>x/&quot;]&lt;b&gt;</b>"' in graph.mermaid(graph.graph(odd, []))
    assert "label=<<b>x/&quot;]&lt;b&gt;</b>>" in graph.dot(graph.graph(odd, []))


def test_without_graphviz_it_is_told_what_to_install(rendered, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownError, match="install the package graphviz"):
        graph.svg(picture(rendered))


@pytest.mark.skipif(not shutil.which("dot"), reason="graphviz is not installed")
def test_svg_shows_every_node(rendered):
    drawn = picture(rendered)
    root = ElementTree.fromstring(graph.svg(drawn))
    shown = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {node.title for node in drawn.nodes} <= shown
