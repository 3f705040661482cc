"""Connections that nobody ends are ended by the collector, and certificates that are renewed are taken up."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.collector import Collector, wait_for

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
# HEADERS of a POST with literal names, without END_STREAM: a request whose message never comes.
FIELDS = {":method": "POST", ":scheme": "http", ":path": "/x", "te": "trailers", "content-type": "application/grpc"}
UNFINISHED_CALL = b"".join(
    b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    for name, value in FIELDS.items()
)
UNFINISHED = {
    ("http", "nothing sent"): b"",
    ("http", "half a header"): b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-",
    ("http", "half a body"): b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    ("http", "no next request"): b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ("health", "half a header"): b"GET / HTTP/1.1\r\nHo",
    ("health", "no next request"): b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ("metrics", "half a header"): b"GET /metrics HTTP/1.1\r\nHo",
    ("metrics", "no next request"): b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    ("grpc", "no call"): PREFACE,
    ("grpc", "a call without an end"): PREFACE
    + len(UNFINISHED_CALL).to_bytes(3, "big")
    + bytes([1, 4, 0, 0, 0, 1])
    + UNFINISHED_CALL,
}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[dict[str, Any], dict[str, str]], Collector]]:
    """Start a collector whose rendered durations are shorter than a test may wait for."""
    made: list[Collector] = []

    def start(configuration: dict[str, Any], shorter: dict[str, str]) -> Collector:
        collector = Collector(tmp_path, {"profile": "local", "tenants": {"identify_by": "none"}, **configuration}, [])
        text = collector.config_file.read_text()
        for before, after in shorter.items():
            assert before in text
            text = text.replace(before, after)
        collector.config_file.write_text(text)
        made.append(collector)
        collector.start()
        return collector

    yield start
    for each in made:
        each.stop()


@pytest.mark.case("unfinished_connections")
def test_every_connection_that_nobody_ends_is_closed(started):
    shorter = {"read_header_timeout: 10s": "read_header_timeout: 1s", "read_timeout: 1m": "read_timeout: 2s"}
    shorter |= {"idle_timeout: 2m": "idle_timeout: 1s", "max_connection_idle: 5m": "max_connection_idle: 1s"}
    shorter |= {
        "max_connection_age: 1h": "max_connection_age: 2s",
        "max_connection_age_grace: 1m": "max_connection_age_grace: 1s",
    }
    collector = started({"destinations": {"scraped": {"type": "prometheus"}}}, shorter)
    open_ones = {}
    for (port, what), sent in UNFINISHED.items():
        open_ones[port, what] = socket.create_connection(("127.0.0.1", collector.ports[port]), 30)
        open_ones[port, what].sendall(sent)
    assert [which for which, each in open_ones.items() if not _ends(each)] == []


def _ends(connection: socket.socket) -> bool:
    with connection:
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
    return True


@pytest.mark.case("renewed_certificate")
@pytest.mark.parametrize("port", ["grpc", "http"])
def test_a_renewed_certificate_is_taken_up_without_a_restart(started, tmp_path, port):
    authority, own, key = trustme.CA(), tmp_path / "cert.pem", tmp_path / "key.pem"

    def renewed() -> bytes:
        made = authority.issue_cert("127.0.0.1")
        made.cert_chain_pems[0].write_to_path(own)
        made.private_key_pem.write_to_path(key)
        return ssl.PEM_cert_to_DER_cert(own.read_text())

    def shown() -> bytes | None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", collector.ports[port]), 30)
        with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            return connection.getpeercert(binary_form=True)

    first = renewed()
    tls = {"cert_file": str(own), "key_file": str(key)}
    collector = started({"collector": {"tls": tls}}, {'"reload_interval": "1m"': '"reload_interval": "100ms"'})
    assert shown() == first
    second = renewed()
    time.sleep(0.1)
    assert wait_for(lambda: shown() == second)
    assert second != first
