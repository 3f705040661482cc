"""Grafana's files: only what its own types know, names from the registry, nothing of servers that are not there."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from support.dashboards import CONFIGURATION, dashboards, queries

from theodore_otel.config import load_text
from theodore_otel.conventions.registry import metrics
from theodore_otel.render import render

BOARDS = dashboards()
NAME = re.compile(r"\btheodore_[a-z_]+")


def provisioned(configuration: str) -> dict[str, dict]:
    files = render(load_text(configuration, "t.yaml"), "t.yaml", ["grafana"])
    loaded = {file.path: yaml.safe_load(file.text) for file in files if file.path.endswith(".yaml")}
    sources = loaded["grafana/provisioning/datasources/theodore.yaml"]["datasources"] or []
    return {source["name"]: source for source in sources}


def without_nothing(value: object) -> object:
    """Return JSON without what is null, which the types do not tell from what is missing."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def missing(given: object, read: object, path: str = "") -> list[str]:
    """Return the paths of what was given and not read."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [each for key in given for each in missing(given[key], read.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        return [each for n, pair in enumerate(zip(given, read, strict=True)) for each in missing(*pair, f"{path}[{n}]")]
    return [] if given == read else [path]


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_types_read_every_key_of_a_dashboard(name):
    register_default_plugins()
    given = without_nothing(BOARDS[name])
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(BOARDS[name])))))
    assert missing(given, without_nothing(read)) == []


def test_a_key_that_grafana_does_not_know_would_be_seen():
    register_default_plugins()
    given = json.loads(json.dumps(BOARDS["overview"]))
    given["panels"][1]["options"]["colourMode"] = "value"
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(given)))))
    assert missing(without_nothing(given), read) == [".panels[1].options.colourMode"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side_in_the_grid(name):
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(ids) == len(set(ids))


def test_every_metric_of_ours_stands_in_the_registry_and_every_one_of_the_registry_in_a_dashboard():
    known = {metric.prometheus for metric in metrics().values()}
    asked = {name for _, target in queries(BOARDS, "prometheus") for name in NAME.findall(target["expr"])}
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) if name not in known else name for name in asked}
    assert bare - known == set()
    assert known - bare == set()


def test_every_query_of_tenants_telemetry_asks_for_the_chosen_ones_only():
    for where, target in queries(BOARDS, "prometheus"):
        if not where.startswith("pipeline"):
            assert target["expr"].count('tenant=~"$tenant"') == len(NAME.findall(target["expr"])), where
    for where, target in queries(BOARDS, "elasticsearch"):
        assert target["query"].startswith("resource.attributes.tenant.id:$tenant AND "), where


def test_each_server_has_a_data_source_with_ways_between_traces_and_logs():
    sources = provisioned(CONFIGURATION)
    assert {name: source["url"] for name, source in sources.items()} == {
        "Prometheus": "http://prometheus:9090",
        "Elasticsearch": "http://elasticsearch:9200",
        "Jaeger": "http://jaeger:16686",
    }
    (link,) = sources["Elasticsearch"]["jsonData"]["dataLinks"]
    assert (link["field"], link["datasourceUid"], link["url"]) == ("trace_id", "jaeger", "$${__value.raw}")
    assert sources["Jaeger"]["jsonData"]["tracesToLogsV2"]["query"] == 'trace_id:"$${__trace.traceId}"'
    used = {
        each["uid"]
        for kind in ("prometheus", "elasticsearch")
        for _, q in queries(BOARDS, kind)
        for each in [q["datasource"]]
    }
    assert used <= {source["uid"] for source in sources.values()}


def test_servers_that_are_not_there_have_neither_data_source_nor_dashboard():
    configuration = "destinations: {p: {type: prometheus}}"
    assert list(provisioned(configuration)) == ["Prometheus"]
    assert set(dashboards(configuration)) == set(BOARDS) - {"logs"}
    assert provisioned("{}") == {}
    assert dashboards("{}") == {}


def test_a_key_of_elasticsearch_is_named_and_not_written():
    given = 'destinations: {e: {type: elasticsearch, endpoints: ["http://e:9200"], api_key: {%s}}}'
    for reference, written in (("env: ES_KEY", "$__env{ES_KEY}"), ("file: /k", "$__file{/k}")):
        source = provisioned(given % reference)["Elasticsearch"]
        assert source["secureJsonData"] == {"httpHeaderValue1": f"ApiKey {written}"}
        assert source["jsonData"]["httpHeaderName1"] == "Authorization"
