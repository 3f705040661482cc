"""The usage of an answer that comes as a stream of events is heard while the program reads it."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import aiohttp
import httpx
import pytest
import requests
import urllib3
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from watching import CLIENTS as PATCHED
from watching import Observed, Settings, attributes, put_back, serving

from theodore_otel.instrument.streaming import Listener

API = {"name": "stand-in", "url": r"http://127\.0\.0\.1:\d+/v1/", "provider": "house"}
PRICES = {"house-1": {"input_per_million": 1.0, "output_per_million": 5.0, "cached_input_per_million": 0.1}}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 600}}

OPENAI = [
    *({"model": "house-1", "choices": [{"delta": {"content": f"wörd {n} "}}], "usage": None} for n in range(50)),
    {"model": "house-1", "choices": [], "usage": USAGE},
]
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "model": "house-1",
            "usage": {"input_tokens": 400, "cache_read_input_tokens": 600, "output_tokens": 1},
        },
    },
    *({"type": "content_block_delta", "delta": {"text": f"word {n}"}} for n in range(50)),
    {"type": "message_delta", "usage": {"output_tokens": 20}},
]
RESPONSES = [
    {"type": "response.created", "response": {"model": "house-1", "usage": None}},
    *({"type": "response.output_text.delta", "delta": f"word {n}"} for n in range(50)),
    {
        "type": "response.completed",
        "response": {
            "model": "house-1",
            "usage": {"input_tokens": 1000, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 600}},
        },
    },
]


def _events(events, ending=b"\n"):
    return (
        b"".join(b"data: " + json.dumps(event).encode() + ending * 2 for event in events) + b"data: [DONE]" + ending * 2
    )


STREAMS = {
    "/v1/openai": _events(OPENAI),
    "/v1/crlf": _events(OPENAI, b"\r\n"),
    "/v1/anthropic": _events(ANTHROPIC),
    "/v1/responses": _events(RESPONSES),
    "/v1/error": _events([OPENAI[0], {"error": {"message": "out of luck", "code": 502}}]),
}


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        path, _, compressed = self.path.partition("?")
        body = gzip.compress(STREAMS[path]) if compressed else STREAMS[path]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        if compressed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with suppress(OSError):  # given up
            for start in range(0, len(body), 700):  # pieces that end in the middle of a line, and of a letter
                piece = body[start : start + 700]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    with serving(StandIn) as address:
        yield f"{address}/v1"


@pytest.fixture
def seen():
    observed = Observed()
    with put_back(PATCHED):
        observed.install(Settings(model_apis=[API], prices=PRICES))
        yield observed


BODY = {"model": "house-1", "stream": True}


def _requests_lines(url):
    with requests.post(url, json=BODY, stream=True, timeout=30) as response:
        return b"\n".join(response.iter_lines())


def _requests_content(url):
    return requests.post(url, json=BODY, stream=True, timeout=30).content


def _httpx(url):
    with httpx.stream("POST", url, json=BODY) as response:
        return "\n".join(response.iter_lines()).encode()


def _httpx_async(url):
    async def call():
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=BODY) as response:
            return b"".join([piece async for piece in response.aiter_bytes()])

    return asyncio.run(call())


def _aiohttp(read):
    def call(url):
        async def inside():
            async with aiohttp.ClientSession() as session, session.post(url, json=BODY) as response:
                return await read(response)

        return asyncio.run(inside())

    return call


async def _lines(response):
    return b"".join([line async for line in response.content])


async def _any(response):
    return b"".join([piece async for piece in response.content.iter_any()])


async def _chunks(response):
    return b"".join([piece async for piece, _ in response.content.iter_chunks()])


async def _chunked(response):
    return b"".join([piece async for piece in response.content.iter_chunked(100)])


async def _whole(response):
    return await response.read()


def _requests_at_once(url):
    return requests.post(url, json=BODY, timeout=30).content


def _httpx_at_once(url):
    return httpx.post(url, json=BODY).content


def _urllib3_at_once(url):
    return urllib3.PoolManager().request("POST", url, json=BODY).data


def _urllib3(url):
    response = urllib3.PoolManager().request("POST", url, json=BODY, preload_content=False)
    return b"".join(response.stream(100, decode_content=True))


READERS = {
    "requests lines": _requests_lines,
    "requests content": _requests_content,
    "httpx": _httpx,
    "httpx async": _httpx_async,
    "aiohttp lines": _aiohttp(_lines),
    "aiohttp any": _aiohttp(_any),
    "aiohttp chunks": _aiohttp(_chunks),
    "aiohttp chunked": _aiohttp(_chunked),
    "aiohttp whole": _aiohttp(_whole),
    "urllib3": _urllib3,
    "requests at once": _requests_at_once,
    "httpx at once": _httpx_at_once,
    "urllib3 at once": _urllib3_at_once,
}


def _expect_usage(seen):
    gc.collect()
    found = attributes(seen.only())
    assert found["gen_ai.response.model"] == "house-1"
    assert found["gen_ai.usage.input_tokens"] == 1000
    assert found["gen_ai.usage.output_tokens"] == 20
    assert found["gen_ai.usage.cache_read.input_tokens"] == 600
    assert found["theodore.ai.cost_usd"] == pytest.approx((400 * 1.0 + 600 * 0.1 + 20 * 5.0) / 1e6)
    assert found["theodore.success"] is True
    assert trace.get_current_span() is trace.INVALID_SPAN


def _same(read, path):
    assert read.replace(b"\n", b"").replace(b"\r", b"") == STREAMS[path].replace(b"\n", b"").replace(b"\r", b"")


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_way_to_read_a_stream_tells_its_usage_and_reads_the_same(seen, url, read):
    _same(read(f"{url}/openai"), "/v1/openai")
    _expect_usage(seen)


@pytest.mark.parametrize("path", ["crlf", "anthropic", "responses"])
@pytest.mark.parametrize("read", [_requests_lines, _httpx, _aiohttp(_lines)], ids=["requests", "httpx", "aiohttp"])
def test_every_kind_of_stream_tells_its_usage(seen, url, read, path):
    _same(read(f"{url}/{path}"), f"/v1/{path}")
    _expect_usage(seen)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_compressed_stream_tells_its_usage(seen, url, read):
    _same(read(f"{url}/openai?gzip"), "/v1/openai")
    _expect_usage(seen)


@pytest.mark.parametrize("read", [_requests_lines, _httpx, _aiohttp(_lines)], ids=["requests", "httpx", "aiohttp"])
def test_an_error_in_a_stream_is_a_failed_call(seen, url, read):
    read(f"{url}/error")
    gc.collect()
    span = seen.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "HTTP 200: out of luck"
    assert attributes(span)["error.type"] == "model_error"


def test_a_span_lasts_until_the_stream_ends(seen, url):
    with requests.post(f"{url}/openai", json=BODY, stream=True, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        assert seen.spans == []
        list(lines)
    assert len(seen.spans) == 1


@pytest.mark.parametrize("client", ["requests", "httpx", "aiohttp"])
def test_a_stream_that_is_given_up_ends_its_span_without_usage(seen, url, client):
    async def later():
        async with aiohttp.ClientSession() as session, session.post(f"{url}/openai", json=BODY) as response:
            await response.content.readline()

    if client == "requests":
        with requests.post(f"{url}/openai", json=BODY, stream=True, timeout=30) as response:
            next(response.iter_lines())
        del response
    elif client == "httpx":
        with httpx.stream("POST", f"{url}/openai", json=BODY) as response:
            next(response.iter_lines())
    else:
        asyncio.run(later())
    gc.collect()
    found = attributes(seen.only())
    assert found["gen_ai.response.model"] == "house-1"
    assert "gen_ai.usage.input_tokens" not in found


def test_a_stream_that_breaks_raises_as_without_us(url, monkeypatch):
    def broken(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"data: {}\n\n")
        self.close_connection = True

    monkeypatch.setattr(StandIn, "do_POST", broken)

    def errors():
        found = []
        for read in (_requests_lines, _httpx, _httpx_async, _aiohttp(_lines), _aiohttp(_any)):
            try:
                read(f"{url}/openai")
            except Exception as error:
                names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
                found.append((type(error), str(error), any("theodore_otel" in name for name in names)))
        return found

    without = errors()
    observed = Observed()
    with put_back(PATCHED):
        observed.install(Settings(model_apis=[API]))
        assert errors() == without
    assert len(without) == 5


def test_what_is_too_long_or_no_json_is_passed_over():
    heard = []

    class Call:
        def answered(self, status, body):
            heard.append((status, body))

    listener = Listener(Call(), 200, {"content-type": "text/event-stream"})
    listener.feed(b"data: " + b"x" * (9 * 1024 * 1024))
    listener.feed(
        b'\n\ndata: {"usage": nonsense}\n\ndata: ["usage"]\n\n: "usage"\n\ndata: {"usage": {"prompt_tokens": 3}}'
    )
    listener.end()
    listener.end()
    assert heard == [(200, {"usage": {"prompt_tokens": 3}})]


@pytest.mark.case("quadratic_stream")
def test_a_line_that_comes_in_very_many_pieces_is_heard_in_one_pass():
    """Looked at anew with each piece it would take hours; the suite would hang."""
    heard = []

    class Call:
        def answered(self, status, body):
            heard.append(body)

    listener = Listener(Call(), 200, {"content-type": "text/event-stream"})
    line = b'data: {"model": "m", "filled": "' + b"x" * (4 * 1024 * 1024) + b'", "usage": {"prompt_tokens": 3}}'
    for start in range(0, len(line), 8):
        listener.feed(line[start : start + 8])
    listener.feed(b"\n\n")
    listener.end()
    assert heard == [{"model": "m", "usage": {"prompt_tokens": 3}}]
