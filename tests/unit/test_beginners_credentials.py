"""What people put in place of a credential or an endpoint is taken, or told with what to do."""

from __future__ import annotations

import base64
import socket
import threading

import pytest
from support.receiver import receiving

from theodore_otel.instrument import sender, settings
from theodore_otel.instrument.sender import Sender

pytestmark = pytest.mark.case("misleading_mistakes")


@pytest.mark.parametrize(
    "written",
    ["acme.1:token", "THEODORE_OTEL_CREDENTIAL=acme.1:token", 'export THEODORE_OTEL_CREDENTIAL="acme.1:token"\n'],
)
@pytest.mark.parametrize("place", ["variable", "file"])
def test_the_whole_line_that_tenant_add_prints_is_a_credential(tmp_path, written, place):
    (tmp_path / "credential").write_text(written)
    given = {"THEODORE_OTEL_CREDENTIAL": written}
    if place == "file":
        given = {"THEODORE_OTEL_CREDENTIAL_FILE": str(tmp_path / "credential")}
    read, complaints = settings.load(given)
    assert complaints == []
    assert read.headers["traces"]["authorization"] == "Basic " + base64.b64encode(b"acme.1:token").decode()


def test_a_token_without_its_name_is_told_with_where_the_whole_comes_from():
    _, complaints = settings.load({"THEODORE_OTEL_CREDENTIAL": "token"})
    assert "as `theodore-otel tenant add` prints it" in " ".join(complaints)


def test_no_credential_is_not_told_as_a_wrong_one():
    with receiving() as receiver:
        receiver.status = 401
        for headers, said in (
            ({}, "no credential is set: `theodore-otel tenant add NAME`"),
            ({"authorization": "Basic x"}, "does not accept"),
        ):
            client = Sender(f"{receiver.url}/v1/traces", headers)
            assert said in client.send(b"", 5).reason
            client.close()


def test_the_port_of_grpc_is_told_as_such(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(sender, "_GRPC_PORT", server.getsockname()[1])

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"\0\0\6\4\0\0\0\0\0\0\5\0\0@\0")  # SETTINGS, as an HTTP/2 server begins
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        client = Sender(f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces", {})
        assert "is usually the port of OTLP over gRPC, and 4318 that of OTLP over HTTP" in client.send(b"", 5).reason
