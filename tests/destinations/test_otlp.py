"""All signals at any OTLP endpoint: another collector over gRPC, and HTTP with a key and certificates of both sides."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme
from destinations.kit import (
    KILLED,
    METRIC,
    OWNERS,
    REDACTED,
    configuration,
    queued,
    require_no_secret,
    require_secret_stays_inside,
    require_survives,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.otlp import OtlpHttp
from support.collector import running, wait_for

KEY = "a-key-that-nobody-may-read"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """Certificate files by the name of the key that takes them."""
    folder = tmp_path_factory.mktemp("certificates")
    certificate = authority.issue_cert("127.0.0.1", "collector")
    paths = {name: folder / f"{name}.pem" for name in ("ca_file", "cert_file", "key_file")}
    authority.cert_pem.write_to_path(paths["ca_file"])
    certificate.cert_chain_pems[0].write_to_path(paths["cert_file"])
    certificate.private_key_pem.write_to_path(paths["key_file"])
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def gateway(files, tmp_path_factory):
    """A collector that takes OTLP over TLS and keeps it in the local store's files."""
    listener = {"cert_file": files["cert_file"], "key_file": files["key_file"]}
    settings = {"profile": "local", "tenants": {"identify_by": "none"}, "collector": {"tls": listener}}
    with running(tmp_path_factory.mktemp("gateway"), settings) as started:
        yield started


@pytest.fixture(scope="module")
def service(authority, files):
    """An endpoint that wants a key and a certificate of the client."""
    endpoint = OtlpHttp({"X-Api-Key": KEY})
    endpoint.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    endpoint.tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(endpoint.tls)
    endpoint.tls.load_cert_chain(files["cert_file"], files["key_file"])
    with endpoint:
        yield endpoint
        assert endpoint.wrong == []


@pytest.fixture(scope="module")
def collector(gateway, service, files, tmp_path_factory):
    destinations = {
        "gateway": {
            "type": "otlp",
            "endpoint": f"127.0.0.1:{gateway.ports['grpc']}",
            "tls": {"ca_file": files["ca_file"]},
        },
        "service": {
            "type": "otlp",
            "protocol": "http",
            "endpoint": service.url,
            "headers": {"X-Api-Key": {"env": "SERVICE_KEY"}},
            "tls": files,
        },
    }
    folder = tmp_path_factory.mktemp("otlp")
    with running(folder, configuration(**destinations), OWNERS, {"SERVICE_KEY": KEY}) as started:
        yield started
        require_secret_stays_inside(started, KEY)


@pytest.fixture(scope="module")
def sent(collector) -> None:
    for send in (send_span, send_log, send_gauge):
        send(collector, "readable")


def test_what_a_tenant_sends_arrives_over_grpc_and_tls(sent, gateway, collector):
    wait_for(gateway.spans, otherwise=collector.said)
    wait_for(gateway.logs, otherwise=collector.said)
    ((_, span),) = gateway.spans()
    ((_, log),) = gateway.logs()
    assert (span["name"], log["body"]["stringValue"]) == ("readable", text_of("readable"))
    assert REDACTED.items() <= span["attributes"].items()
    assert REDACTED.items() <= log["attributes"].items()
    wait_for(lambda: METRIC in str(gateway.received("metrics")), otherwise=collector.said)
    require_no_secret(str([gateway.received(signal) for signal in ("traces", "logs", "metrics")]))


def test_what_a_tenant_sends_arrives_over_http_with_key_and_certificates(sent, service, collector):
    def of(signal, key, value):
        return wait_for(
            lambda: [record for record in service.records(signal) if record[key] == value],
            otherwise=collector.said,
        )

    (span,) = of("traces", "name", "readable")
    (log,) = of("logs", "body", text_of("readable"))
    (metric,) = of("metrics", "name", METRIC)
    assert REDACTED.items() <= span["attributes"].items()
    assert [record["resource"]["tenant.id"] for record in (span, log, metric)] == ["acme"] * 3
    require_no_secret(str(service.requests))


@KILLED
def test_log_records_wait_on_disk_while_it_is_down(service, collector, killed):
    def arrived():
        return [str(record["body"]).partition(" ")[0] for record in service.records("logs")]

    require_survives(collector, service, send_log, arrived, killed=killed)


def test_log_records_wait_while_it_answers_503_and_while_it_is_slow(service, collector):
    def arrived():
        return {str(record["body"]).partition(" ")[0] for record in service.records("logs")}

    service.answer(503)
    send_log(collector, "refused")
    wait_for(lambda: service.refused, otherwise=collector.said)
    service.answer(None)
    wait_for(lambda: "refused" in arrived(), 30, collector.said)
    with service.slow():
        send_log(collector, "delayed")
        wait_for(lambda: b"delayed" in queued(collector), otherwise=collector.said)
        assert "delayed" not in arrived()
    wait_for(lambda: "delayed" in arrived(), 30, collector.said)


WITHOUT = {"unknown server": ("ca_file",), "unknown client": ("cert_file", "key_file")}


@pytest.mark.parametrize("left_out", WITHOUT.values(), ids=WITHOUT)
def test_nothing_is_sent_when_a_certificate_does_not_fit(service, files, tmp_path, left_out):
    destination = {
        "type": "otlp",
        "protocol": "http",
        "endpoint": service.url,
        "headers": {"X-Api-Key": {"env": "SERVICE_KEY"}},
        "tls": {name: file for name, file in files.items() if name not in left_out},
    }
    with running(tmp_path, configuration(service=destination), OWNERS, {"SERVICE_KEY": KEY}) as collector:
        send_log(collector, "kept-back")
        wait_for(lambda: "tls: " in collector.log.read_text(), 20, collector.said)
        assert b"kept-back" in queued(collector)
    assert text_of("kept-back") not in {record["body"] for record in service.records("logs")}


def test_tls_is_spoken_unless_it_is_switched_off(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        destination = {"type": "otlp", "endpoint": f"127.0.0.1:{listener.getsockname()[1]}"}
        with running(tmp_path, configuration(anywhere=destination), OWNERS) as collector:
            send_log(collector, "not in clear")
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(2) == b"\x16\x03"  # A TLS handshake, as any version begins it.
