"""What can be configured is what the real collector takes: profile x tenants mode x destinations.

Every destination alone is checked in every profile and mode. Pairs are each checked once, spread over profiles and
modes: destinations are components of their own that share nothing but the queue's folder, so what could go wrong
between two of them (an id, a pipeline, a shape used twice) does not depend on profile or mode. All of them together
are checked, and started, in every profile and mode, and each alone is started once.

Redaction is three quarters of the time a check takes, and its statements are the same whatever the destination: they
are left out, but for all destinations together.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
import trustme
import yaml
from standins.oidc import AUDIENCE, Oidc
from support.collector import Collector, Span, running, wait_for

from theodore_otel.config.destinations import AnyDestination
from theodore_otel.config.loader import load_layers
from theodore_otel.config.merge import merge
from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.otelcol import find, secrets, validate
from theodore_otel.redaction import presets
from theodore_otel.render import render

# Nobody listens at these addresses: a destination that is down does not keep the collector from starting.
DESTINATIONS: dict[str, dict[str, Any]] = {
    "console": {"type": "console"},
    "datadog": {"type": "datadog", "api_key": {"env": "DD_KEY"}, "endpoint": "http://127.0.0.1:9"},
    "ecs": {
        "type": "elasticsearch", "mapping": "ecs", "endpoints": ["http://127.0.0.1:9"], "api_key": {"env": "ES_KEY"},
    },
    "elasticsearch": {
        "type": "elasticsearch", "endpoints": ["http://127.0.0.1:9"], "signals": ["traces", "logs", "metrics"],
    },
    "file": {"type": "file", "directory": "/nowhere/files"},
    "jaeger": {"type": "jaeger", "endpoint": "127.0.0.1:9"},
    "kafka": {
        "type": "kafka", "brokers": ["127.0.0.1:9"],
        "sasl": {"username": {"env": "KAFKA_USER"}, "password": {"env": "KAFKA_PASSWORD"}},
    },
    "local": {"type": "local"},
    "newrelic": {"type": "newrelic", "license_key": {"env": "NR_KEY"}, "endpoint": "http://127.0.0.1:9"},
    "otlp": {"type": "otlp", "endpoint": "127.0.0.1:9", "headers": {"authorization": {"env": "OTLP_AUTH"}}},
    "otlphttp": {"type": "otlp", "endpoint": "http://127.0.0.1:9", "protocol": "http"},
    "prometheus": {"type": "prometheus", "endpoint": "http://127.0.0.1:9"},
    "s3": {
        "type": "s3", "bucket": "theodore", "region": "eu-central-1", "endpoint": "http://127.0.0.1:9",
        "path_style": True,
    },
    "scrape": {"type": "prometheus"},
    "siem": {"type": "siem", "endpoint": "127.0.0.1:9", "tls": {"enabled": False}},
    "splunk": {
        "type": "splunk", "endpoint": "http://127.0.0.1:9/services/collector", "token": {"env": "HEC_TOKEN"},
        "index": "main",
    },
    "zipkin": {"type": "zipkin", "endpoint": "http://127.0.0.1:9/api/v2/spans"},
}  # fmt: skip
SECRETS = dict.fromkeys(
    ("DD_KEY", "ES_KEY", "KAFKA_USER", "KAFKA_PASSWORD", "NR_KEY", "OTLP_AUTH", "HEC_TOKEN"), secrets.PLACEHOLDER
) | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
FEWER_PATTERNS = {"redaction": {"disable_presets": [preset.name for preset in presets.all_presets()]}}
CELLS = list(product(("local", "dev", "production"), ("none", "basic", "oidc")))
PAIRS = list(combinations(DESTINATIONS, 2))
cells = pytest.mark.parametrize(("profile", "mode"), CELLS, ids=["-".join(cell) for cell in CELLS])


def test_every_type_of_destination_is_in_the_matrix():
    known = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(AnyDestination)}
    assert {destination["type"] for destination in DESTINATIONS.values()} == known


def configuration(profile: str, mode: str, names: Iterable[str], issuer: str = "http://127.0.0.1:9") -> dict[str, Any]:
    tenants: dict[str, Any] = {"identify_by": mode}
    if mode == "oidc":
        tenants["oidc"] = {"issuer_url": issuer, "audience": AUDIENCE}
    return {"profile": profile, "tenants": tenants, "destinations": {name: DESTINATIONS[name] for name in names}}


def refusals(configurations: Mapping[str, Mapping[str, Any]], redacting: bool = True) -> dict[str, str]:
    """Return what the collector refuses of these configurations."""
    binary = find.installed(lambda _: None)
    # A process that lives for a second needs no garbage collection.
    environment = {**os.environ, **SECRETS, "THEODORE_OTEL_HOME": "/nowhere", "GOGC": "off"}

    def refusal(given: Mapping[str, Any]) -> str | None:
        source = parse(yaml.safe_dump(given if redacting else merge(given, FEWER_PATTERNS)), "test.yaml")
        (rendered,) = render(load_layers(source).config, source.name, ["collector"])
        try:
            text = rendered.text if redacting else without_redaction(rendered.text)
            validate.validate(binary, text, environment, source)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(configurations, pool.map(refusal, configurations.values()), strict=True))
    return {label: answer for label, answer in answers.items() if answer}


def without_redaction(text: str) -> str:
    """Return a collector's configuration with the processors of redaction emptied."""
    loaded = yaml.load(text, yaml.CSafeLoader)
    emptied = [name for name in loaded["processors"] if name.startswith("transform/redact")]
    assert emptied
    loaded["processors"].update({name: {"error_mode": "propagate"} for name in emptied})
    return yaml.dump(loaded, Dumper=yaml.CSafeDumper, sort_keys=False)


@cells
def test_the_collector_takes_each_destination_alone_and_pairs(profile, mode):
    place = CELLS.index((profile, mode))
    chosen = [(name,) for name in DESTINATIONS] + PAIRS[place :: len(CELLS)]
    given = {" and ".join(names): configuration(profile, mode, names) for names in chosen}
    assert refusals(given, redacting=False) == {}


def test_what_the_collector_does_not_take_is_found():
    """The check above can fail: a destination that the collector refuses is told."""
    bad = configuration("production", "basic", ["jaeger"])
    bad["collector"] = {"extra": {"exporters": {"debug/bad": {"verbosity": "loud"}}}}
    both = {"good": configuration("production", "basic", ["jaeger"]), "bad": bad}
    assert list(refusals(both, redacting=False)) == list(refusals(both)) == ["bad"]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with Oidc() as provider:
        yield provider.url


def start_and_stop(folder: Path, given: Mapping[str, Any]) -> None:
    """Run a collector until it is healthy, and end it as an operator would."""
    folder.mkdir()
    if "file" in given["destinations"]:
        given = merge(given, {"destinations": {"file": {"directory": str(folder / "files")}}})
    collector = Collector(folder, given, ["acme"], SECRETS)
    collector.start()
    try:
        assert collector.prometheus("telemetry")
    finally:
        collector.stop()
    log = collector.log.read_text()
    assert "panic" not in log
    assert "Shutdown complete" in log, log[-2000:]


@cells
def test_the_collector_starts_with_all_destinations(tmp_path, issuer, profile, mode):
    given = configuration(profile, mode, DESTINATIONS, issuer)
    assert refusals({"all": given}) == {}
    start_and_stop(tmp_path / "all", given)


@pytest.mark.parametrize("name", list(DESTINATIONS))
def test_the_collector_starts_with_each_destination_alone(tmp_path, issuer, name):
    profile, mode = CELLS[list(DESTINATIONS).index(name) % len(CELLS)]
    start_and_stop(tmp_path / name, configuration(profile, mode, [name], issuer))


EVERYTHING = {
    "tenants": {
        "defaults": {"retention": {"logs": "14d"}},
        "services": {"api": {"may_report": ["acme", "globex"]}, "batch": {"may_report": ["initech"]}},
        "list": {
            "acme": {"isolation": "dedicated", "sampling": {"traces": 0.5}, "retention": {"logs": "90d"}},
            "initech": {"isolation": "dedicated", "destinations": ["jaeger", "elasticsearch"]},
            "globex": {
                "destinations": {"jaeger": {}, "elasticsearch": {"categories": ["audit", "business"]}},
                "drop_attributes": ["customer.name"],
                "keep_attributes": ["kept.attribute"],
            },
            "umbrella": {
                "destinations": {"file": {"signals": ["logs"]}},
                "sampling": {"traces": 0.9, "logs": {"INFO": 0.5, "TRACE": 0.0}},
                "retention": {"traces": "14d", "audit": "800d"},
            },
        },
    },
    "logging": {"sampling": {"INFO": 0.25, "DEBUG": 0.0}, "deduplicate": {"enabled": True}},
    "tracing": {"sampling": {"max_spans_per_second": 500}},
}


@pytest.mark.parametrize("mode", ["none", "basic", "oidc"])
def test_the_collector_starts_with_everything_that_can_be_configured_at_once(tmp_path, issuer, mode):
    # Every destination twice: several of one type.
    given = merge(configuration("production", mode, DESTINATIONS, issuer), EVERYTHING)
    again = {f"{name}-2": each for name, each in DESTINATIONS.items() if name not in ("local", "scrape", "file")}
    given = merge(given, {"destinations": again})
    assert refusals({"everything": given}) == {}
    start_and_stop(tmp_path / "everything", given)


# --- what is not a destination


def test_what_raw_configuration_adds_starts_beside_the_rest(tmp_path):
    extra = {
        "receivers": {"hostmetrics": {"collection_interval": "1s", "scrapers": {"memory": {}}}},
        "exporters": {"file/host": {"path": str(tmp_path / "host.jsonl"), "flush_interval": "100ms"}},
        "service": {"pipelines": {"metrics/host": {"receivers": ["hostmetrics"], "exporters": ["file/host"]}}},
    }
    given = {"profile": "local", "collector": {"extra": extra}}
    with running(tmp_path, given, ["acme"]) as collector:
        collector.send_spans([Span("beside")], "acme.1")
        wait_for(collector.spans)
        wait_for(lambda: "system.memory.usage" in (tmp_path / "host.jsonl").read_text())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_the_listeners_speak_tls_only_and_check_clients_certificates_when_told(tmp_path, authority, mutual):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.pem")}
    if mutual:
        tls["ca_file"] = str(tmp_path / "ca.pem")
    with running(tmp_path, {"profile": "local", "collector": {"tls": tls}}, ["acme"]) as collector:

        def over_http(context: ssl.SSLContext | None) -> bool:
            address = f"{'https' if context else 'http'}://127.0.0.1:{collector.ports['http']}/v1/traces"
            headers = {"Content-Type": "application/x-protobuf", "Authorization": collector.authorization("acme.1")}
            try:
                urllib.request.urlopen(urllib.request.Request(address, b"", headers), context=context, timeout=30)
            except OSError:
                return False
            return True

        def over_grpc(credentials: grpc.ChannelCredentials | None) -> bool:
            address = f"127.0.0.1:{collector.ports['grpc']}"
            channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
            with channel:
                export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
                try:
                    export(b"", metadata=[("authorization", collector.authorization("acme.1"))], timeout=30)
                except grpc.RpcError:
                    return False
            return True

        def both(trusted: trustme.CA | None, own: trustme.LeafCert | None) -> set[bool]:
            """Return whether a client gets through that trusts an authority and has a certificate of its own."""
            context = ssl.create_default_context(cadata=trusted.cert_pem.bytes().decode() if trusted else None)
            pair: dict[str, bytes] = {}
            if own:
                own.configure_cert(context)
                chain = b"".join(each.bytes() for each in own.cert_chain_pems)
                pair = {"private_key": own.private_key_pem.bytes(), "certificate_chain": chain}
            roots = trusted.cert_pem.bytes() if trusted else None
            return {over_http(context), over_grpc(grpc.ssl_channel_credentials(roots, **pair))}

        assert both(authority, authority.issue_cert("client.example")) == {True}
        assert both(authority, None) == {not mutual}
        assert both(authority, trustme.CA().issue_cert("client.example")) == {not mutual}
        assert both(trustme.CA(), authority.issue_cert("client.example")) == {False}
        assert both(None, None) == {False}
        assert (over_http(None), over_grpc(None)) == (False, False)
