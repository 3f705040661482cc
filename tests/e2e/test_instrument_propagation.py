"""Which hosts are told about the trace: allow-listed ones, through every client library, also behind redirects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.receiver import attributes, both, receiving

_TOLD = ("traceparent", "tracestate", "baggage", "x-correlation-id", "x-tenant-id", "x-user-id")

CLIENTS = {
    "requests": "import requests\nprint(requests.get(sys.argv[1], headers={'X-App': 'kept'}).status_code)",
    "requests-session": (
        "import requests\nwith requests.Session() as s:\n"
        "    print(s.get(sys.argv[1], headers={'X-App': 'kept'}).status_code)"
    ),
    "urllib3": (
        "import urllib3\nprint(urllib3.PoolManager().request('GET', sys.argv[1], headers={'X-App': 'kept'}).status)"
    ),
    "httpx": (
        "import httpx\nprint(httpx.get(sys.argv[1], follow_redirects=True, headers={'X-App': 'kept'}).status_code)"
    ),
    "httpx-async": (
        "import httpx, asyncio\n"
        "async def go():\n"
        "    async with httpx.AsyncClient(follow_redirects=True) as c:\n"
        "        print((await c.get(sys.argv[1], headers={'X-App': 'kept'})).status_code)\n"
        "asyncio.run(go())"
    ),
    "aiohttp": (
        "import aiohttp, asyncio\n"
        "async def go():\n"
        "    async with aiohttp.ClientSession() as c:\n"
        "        async with c.get(sys.argv[1], headers={'X-App': 'kept'}) as r: print(r.status)\n"
        "asyncio.run(go())"
    ),
    "urllib": (
        "import urllib.request as u\nprint(u.urlopen(u.Request(sys.argv[1], headers={'X-App': 'kept'})).status)"
    ),
}


class Site:
    """A web site that notes the headers it was sent; `/away` redirects to the other name of the same machine."""

    def __init__(self) -> None:
        site = self
        self.seen: list[tuple[str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host = self.headers["host"].partition(":")[0]
                site.seen.append((host, {k.lower(): v for k, v in self.headers.items()}))
                if self.path.startswith("/away"):
                    self.send_response(302)
                    self.send_header("location", site.url("127.0.0.1" if host == "localhost" else "localhost"))
                else:
                    self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, host: str, path: str = "/page") -> str:
        return f"http://{host}:{self.server.server_port}{path}"

    def told(self, host: str) -> list[set[str]]:
        return [set(headers) & set(_TOLD) for name, headers in self.seen if name == host]


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def allow_localhost(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "instrument.json"
    file.write_text(json.dumps({"schema": 1, "propagate_to": ["localhost"]}))
    return {
        "THEODORE_OTEL_CONFIG": str(file),
        "BAGGAGE": "tenant.id=acme,user.id=ann",
        "CORRELATION_ID": "corr-1",
    }


def _run(client: str, url: str, folder: Path, extra: dict[str, str]) -> list[dict[str, Any]]:
    with receiving() as receiver:
        both(f"import sys\n{CLIENTS[client]}", receiver, folder, url, extra=extra)
        return [attributes(span) for span in receiver.spans()]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_allowed_host_is_told(client: str, site: Site, tmp_path: Path, allow_localhost: dict[str, str]) -> None:
    spans = _run(client, site.url("localhost"), tmp_path, allow_localhost)
    plain, instrumented = site.told("localhost")
    assert plain == set()
    assert instrumented >= {"traceparent", "baggage", "x-correlation-id"}
    assert site.seen[-1][1]["x-correlation-id"] == "corr-1"
    assert len(spans) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_third_party_is_told_nothing(
    client: str, site: Site, tmp_path: Path, allow_localhost: dict[str, str]
) -> None:
    spans = _run(client, site.url("127.0.0.1"), tmp_path, allow_localhost)
    assert site.told("127.0.0.1") == [set(), set()]
    assert site.seen[-1][1]["x-app"] == "kept"
    assert len(spans) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_redirect_to_a_third_party_takes_nothing_along(
    client: str, site: Site, tmp_path: Path, allow_localhost: dict[str, str]
) -> None:
    _run(client, site.url("localhost", "/away"), tmp_path, allow_localhost)
    assert site.told("localhost")[1] >= {"traceparent", "baggage", "x-correlation-id"}
    assert site.told("127.0.0.1") == [set(), set()]
    assert site.seen[-1][1]["x-app"] == "kept"


@pytest.mark.parametrize("client", CLIENTS)
def test_spans_use_current_names_and_urls_without_query_or_credentials(
    client: str, site: Site, tmp_path: Path, allow_localhost: dict[str, str]
) -> None:
    (span,) = _run(client, site.url("localhost", "/page?token=planted#part"), tmp_path, allow_localhost)
    assert span["url.full"] == site.url("localhost")
    assert span["http.request.method"] == "GET"
    assert span["http.response.status_code"] == 200
    assert not set(span) & {"http.method", "http.url", "http.status_code", "http.host", "net.peer.name"}
    assert "planted" not in str(span)
    assert span["correlation.id"] == "corr-1"


OWN = {
    "x-correlation-id": "order-4711",
    "traceparent": "00-11111111111111111111111111111111-2222222222222222-01",
    "tracestate": "shop=1",
    "baggage": "shop=blue",
}


@pytest.mark.case("own_headers")
@pytest.mark.parametrize("client", CLIENTS)
def test_headers_that_the_program_sets_itself_go_where_it_sends_them(
    client: str, site: Site, tmp_path: Path, allow_localhost: dict[str, str]
) -> None:
    script = CLIENTS[client].replace("{'X-App': 'kept'}", f"{{'X-App': 'kept', **{OWN}}}")
    with receiving() as receiver:
        for url in (site.url("localhost"), site.url("127.0.0.1"), site.url("localhost", "/away")):
            both(f"import sys\n{script}", receiver, tmp_path, url, extra=allow_localhost)
    assert len(site.seen) == 8
    for _, headers in site.seen:
        assert {name: value for name, value in headers.items() if name in _TOLD} == OWN


@pytest.mark.case("own_headers")
def test_only_the_header_that_the_program_sets_is_its_own(
    site: Site, tmp_path: Path, allow_localhost: dict[str, str]
) -> None:
    script = CLIENTS["httpx"].replace("'X-App': 'kept'", "'X-Correlation-Id': 'order-4711'")
    with receiving() as receiver:
        both(f"import sys\n{script}", receiver, tmp_path, site.url("localhost"), extra=allow_localhost)
        (span,) = receiver.spans()
    _, headers = site.seen[-1]
    assert headers["x-correlation-id"] == "order-4711"
    assert headers["traceparent"].split("-")[1] == span.trace_id.hex()
