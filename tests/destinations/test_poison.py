"""One tenant's record that a destination may refuse takes no other's with it; it arrives in some form or is counted."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from destinations import poisons
from destinations.kit import configuration
from prometheus_client.parser import text_string_to_metric_families
from standins.datadog import Datadog
from standins.otlp import OtlpHttp
from standins.splunk import Splunk
from standins.syslog import Syslog, SyslogDatagrams
from standins.zipkin import Zipkin
from support.collector import Collector, running, wait_for

from theodore_otel.config.guarantees import guarantees
from theodore_otel.config.merge import merge

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "11111111-aaaa-4bbb-8ccc-222222222222"
# What is refused by the pipelines themselves and counted there, before any destination.
# In points and audit records, which are whole or refused, a NaN within cannot be measured; points have tighter limits.
NAN_WITHIN = {"NaN within", "NaN without a name", "names that become one"}
REFUSED = {
    "logs": NAN_WITHIN | {"NaN within the body", "list for a body"},
    "metrics": NAN_WITHIN
    | {"NaN for a value", "infinity for a value", "no value", "no time", "last time"}
    | {"many", "long text", "long metric name"},
}
# What a type refuses, and counts: for Zipkin and Datadog a span without ids is none.
IDS = {"no trace id", "trace id of zeros", "no span id", "span id of zeros"}
TIMES = {"no time", "last time", "two hours late", "an hour ahead"}
COUNTED = {
    "zipkin": {"traces": IDS},
    "datadog": {"traces": IDS | {"half a trace id"}},
    "prometheus": {"metrics": TIMES},
}


@pytest.fixture(scope="module")
def services():
    started = {
        "zipkin": Zipkin(),
        "splunk": Splunk(TOKEN),
        "datadog": Datadog(KEY),
        "otlp": OtlpHttp({"api-key": KEY}),
        "siem": Syslog(),
        "datagrams": SyslogDatagrams(),
    }
    for service in started.values():
        service.start()
    yield started
    for service in started.values():
        service.stop()


@pytest.fixture(scope="module")
def collector(services, tmp_path_factory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("poison")
    plain = {"tls": {"enabled": False}}
    port = {name: f"127.0.0.1:{service.port}" for name, service in services.items()}
    configured = configuration(
        zipkin={"type": "zipkin", "endpoint": f"http://{port['zipkin']}/api/v2/spans"},
        splunk={
            "type": "splunk",
            "endpoint": f"http://{port['splunk']}/services/collector",
            "token": {"env": "TOKEN"},
            **plain,
        },
        datadog={"type": "datadog", "endpoint": f"http://{port['datadog']}", "api_key": {"env": "KEY"}},
        otlp={"type": "newrelic", "endpoint": f"http://{port['otlp']}", "license_key": {"env": "KEY"}},
        siem={"type": "siem", "endpoint": port["siem"], **plain},
        datagrams={"type": "siem", "endpoint": port["datagrams"], "network": "udp", **plain},
        scraped={"type": "prometheus"},
        files={"type": "file", "directory": str(folder / "files")},
    )
    secrets = {"TOKEN": TOKEN, "KEY": KEY}
    with running(folder, merge(configured, poisons.SERVICES), poisons.OWNERS, secrets) as started:
        yield started


def arrived(services: dict[str, Any], collector: Collector) -> dict[str, str]:
    """Return what has come to each destination, as text."""
    datadog, otlp = services["datadog"], services["otlp"]
    files = (collector.folder / "files").glob("*.jsonl")
    return {
        "zipkin": str(services["zipkin"].spans),
        "splunk": str(services["splunk"].events),
        "datadog": str((datadog.spans, datadog.logs, datadog.series)),
        "otlp": str(otlp.requests),
        "siem": str(services["siem"].messages),
        "datagrams": str(services["datagrams"].messages),
        "scraped": _scraped(collector),
        "files": "".join(file.read_text(errors="replace") for file in files),
    }


def _scraped(collector: Collector) -> str:
    """Return what a scrape gives, read by Prometheus' own client."""
    address = f"http://127.0.0.1:{collector.ports['metrics']}/metrics"
    with urllib.request.urlopen(address, timeout=5) as answer:
        return str(list(text_string_to_metric_families(answer.read().decode())))


TAKES = {
    "zipkin": ("traces",),
    "splunk": ("traces", "logs", "metrics"),
    "datadog": ("traces", "logs", "metrics"),
    "otlp": ("traces", "logs", "metrics"),
    "siem": ("logs",),
    "datagrams": ("logs",),
    "scraped": ("metrics",),
    "files": ("traces", "logs", "metrics"),
}


# What the real servers take (test_poison_servers.py).
SERVERS = {
    "otel": ("traces", "logs", "metrics"),
    "ecs": ("traces", "logs"),
    "jaeger": ("traces",),
    "kafka": ("traces", "logs", "metrics"),
    "prometheus": ("metrics",),
}


def missing(takes: Mapping[str, tuple[str, ...]], texts: Mapping[str, str]) -> list[str]:
    """Return what has not arrived, and was not counted, of all that was sent to these destinations."""
    return [
        f"{destination}: {kind} of {signal}, {name}"
        for destination, signals in takes.items()
        for signal in signals
        for name in poisons.names(signal)
        for kind in ("first", "second", "poison")
        if poisons.mark(kind, signal, name) not in texts[destination] and not counted(destination, signal, name, kind)
    ]


def counted(destination: str, signal: str, name: str, kind: str) -> bool:
    return kind == "poison" and (
        name in REFUSED.get(signal, ()) or name in COUNTED.get(destination, {}).get(signal, ())
    )


@pytest.mark.case("poisoned_neighbours")
def test_a_neighbour_arrives_everywhere_and_so_does_what_might_be_refused(services, collector):
    for signal in poisons.POISONS:
        for name in poisons.names(signal):
            poisons.send(collector, signal, name)

    def wanting() -> list[str]:
        return missing(TAKES, arrived(services, collector))

    try:
        wait_for(lambda: not wanting(), 40)
    except AssertionError:
        wrong = {name: service.wrong[:5] for name, service in services.items() if service.wrong}
        pytest.fail(json.dumps([wanting(), wrong], indent=1) + collector.said())
    assert {name: service.wrong for name, service in services.items() if service.wrong} == {}


@pytest.mark.case("poisoned_neighbours")
def test_where_audit_records_are_promised_to_arrive_none_may_be_refused():
    """What the tables here let a type refuse, its guarantee may not promise."""
    promised = {name for name, rows in guarantees().items() if any(row.audit == "strong" for row in rows)}
    tried = {"newrelic": "otlp", "elasticsearch": "otel"}
    refusing = {name for name, refused in COUNTED.items() if "logs" in refused}
    assert refusing & promised == set()
    for name in promised:
        found = tried.get(name, name)
        assert "logs" in {**TAKES, **SERVERS}[found]
