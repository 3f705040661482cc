"""`theodore-otel elasticsearch apply` where something else answers, or Elasticsearch says what may not be shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from click.testing import CliRunner, Result

from theodore_otel.cli import cli
from theodore_otel.search import node

ID, SECRET = "Zm9vYmFyYmF6cXV4", "hJ8kLq2wTz-Pn4Rv7sXyBA"
KEY = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()
HEALTH = (200, {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}, b'{"status":"green"}')
Give = Callable[..., Result]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        # What it says of its health is well, so that all else is asked too.
        well = self.path.startswith("/_cluster/health") and self.server.healthy
        status, headers, body = HEALTH if well else self.server.says
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in body if isinstance(body, list) else [body]:
            try:
                self.wfile.write(piece)
            except OSError:
                return

    do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    says = HEALTH
    healthy = True


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Give]:
    """Apply against a server that answers everything so."""
    monkeypatch.setenv("ES_API_KEY", KEY)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        es = {"type": "elasticsearch", "endpoints": [f"http://127.0.0.1:{server.server_port}"]}
        file = tmp_path / "theodore-otel.yaml"
        file.write_text(yaml.safe_dump({"destinations": {"es": {**es, "api_key": {"env": "ES_API_KEY"}}}}))

        def give(status: int, body: bytes | list[bytes], healthy: bool = True, **headers: str) -> Result:
            server.healthy = healthy
            own = {"X_Elastic_Product": "Elasticsearch", "Content_Type": "application/json", **headers}
            server.says = (status, {name.replace("_", "-"): value for name, value in own.items() if value}, body)
            words = ["elasticsearch", "apply", "-c", str(file), "--wait", "0", "--allow-missing", "lifecycle"]
            return CliRunner(catch_exceptions=False).invoke(cli, words, standalone_mode=False)

        yield give
        server.shutdown()


ODD = {
    "no JSON": b"{",
    "HTML": b"<html>log in</html>",
    "a list": b"[]",
    "a number": b"7",
    "nothing": b"",
    "null": b"null",
    "other types": b'{"component_templates":7,"index_templates":{},"theodore-7d":3,"data_streams":"x"}',
    "names that are none": b'{"component_templates":[{"name":[]}],"index_templates":[7],"x":{"policy":[]}}',
    "deep nesting": b"[" * 100_000,
    "a number without end": b'{"x":' + b"9" * 100_000 + b"}",
    "bad UTF-8": b'{"x":"\xff\xfe"}',
}


@pytest.mark.case("hostile_elasticsearch")
@pytest.mark.parametrize("healthy", [True, False])
@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize(
    "kind", ["application/json", "text/html", "application/vnd.elasticsearch+json;compatible-with=8", ""]
)
def test_what_is_no_answer_of_elasticsearch_is_told(given, body, kind, healthy):
    with pytest.raises(Exception) as said:
        given(200, body, healthy, Content_Type=kind)
    assert type(said.value).__name__ in ("CheckFailedError", "DownError"), said.value
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.case("hostile_elasticsearch")
@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 418, 429, 500, 503])
@pytest.mark.parametrize("healthy", [True, False])
def test_an_odd_status_is_told_and_nobody_is_sent_elsewhere(given, status, healthy):
    with pytest.raises(Exception) as said:
        given(status, b"<html>\x1b[2J</html>", healthy, Content_Type="text/html", Location="http://127.0.0.1:1/")
    assert type(said.value).__name__ in ("CheckFailedError", "DownError"), said.value
    assert "\x1b" not in str(said.value)


@pytest.mark.case("hostile_elasticsearch")
@pytest.mark.parametrize("healthy", [True, False])
def test_an_answer_without_an_end_is_given_up(given, monkeypatch, healthy):
    monkeypatch.setattr(node, "_LARGEST", 2**20)
    with pytest.raises(Exception, match="longer than 1 MiB") as said:
        given(200, [b" " * 65536] * 10_000, healthy)
    assert type(said.value).__name__ == "DownError"


@pytest.mark.case("key_in_a_refusal")
@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("healthy", [True, False])
@pytest.mark.parametrize(
    "part", [KEY, f"{ID}:{SECRET}", SECRET, f"\x1b[2J\x9b{SECRET}\u202e", f"ApiKey {KEY}", "password=Tr0ub4dor&3"]
)
def test_a_refusal_is_shown_clean_and_without_the_key(given, status, part, healthy):
    refusal = {"error": {"type": "x", "reason": f"action refused\nfor [{part}] " + "x" * 5000}, "status": status}
    with pytest.raises(Exception) as said:
        given(status, json.dumps(refusal).encode(), healthy)
    text = str(said.value)
    assert not any(secret in text for secret in (KEY, SECRET, "Tr0ub4dor"))
    assert text.isprintable()
    assert len(text) < 500
    if status == 403:
        assert "may not do this (403): action refused for [" in text
