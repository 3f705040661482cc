"""The presets see what the real libraries do; what is sold as a service answers from loopback."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import traceback
import zlib
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import boto3
import httpx
import pinecone
import pytest
import yaml
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError
from google import genai
from opentelemetry.trace import SpanKind, StatusCode
from watching import CLIENTS, Observed, Settings, attributes, put_back, serving

from theodore_otel.config import load_text
from theodore_otel.config.presets import preset
from theodore_otel.render.instrument import render_instrument

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
GEMINI = "gemini-2.0-flash"


class StandIn(BaseHTTPRequestHandler):
    """Answers as AWS, Google and Pinecone do, with what the test put for a piece of the path."""

    answers: ClassVar[dict] = {}

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = next(a for piece, a in self.answers.items() if piece in self.path)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    with serving(StandIn) as address:
        yield address


@pytest.fixture
def answer(url, monkeypatch):
    monkeypatch.setattr(StandIn, "answers", {})

    def put(piece, body, status=200, **headers):
        StandIn.answers[piece] = (status, headers, body)

    return put


def _settings(*names):
    text = yaml.safe_dump({"instrument": {"presets": list(names)}})
    found = json.loads(render_instrument(load_text(text, "t")))
    return Settings(watch=found["watch"], model_apis=found["model_apis"])


@pytest.fixture
def seen():
    """What is observed with the presets of the libraries on; their classes are put back afterwards."""
    from importlib import import_module

    names = ("bedrock", "google-genai", "pinecone")
    places = list(CLIENTS)
    for name in names:
        for entries in preset(name).instrument["watch"].values():
            for entry in entries:
                module, _, path = entry["function"].partition(":")
                try:
                    places.append((getattr(import_module(module), path.split(".")[0]), path.split(".")[1]))
                except ModuleNotFoundError:
                    assert name == "pinecone"  # modules of other versions of it
    observed = Observed()
    with put_back(places):
        observed.install(_settings(*names))
        yield observed
    assert observed.reports == []


def _ai(seen):
    (found,) = [span for span in seen.spans if attributes(span).get("theodore.operation.type") == "ai"]
    assert found.kind is SpanKind.CLIENT
    return attributes(found)


@pytest.fixture
def bedrock(url, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_bedrock_converse_counts_what_came_from_the_cache_as_input(seen, answer, bedrock):
    answer(
        "/converse",
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 100,
                "outputTokens": 20,
                "totalTokens": 1520,
                "cacheReadInputTokens": 1000,
                "cacheWriteInputTokens": 400,
            },
            "metrics": {"latencyMs": 5},
        },
    )
    said = bedrock.converse(modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": "hi"}]}])
    assert said["output"]["message"]["content"][0]["text"] == "hello"
    found = _ai(seen)
    assert found["gen_ai.provider.name"] == "aws.bedrock"
    assert found["gen_ai.request.model"] == CLAUDE
    assert found["gen_ai.usage.input_tokens"] == 1500
    assert found["gen_ai.usage.output_tokens"] == 20
    assert found["gen_ai.usage.cache_read.input_tokens"] == 1000
    assert found["gen_ai.usage.cache_creation.input_tokens"] == 400
    assert found["theodore.ai.cost_usd"] > 0


def test_bedrock_invoke_model_is_counted_from_its_headers_and_its_body_left_unread(seen, answer, bedrock):
    counts = {"x-amzn-bedrock-input-token-count": "11", "x-amzn-bedrock-output-token-count": "7"}
    answer("/invoke", {"content": [{"text": "hello"}]}, **counts)
    said = bedrock.invoke_model(modelId=CLAUDE, body=json.dumps({"messages": []}))
    assert json.loads(said["body"].read())["content"][0]["text"] == "hello"
    found = _ai(seen)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (11, 7)


def _event(kind, payload):
    """Return one message of AWS's binary event streams."""
    body = json.dumps(payload).encode()
    headers = b"".join(
        struct.pack("!B", len(name)) + name + b"\x07" + struct.pack("!H", len(value)) + value
        for name, value in (
            (b":message-type", b"event"),
            (b":event-type", kind),
            (b":content-type", b"application/json"),
        )
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))


STREAMED = b"".join(
    [
        _event(b"messageStart", {"role": "assistant"}),
        *(_event(b"contentBlockDelta", {"delta": {"text": word}, "contentBlockIndex": 0}) for word in ("hel", "lo")),
        _event(b"messageStop", {"stopReason": "end_turn"}),
        _event(
            b"metadata",
            {"usage": {"inputTokens": 40, "outputTokens": 7, "totalTokens": 107, "cacheReadInputTokens": 60}},
        ),
    ]
)


def _converse_stream(bedrock):
    said = bedrock.converse_stream(modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": "hi"}]}])
    return said["stream"]


def test_a_stream_of_bedrock_is_counted_when_it_was_read(seen, answer, bedrock):
    answer("/converse-stream", STREAMED, **{"Content-Type": "application/vnd.amazon.eventstream"})
    stream = _converse_stream(bedrock)
    assert not [span for span in seen.spans if span.name == f"chat {CLAUDE}"]
    events = list(stream)
    assert "".join(e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e) == "hello"
    found = _ai(seen)
    assert found["gen_ai.usage.input_tokens"] == 100
    assert found["gen_ai.usage.output_tokens"] == 7
    assert found["gen_ai.usage.cache_read.input_tokens"] == 60
    assert found["theodore.success"] is True


def test_a_stream_of_bedrock_that_is_closed_or_forgotten_ends_its_span(seen, answer, bedrock):
    answer("/converse-stream", STREAMED, **{"Content-Type": "application/vnd.amazon.eventstream"})
    stream = _converse_stream(bedrock)
    next(iter(stream))
    stream.close()
    _converse_stream(bedrock)
    gc.collect()
    calls = [attributes(span) for span in seen.spans if span.name == f"chat {CLAUDE}"]
    assert len(calls) == 2
    assert not any("gen_ai.usage.input_tokens" in call for call in calls)


def test_a_stream_of_bedrock_that_breaks_is_a_failed_call(seen, answer, bedrock):
    broken = STREAMED[:-1] + bytes([STREAMED[-1] ^ 1])
    answer("/converse-stream", broken, **{"Content-Type": "application/vnd.amazon.eventstream"})
    with pytest.raises(ChecksumMismatch) as caught:
        list(_converse_stream(bedrock))
    assert not [f for f in traceback.extract_tb(caught.value.__traceback__) if "theodore_otel" in f.filename]
    (span,) = [span for span in seen.spans if span.name == f"chat {CLAUDE}"]
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "ChecksumMismatch"


def test_a_refusal_of_bedrock_is_a_failed_call(seen, answer, bedrock):
    answer("/converse", {"message": "slow down"}, 429, **{"x-amzn-ErrorType": "ThrottlingException"})
    with pytest.raises(ClientError):
        bedrock.converse(modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": "hi"}]}])
    (span,) = [span for span in seen.spans if span.name == f"chat {CLAUDE}"]
    assert span.status.status_code is StatusCode.ERROR


def test_other_calls_to_aws_are_no_model_calls(seen, answer, url):
    answer("/", b"<ListAllMyBucketsResult/>", **{"Content-Type": "application/xml"})
    boto3.client(
        "s3", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="key", aws_secret_access_key="secret"
    ).list_buckets()
    assert seen.spans == []


USAGE = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 5,
    "cachedContentTokenCount": 60,
    "totalTokenCount": 125,
}


def _content(text, **more):
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}], "modelVersion": GEMINI, **more}


@pytest.fixture
def google(url):
    return genai.Client(api_key="key", http_options={"base_url": url})


def _expect_usage(seen):
    found = _ai(seen)
    assert found["gen_ai.provider.name"] == "gcp.gemini"
    assert found["gen_ai.request.model"] == GEMINI
    assert found["gen_ai.usage.input_tokens"] == 100
    assert found["gen_ai.usage.output_tokens"] == 25
    assert found["gen_ai.usage.cache_read.input_tokens"] == 60
    assert found["theodore.ai.cost_usd"] > 0


def test_google_genai_is_counted_with_thoughts_as_output(seen, answer, google):
    answer(":generateContent", _content("hello", usageMetadata=USAGE))
    assert google.models.generate_content(model=GEMINI, contents="hi").text == "hello"
    _expect_usage(seen)


def test_google_genai_is_counted_when_asynchronous(seen, answer, google):
    answer(":generateContent", _content("hello", usageMetadata=USAGE))
    said = asyncio.run(google.aio.models.generate_content(model=GEMINI, contents="hi"))
    assert said.text == "hello"
    _expect_usage(seen)


def _events(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)


STREAM = _events(_content("hel", usageMetadata={"promptTokenCount": 100}), _content("lo", usageMetadata=USAGE))


def test_google_genai_is_counted_when_streamed(seen, answer, google):
    answer(":streamGenerateContent", STREAM, **{"Content-Type": "text/event-stream"})
    assert "".join(c.text for c in google.models.generate_content_stream(model=GEMINI, contents="hi")) == "hello"
    _expect_usage(seen)


def test_google_genai_is_counted_when_streamed_asynchronously(seen, answer, google):
    answer(":streamGenerateContent", STREAM, **{"Content-Type": "text/event-stream"})

    async def collect():
        stream = await google.aio.models.generate_content_stream(model=GEMINI, contents="hi")
        return "".join([chunk.text async for chunk in stream])

    assert asyncio.run(collect()) == "hello"
    _expect_usage(seen)


def test_pinecone_is_a_store(seen, answer, url):
    answer("/vectors/upsert", {"upsertedCount": 1})
    answer("/query", {"matches": [], "namespace": ""})
    index = pinecone.Index(host=url, api_key="key")
    index.upsert(vectors=[("a", [0.1, 0.2])])
    index.query(vector=[0.1, 0.2], top_k=1)
    stored = [attributes(span) for span in seen.spans if attributes(span).get("theodore.operation.type") == "storage"]
    assert [found["theodore.storage.operation"] for found in stored] == ["upsert", "query"]
    assert {found["theodore.storage.type"] for found in stored} == {"pinecone"}
    assert all(found["theodore.success"] for found in stored)


def test_a_refusal_of_pinecone_is_a_failed_operation(seen, answer, url):
    answer("/query", {"message": "no"}, 403)
    with pytest.raises(Exception, match="no"):
        pinecone.Index(host=url, api_key="key").query(vector=[0.1], top_k=1)
    (span,) = [span for span in seen.spans if span.name == "storage query"]
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["theodore.success"] is False


def test_openai_compatible_apis_are_told_apart_by_their_urls():
    import re

    apis = _settings("openai-http", "gemini-http").model_apis
    wanted = {
        "https://api.openai.com/v1/responses": ("openai", "chat"),
        "https://api.openai.com/v1/embeddings": ("openai", "embeddings"),
        "https://house.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=1": (
            "azure.ai.openai",
            "chat",
        ),
        "https://api.anthropic.com/v1/messages": ("anthropic", "chat"),
        "http://localhost:11434/v1/chat/completions": ("local", "chat"),
        f"https://generativelanguage.googleapis.com/v1beta/models/{GEMINI}:generateContent": (
            "gcp.gemini",
            "generate_content",
        ),
    }
    for address, expected in wanted.items():
        (found,) = [api for api in apis if re.match(api["url"], address)]
        assert (found["provider"], found["operation"]) == expected
    assert not any(re.match(api["url"], "https://api.anthropic.com/v1/messages/batches") for api in apis)


def test_gemini_over_http_takes_the_model_from_the_url(seen, answer, url):
    answer(":generateContent", _content("hello", usageMetadata=USAGE))
    api = next(api for api in preset("gemini-http").instrument["model_apis"] if api["name"] == "gemini")
    local = {
        **api,
        "url": api["url"].replace(r"https://generativelanguage\.googleapis\.com", r"http://127\.0\.0\.1:\d+"),
    }
    with put_back(CLIENTS):
        seen.install(Settings(model_apis=[local]))
        httpx.post(f"{url}/v1beta/models/{GEMINI}:generateContent", json={"contents": []})
    _expect_usage(seen)
