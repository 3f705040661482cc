"""A configuration under test stays as rendered but for what would leave the machine."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.otelcol.cases.isolating import DECISION_WAIT, Isolated, isolate
from theodore_otel.render import render
from theodore_otel.render.exporters import exporters

CONFIGURATIONS = {
    "defaults": "{}",
    "local": "{profile: local, destinations: {scrape: {type: prometheus}}}",
    "tenants and services": """
        tenants:
          list: {acme: {isolation: dedicated}, globex: {}}
          services: {api: {may_report: [acme, globex]}}
        destinations:
          es: {type: elasticsearch, endpoints: ["https://es:9200"], api_key: {env: ES_KEY}}
          jaeger: {type: jaeger, endpoint: "jaeger:4317"}
          dd: {type: datadog, api_key: {env: DD_KEY}}
    """,
    "TLS, own paths and log sampling": """
        collector:
          tls: {cert_file: /etc/tls/cert.pem, key_file: /etc/tls/key.pem}
          queue: {directory: /var/lib/queue}
          listen: {grpc: "0.0.0.0:4317", http: "0.0.0.0:4318"}
        tenants: {credentials_file: /etc/credentials}
        logging: {sampling: {INFO: 0.25}}
        destinations: {out: {type: otlp, endpoint: "far:4317", headers: {x-key: {file: /run/secrets/key}}}}
    """,
    "nobody identified": "{tenants: {identify_by: none}, destinations: {c: {type: console}}}",
    "raw additions": """
        collector:
          extra:
            receivers: {kafka/mine: {topic: x}, otlp/second: {protocols: {http: {endpoint: "0.0.0.0:5318"}}}}
            exporters: {debug/mine: {}}
            extensions: {pprof: {endpoint: "0.0.0.0:1777"}}
            service: {pipelines: {logs/mine: {receivers: [kafka/mine, otlp/second], exporters: [debug/mine]}}}
    """,
}


def both(text: str) -> tuple[dict[str, Any], Isolated]:
    config = load_text(text, "theodore-otel.yaml")
    (rendered,) = render(config, "theodore-otel.yaml", ["collector"])
    configuration = yaml.safe_load(rendered.text)
    before = copy.deepcopy(configuration)
    isolated = isolate(configuration, exporters(config))
    assert configuration == before
    return configuration, isolated


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_processors_connectors_and_how_pipelines_are_joined_stay_as_rendered(text):
    rendered, isolated = both(text)
    tested = isolated.configuration
    waits = [name for name in rendered["processors"] if name.partition("/")[0] == "tail_sampling"]
    assert waits
    for name in waits:
        assert tested["processors"][name].pop("decision_wait") == DECISION_WAIT
        del rendered["processors"][name]["decision_wait"]
    assert tested["processors"] == rendered["processors"]
    assert tested["connectors"] == rendered["connectors"]
    assert tested["service"]["extensions"] == rendered["service"]["extensions"]
    assert list(tested["service"]["pipelines"]) == list(rendered["service"]["pipelines"])
    for name, pipeline in rendered["service"]["pipelines"].items():
        same = tested["service"]["pipelines"][name]
        assert same.get("processors") == pipeline.get("processors")
        assert [
            each.removeprefix("file/").rpartition("/")[0] if each not in rendered["connectors"] else each
            for each in same["exporters"]
        ] == pipeline["exporters"]
        assert [each.removeprefix("otlp/") for each in same["receivers"]] == [
            each.removeprefix("otlp/") for each in pipeline["receivers"]
        ]


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_nothing_leaves_the_machine_or_the_tests_folder(text):
    _, isolated = both(text)
    tested = isolated.configuration
    assert {name.partition("/")[0] for name in tested["exporters"]} == {"file"}
    assert {name.partition("/")[0] for name in tested["receivers"]} == {"otlp"}
    outside = {key: tested[key] for key in ("receivers", "exporters", "extensions", "service")}
    told = json.dumps(outside)
    for gone in ("0.0.0.0", "4317", "4318", "8888", "13133", "tls", "/etc", "/var", "/dev", "${file:"):
        assert gone not in told, gone
    endpoints = [value for key, value in leaves(outside) if key == "endpoint"]
    assert set(endpoints) == {"127.0.0.1:0"}
    paths = [value for key, value in leaves(outside) if key in ("path", "directory", "file")]
    assert paths
    assert all(path.startswith("${env:THEODORE_OTEL_HOME}/") for path in paths)


def leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, name)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item, key)]
    return [(key, value)]


def test_each_exporter_and_signal_has_a_capture_of_its_own_that_tells_destination_and_tenant():
    _, isolated = both(CONFIGURATIONS["tenants and services"])
    told = {(each.destination, each.tenant) for each in isolated.captures.values()}
    assert told == {(name, tenant) for name in ("es", "jaeger", "dd") for tenant in (None, "acme")}
    files = [settings["path"].rpartition("/")[2] for settings in isolated.configuration["exporters"].values()]
    assert len(files) == len(set(files))
    assert set(isolated.captures) <= set(files)
    assert isolated.captures["elasticsearch+es+logs.jsonl"].destination == "es"
    assert isolated.captures["otlp+jaeger.acme+traces.jsonl"].tenant == "acme"


def test_where_signals_end_that_nobody_wants_is_no_destination():
    _, isolated = both("profile: production")
    assert isolated.captures == {}


def test_a_raw_exporter_is_its_own_destination():
    _, isolated = both(CONFIGURATIONS["raw additions"])
    (foreign,) = [each for each in isolated.captures.values() if each.id == "debug/mine"]
    assert (foreign.destination, foreign.signals, foreign.tenant) == ("debug/mine", ("logs",), None)


def test_credentials_are_still_asked_for():
    _, isolated = both(CONFIGURATIONS["TLS, own paths and log sampling"])
    for protocol in isolated.configuration["receivers"]["otlp"]["protocols"].values():
        assert protocol["auth"] == {"authenticator": "basicauth/credentials"}
