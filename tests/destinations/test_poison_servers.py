"""The same at the real servers, which say themselves what they take."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from backends.fixtures import elasticsearch
from destinations import poisons
from destinations.applied import ALLOWED, API_KEY, apply
from destinations.kit import configuration
from destinations.test_kafka import read
from destinations.test_poison import SERVERS as TAKES
from destinations.test_poison import missing
from support.collector import Collector, running, wait_for

from theodore_otel.config.merge import merge

# A server of its own: the templates of other tests would not fit these.
__all__ = ["elasticsearch"]


@pytest.fixture(scope="module")
def configured(elasticsearch, jaeger, kafka, prometheus, tmp_path_factory) -> dict[str, Any]:
    search = {
        "type": "elasticsearch",
        "endpoints": [f"http://{elasticsearch.at('http')}"],
        "api_key": {"env": "ES_API_KEY"},
    }
    found = configuration(
        otel={**search, "mapping": "otel", "signals": ["traces", "logs", "metrics"]},
        ecs={**search, "mapping": "ecs"},
        jaeger={"type": "jaeger", "endpoint": jaeger.at("otlp")},
        kafka={"type": "kafka", "brokers": [kafka.at("broker")]},
        prometheus={"type": "prometheus", "endpoint": f"http://{prometheus.at('http')}"},
    )
    done = apply(tmp_path_factory.mktemp("templates"), found, ALLOWED)
    assert done.returncode == 0, done.stderr
    return merge(found, poisons.SERVICES)


@pytest.fixture(scope="module")
def collector(configured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("poison")
    with running(folder, configured, poisons.OWNERS, {"ES_API_KEY": API_KEY}) as started:
        yield started


@pytest.fixture(scope="module")
def arrived(elasticsearch, jaeger, kafka, prometheus) -> Callable[[], dict[str, str]]:
    """Return a function that returns what each server answers of all that has come to it, as text."""

    def documents(otel: bool) -> str:
        hits = [
            hit
            for signal in poisons.POISONS
            for hit in everything(elasticsearch, f"{signal}-theodore*")
            if (".otel-" in hit["_index"]) is otel
        ]
        return json.dumps(hits)

    def found() -> dict[str, str]:
        services = jaeger.get("query", "/api/services")["data"] or []
        ever = {"limit": "1500", "start": "1", "end": str(2**63 // 1000)}
        traces = [jaeger.get("query", "/api/traces", service=each, **ever)["data"] for each in services]
        return {
            "otel": documents(True),
            "ecs": documents(False),
            "jaeger": json.dumps(traces),
            "kafka": str([read(kafka, signal) for signal in poisons.POISONS]),
            "prometheus": json.dumps(prometheus.query('{__name__=~".+"}')),
        }

    return found


@pytest.mark.case("poisoned_neighbours")
def test_a_neighbour_arrives_at_every_server_and_so_does_what_might_be_refused(collector, arrived):
    for signal in poisons.POISONS:
        for name in poisons.names(signal):
            poisons.send(collector, signal, name)

    def wanting() -> list[str]:
        return missing(TAKES, arrived())

    try:
        wait_for(lambda: not wanting(), 60)
    except AssertionError:
        pytest.fail(json.dumps(wanting(), indent=1) + errors(collector))


def everything(elasticsearch: Any, index: str) -> list[dict[str, Any]]:
    """Return every document of these data streams."""
    elasticsearch.send("POST", f"{index}/_refresh?ignore_unavailable=true&allow_no_indices=true")
    query = {"query": {"match_all": {}}, "size": 10_000}
    return elasticsearch.send("POST", f"{index}/_search?ignore_unavailable=true", query)["hits"]["hits"]


def errors(collector: Collector) -> str:
    """Return what the collector complains of."""
    lines = collector.log.read_text().splitlines()
    return "\n".join(line[:600] for line in lines if '"error"' in line or '"warn"' in line)[-12000:]
