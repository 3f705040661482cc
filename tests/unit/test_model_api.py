"""Model calls over plain HTTP are recognised by URL, and exactly one span carries the usage of each."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import httpx
import pytest
import requests
import urllib3
import wrapt
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.trace import SpanKind, StatusCode
from watching import CLIENTS as PATCHED
from watching import Observed, Settings, application, attributes, load, put_back

sys.path.insert(0, str(Path(__file__).parents[1] / "sample_app"))

from sample_theodore import standins

MODEL = "house/model"
API = {
    "name": "stand-in",
    "url": r"http://127\.0\.0\.1:\d+/api/v1/chat/completions",
    "provider": "house",
    "operation": "chat",
}
PRICES = {MODEL: {"input_per_million": 1.0, "output_per_million": 5.0}}
INSTRUMENTORS = (RequestsInstrumentor, HTTPXClientInstrumentor, AioHttpClientInstrumentor, URLLib3Instrumentor)


@pytest.fixture(scope="module")
def server():
    with standins.running() as running:
        yield running


@pytest.fixture
def model(server):
    server.record.clear()
    server.usage.clear()
    return server.environment["THEODORE_MODEL_URL"]


def _call_requests(url, body):
    return requests.post(url, json=body, timeout=30).json()


def _call_requests_session(url, body):
    with requests.Session() as session:
        return session.send(session.prepare_request(requests.Request("POST", url, json=body))).json()


def _call_httpx(url, body):
    return httpx.post(url, json=body).json()


def _call_httpx_async(url, body):
    async def call():
        async with httpx.AsyncClient() as client:
            return (await client.post(url, json=body)).json()

    return asyncio.run(call())


def _call_aiohttp(url, body):
    async def call():
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return await response.json()

    return asyncio.run(call())


def _call_urllib3(url, body):
    return urllib3.PoolManager().request("POST", url, json=body).json()


CLIENTS = [
    _call_requests,
    _call_requests_session,
    _call_httpx,
    _call_httpx_async,
    _call_aiohttp,
    _call_urllib3,
]


@pytest.fixture(params=["none", "before", "after"])
def seen(request):
    """What is observed, with the generic HTTP instrumentations absent, installed before us, or after us."""
    observed = Observed()
    with put_back(PATCHED):
        if request.param == "before":
            _instrument(observed)
        observed.install(Settings(model_apis=[API], prices=PRICES))
        if request.param == "after":
            _instrument(observed)
        yield observed
        for instrumentor in INSTRUMENTORS:
            if instrumentor().is_instrumented_by_opentelemetry:
                instrumentor().uninstrument()


def _instrument(observed):
    for instrumentor in INSTRUMENTORS:
        instrumentor().instrument(tracer_provider=observed.provider)


def _body(prompt="Tell me of ACME"):
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


def _ai(observed):
    return [span for span in observed.spans if attributes(span).get("theodore.operation.type") == "ai"]


@pytest.mark.parametrize("call", CLIENTS)
def test_a_model_call_makes_one_span_that_carries_usage_and_cost(seen, server, model, call):
    answer = call(model, _body())
    span = seen.only()
    (used,) = server.usage
    assert answer["usage"]["total_tokens"] == used["total_tokens"]
    assert span.name == f"chat {MODEL}"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    found = attributes(span)
    wanted = {
        "theodore.operation.type": "ai",
        "theodore.success": True,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "house",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.usage.input_tokens": used["prompt_tokens"],
        "gen_ai.usage.output_tokens": used["completion_tokens"],
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["theodore.ai.cost_usd"] == pytest.approx(
        (used["prompt_tokens"] * 1.0 + used["completion_tokens"] * 5.0) / 1_000_000
    )


@pytest.mark.parametrize("call", CLIENTS)
def test_a_refused_call_is_an_error(seen, model, call):
    call(model, _body("what is refused"))
    span = seen.only()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["theodore.success"] is False
    assert attributes(span)["error.type"] == "429"
    assert "gen_ai.usage.input_tokens" not in attributes(span)


@pytest.mark.parametrize("call", CLIENTS)
def test_a_call_nobody_answers_raises_as_without_us(seen, call):
    with pytest.raises((requests.ConnectionError, httpx.ConnectError, OSError, urllib3.exceptions.HTTPError)) as caught:
        call("http://127.0.0.1:1/api/v1/chat/completions", _body())
    (span,) = _ai(seen)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["theodore.success"] is False
    assert caught.value is not None


@pytest.mark.parametrize("call", CLIENTS)
def test_other_requests_are_left_alone(seen, server, call):
    with pytest.raises((ValueError, aiohttp.ContentTypeError)):
        call(f"{server.address}/other", _body())
    assert _ai(seen) == []


@pytest.mark.parametrize("call", CLIENTS)
def test_the_context_afterwards_is_the_one_before(seen, model, call):
    with seen.tracer.start_as_current_span("outer") as outer:
        call(model, _body())
        assert trace.get_current_span() is outer
    (span,) = _ai(seen)
    assert span.parent.span_id == outer.context.span_id


def test_an_answer_asked_for_as_a_stream_is_not_read_but_heard(seen, server, model):
    with requests.post(model, json=_body(), stream=True, timeout=30) as response:
        assert response._content is False
        assert _ai(seen) == []
        assert response.json()["model"] == MODEL
    (span,) = _ai(seen)
    assert attributes(span)["gen_ai.usage.input_tokens"] == server.usage[0]["prompt_tokens"]


def test_an_answer_asked_for_as_a_stream_and_never_read_ends_its_span(seen, model):
    requests.post(model, json=_body(), stream=True, timeout=30)
    gc.collect()
    (span,) = _ai(seen)
    assert "gen_ai.usage.input_tokens" not in attributes(span)


def test_an_aiohttp_answer_that_nobody_reads_still_ends_its_span(seen, model):
    async def call():
        async with aiohttp.ClientSession() as session, session.post(model, json=_body()) as response:
            return response.status

    assert asyncio.run(call()) == 200
    gc.collect()
    assert attributes(seen.only())["theodore.success"] is True


def test_ten_calls_at_once_are_ten_spans_with_their_own_usage(seen, server, model):
    async def call():
        prompts = [_body("word " * (n + 1)) for n in range(10)]
        return await asyncio.gather(*(asyncio.to_thread(_call_requests, model, prompt) for prompt in prompts))

    asyncio.run(call())
    assert sorted(attributes(span)["gen_ai.usage.input_tokens"] for span in seen.spans) == list(range(1, 11))


SOURCE = """
    import requests

    class Client:
        provider = "elsewhere"

        def chat(self, url, bodies):
            return [requests.post(url, json=body, timeout=30).json() for body in bodies][-1]

        def outer(self, url, bodies):
            return self.chat(url, bodies)
"""


def test_inside_a_watched_ai_function_its_span_alone_carries_the_sum(seen, server, model, tmp_path):
    with application(tmp_path, SOURCE) as app:
        functions = [{"function": f"{app}:Client.{name}"} for name in ("chat", "outer")]
        seen.install(Settings(watch={"ai": functions}, prices=PRICES))
        load(app).Client().outer(model, [_body("one two"), _body("one two three")])
    (span,) = _ai(seen)
    found = attributes(span)
    assert span.name == f"chat {MODEL}"
    assert found["gen_ai.usage.input_tokens"] == 5
    assert found["gen_ai.usage.output_tokens"] == sum(used["completion_tokens"] for used in server.usage)
    assert [s for s in seen.spans if "gen_ai.usage.input_tokens" in attributes(s)] == [span]
    assert found["theodore.ai.cost_usd"] > 0


def test_tokens_named_by_the_configuration_win_over_the_recognised_ones(seen, model, tmp_path):
    with application(tmp_path, SOURCE) as app:
        entry = {
            "function": f"{app}:Client.chat",
            "provider": "self.provider",
            "model": "arg.bodies.0.model",
            "input_tokens": "result.usage.prompt_tokens",
            "output_tokens": "result.usage.completion_tokens",
        }
        seen.install(Settings(watch={"ai": [entry]}, prices=PRICES))
        load(app).Client().chat(model, [_body("one two three")])
    (span,) = _ai(seen)
    assert attributes(span)["gen_ai.provider.name"] == "elsewhere"
    assert attributes(span)["gen_ai.usage.input_tokens"] == 3
    assert attributes(span)["gen_ai.request.model"] == MODEL


def test_a_pattern_that_does_not_compile_is_told_and_the_others_work(model):
    observed = Observed()
    with put_back(PATCHED):
        observed.install(Settings(model_apis=[{"name": "bad", "url": "(", "provider": "x"}, API], prices=PRICES))
        _call_requests(model, _body())
    assert len(observed.reports) == 1
    assert observed.only().name == f"chat {MODEL}"


def test_the_patches_are_gone_between_tests():
    assert not any(isinstance(vars(owner)[name], wrapt.FunctionWrapper) for owner, name in PATCHED)


def test_an_answer_of_an_unknown_kind_goes_through(model, monkeypatch):
    monkeypatch.setattr(requests.Session, "send", lambda self, request, **kwargs: "not a response")
    with put_back(PATCHED):
        observed = Observed()
        observed.install(Settings(model_apis=[API], prices=PRICES))
        assert requests.post(model, json=_body(), timeout=5) == "not a response"
    assert observed.only().name == f"chat {MODEL}"


@pytest.mark.parametrize("usage", ["none", 5, {"prompt_tokens": "many"}, {"prompt_tokens": None}, []])
def test_usage_that_makes_no_sense_is_left_out(monkeypatch, usage):
    content = json.dumps({"model": {"not": "a name"}, "usage": usage}).encode()
    answer = SimpleNamespace(status_code=200, _content=content)
    monkeypatch.setattr(requests.Session, "send", lambda self, request, **kwargs: answer)
    with put_back(PATCHED):
        observed = Observed()
        observed.install(Settings(model_apis=[API], prices=PRICES))
        requests.post("http://127.0.0.1:1/api/v1/chat/completions", json=_body(), timeout=5)
    assert attributes(observed.only())["theodore.success"] is True
    assert "gen_ai.usage.input_tokens" not in attributes(observed.only())


def test_tracebacks_of_requests_look_as_without_us(model):
    def failing():
        with pytest.raises(requests.ConnectionError) as caught:
            requests.post("http://127.0.0.1:1/api/v1/chat/completions", json=_body(), timeout=5)
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    before = failing()
    with put_back(PATCHED):
        observed = Observed()
        observed.install(Settings(model_apis=[API], prices=PRICES))
        assert failing() == before
    assert observed.only().status.status_code is StatusCode.ERROR
