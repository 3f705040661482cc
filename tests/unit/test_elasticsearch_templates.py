"""What Elasticsearch is given: a template for every data stream the collector can write to, by how long it is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import get_args

import pytest

from theodore_otel.config import load_text
from theodore_otel.config.base import Category
from theodore_otel.conventions.registry import attributes
from theodore_otel.render import render
from theodore_otel.render.elasticsearch import pieces, rollover_age

CONFIGURATION = """
tenants:
  defaults: {retention: {logs: 30d, traces: 7d, metrics: 14d, audit: 400d}}
  list:
    acme: {isolation: dedicated, retention: {logs: 90d}}
    globex: {}
    initech: {retention: {logs: 90d, traces: 12h}}
    hooli: {isolation: dedicated}
destinations:
  es: {type: elasticsearch, endpoints: ["http://es:9200"], signals: [traces, logs, metrics]}
"""


def given(configuration: str = CONFIGURATION) -> dict[str, dict]:
    """Return the rendered files by their path below `elasticsearch/`."""
    files = render(load_text(configuration, "t.yaml"), "t.yaml", ["elasticsearch"])
    return {file.path.removeprefix("elasticsearch/"): json.loads(file.text) for file in files}


def of(kind: str, configuration: str = CONFIGURATION) -> dict[str, dict]:
    found = given(configuration).items()
    return {path.removeprefix(f"{kind}/")[:-5]: body for path, body in found if path.startswith(f"{kind}/")}


def policies(configuration: str = CONFIGURATION) -> dict[str, str]:
    """Return the lifecycle component of each data stream."""
    return {
        stream: body["composed_of"][-2]
        for body in of("index_templates", configuration).values()
        for stream in body["index_patterns"]
    }


@pytest.mark.parametrize(
    ("stream", "kept"),
    [
        ("logs-theodore.system.otel-30d", "30d"),
        ("logs-theodore.system.otel-90d", "90d"),
        ("logs-theodore.system.otel-acme_90d", "90d"),
        ("logs-theodore.system.otel-hooli_30d", "30d"),
        ("logs-theodore.audit.otel-400d", "400d"),
        ("logs-theodore.security.otel-acme_400d", "400d"),
        ("traces-theodore.otel-7d", "7d"),
        ("traces-theodore.otel-12h", "12h"),
        ("traces-theodore.otel-acme_7d", "7d"),
        ("logs-theodore.otel-12h", "12h"),
        ("metrics-theodore.otel-hooli_14d", "14d"),
    ],
)
def test_a_data_stream_has_the_lifecycle_of_its_retention(stream, kept):
    assert policies()[stream] == f"theodore-lifecycle-{kept}"
    assert of("component_templates")[f"theodore-lifecycle-{kept}"]["template"]["settings"] == {
        "index": {"lifecycle": {"name": f"theodore-{kept}"}}
    }
    assert f"theodore-{kept}" in of("lifecycle")


def test_every_category_has_data_streams_and_no_stream_has_two_templates():
    streams = [name for body in of("index_templates").values() for name in body["index_patterns"]]
    assert len(streams) == len(set(streams))
    for category in get_args(Category):
        assert f"logs-theodore.{category}.otel-{'400d' if category in ('audit', 'security') else '30d'}" in streams


def test_no_pattern_takes_in_streams_of_others():
    assert not [name for name in policies() if "*" in name]


@pytest.mark.parametrize("kept", ["1h", "12h", "36h", "7d", "30d", "400d", "3650d"])
def test_nothing_is_deleted_before_its_retention(kept):
    """What lies in an index is as old as the index' last write at least, and its age counts from the rollover."""
    configuration = CONFIGURATION.replace("audit: 400d", f"audit: {kept}")
    phases = of("lifecycle", configuration)[f"theodore-{kept}"]["policy"]["phases"]
    assert phases["delete"] == {"min_age": kept, "actions": {"delete": {"delete_searchable_snapshot": True}}}
    assert set(phases["hot"]["actions"]["rollover"]) == {"max_age", "max_primary_shard_size"}


@pytest.mark.parametrize(
    ("kept", "age"),
    [
        (timedelta(minutes=10), timedelta(hours=1)),
        (timedelta(hours=12), timedelta(hours=3)),
        (timedelta(days=7), timedelta(days=1)),
        (timedelta(days=30), timedelta(days=7)),
        (timedelta(days=400), timedelta(days=30)),
    ],
)
def test_an_index_is_written_to_for_a_quarter_of_its_retention(kept, age):
    assert rollover_age(kept) == age


def test_every_component_that_a_template_needs_is_put_before_it():
    put: set[str] = set()
    for piece in pieces(load_text(CONFIGURATION, "t.yaml"), ["otel", "ecs"]):
        if piece.kind == "index_templates":
            assert set(piece.body["composed_of"]) - {"theodore-custom"} <= put
            optional = piece.body["ignore_missing_component_templates"]
            others = [each for each in optional if not each.startswith("theodore-lifecycle-")]
            assert others == ["theodore-failures", "theodore-custom"]
        put.add(piece.name)


def test_everything_is_named_as_ours_and_wins_over_what_servers_bring():
    assert all(path.rpartition("/")[2].startswith("theodore-") for path in given())
    assert {body["priority"] for body in of("index_templates").values()} == {500}


def test_known_attributes_have_their_type_where_they_stand():
    components = of("component_templates")

    def typed(name: str) -> dict[str, str]:
        properties = components[name]["template"]["mappings"]["properties"]["attributes"]["properties"]
        return {each: mapping["type"] for each, mapping in properties.items()}

    logs, spans = typed("theodore-otel-logs"), typed("theodore-otel-traces")
    assert logs["correlation.id"] == spans["correlation.id"] == "keyword"
    assert (logs["theodore.category"], spans["theodore.ai.cost_usd"], spans["theodore.success"]) == (
        "keyword",
        "double",
        "boolean",
    )
    assert "theodore.category" not in spans
    resource = components["theodore-otel"]["template"]["mappings"]["properties"]["resource"]["properties"]
    assert resource["attributes"]["properties"]["tenant.id"] == {"type": "keyword", "ignore_above": 1024}
    ecs = of("component_templates", CONFIGURATION.replace("signals: [traces, logs, metrics]", "mapping: ecs"))
    assert set(attributes()) <= set(ecs["theodore-ecs"]["template"]["mappings"]["properties"])


def test_ecs_streams_have_no_suffix_and_mappings_of_their_own():
    configuration = CONFIGURATION.replace("signals: [traces, logs, metrics]", "mapping: ecs")
    found = of("index_templates", configuration)
    assert "logs-theodore.system-acme_90d" in policies(configuration)
    assert not [name for name in policies(configuration) if "otel" in name]
    assert {body["composed_of"][1] for body in found.values()} == {"theodore-ecs"}


def test_signals_that_nobody_sends_there_have_no_templates():
    assert not [name for name in policies(CONFIGURATION.replace("traces, logs, metrics", "traces")) if "system" in name]
    assert not [name for name in policies(CONFIGURATION.replace(", metrics]", "]")) if name.startswith("metrics")]


def test_without_elasticsearch_there_is_nothing():
    assert given("destinations: {console: {type: console}}") == {}


def test_a_backing_index_tells_other_mappings_by_its_mark(monkeypatch):
    def marks() -> set[str]:
        found = of("index_templates").items()
        return {b["template"]["mappings"]["_meta"]["theodore_otel"] for name, b in found if "system" in name}

    (before,) = marks()
    (again,) = marks()
    monkeypatch.setattr("theodore_otel.render.elasticsearch._TEXTS", ())
    (after,) = marks()
    assert before == again != after
