"""The stand-ins refuse what the services would refuse: a test that relies on them can fail."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request

import msgpack
import pytest
from standins.datadog import Datadog
from standins.http import HttpStandIn
from standins.otlp import OtlpHttp
from standins.splunk import Splunk
from standins.syslog import FormatError, parse
from standins.zipkin import Zipkin

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
SPAN = {"traceId": "0" * 31 + "1", "id": "0" * 15 + "1", "name": "work"}


def post(service: HttpStandIn, path: str, body: bytes, headers: dict[str, str]) -> int:
    request = urllib.request.Request(service.url + path, body, headers, method="POST")
    try:
        return urllib.request.urlopen(request, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 202),
        ({"traceId": "1"}, 400),
        ({"id": "ABCDEF0123456789"}, 400),
        ({"kind": "INTERNAL"}, 400),
        ({"tags": {"n": 1}}, 400),
        ({"timestamp": "now"}, 400),
        ({"unknown": "x"}, 400),
        ({"annotations": [{"value": "no time"}]}, 400),
    ],
)
def test_zipkin_takes_spans_of_its_description_only(change, status):
    with Zipkin() as service:
        assert post(service, "/api/v2/spans", json.dumps([SPAN | change]).encode(), JSON) == status
        assert len(service.spans) == (status == 202) and len(service.wrong) == (status == 400)


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        ("right", '{"event": "a", "time": 1.5}{"event": {"b": 1}}', 200),
        ("wrong", '{"event": "a"}', 400),
        ("right", '{"event": ""}', 400),
        ("right", '{"event": "a", "fields": {"nested": {}}}', 400),
        ("right", '{"event": "a", "colour": "red"}', 400),
        ("right", '[{"event": "a"}', 400),
    ],
)
def test_splunk_takes_envelopes_with_its_token_only(token, body, status):
    with Splunk("right") as service:
        headers = JSON | {"Authorization": f"Splunk {token}"}
        assert post(service, "/services/collector", body.encode(), headers) == status


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/logs", {"api-key": "right"}, b"", 200),
        ("/v1/logs", {"api-key": "wrong"}, b"", 400),
        ("/v1/logs", {"api-key": "right"}, b"\xff\xff", 400),
        ("/v2/logs", {"api-key": "right"}, b"", 400),
    ],
)
def test_an_otlp_endpoint_takes_requests_with_its_key_only(path, headers, body, status):
    with OtlpHttp({"api-key": "right"}) as service:
        assert post(service, path, body, PROTOBUF | headers) == status


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/api/v0.2/traces", PROTOBUF, b"", 202),
        ("/api/v0.2/traces", JSON, b"", 400),
        ("/api/v0.2/traces", PROTOBUF, b"\xff\xff", 400),
        # Field 99 of the payload, and field 9 of a tracer's chunk: neither is known.
        ("/api/v0.2/traces", PROTOBUF, b"\x9a\x06\x01a", 400),
        ("/api/v0.2/traces", PROTOBUF, b"\x2a\x05\x32\x03\x4a\x01a", 400),
        ("/api/v0.2/stats", {"Content-Type": "application/msgpack"}, msgpack.packb({"Stats": []}), 202),
        ("/api/v2/logs", JSON, b'[{"message": "a", "ddtags": ""}]', 202),
        ("/api/v2/logs", JSON, b'[{"message": 1, "ddtags": ""}]', 400),
        ("/api/v9/logs", JSON, b"[]", 400),
    ],
)
def test_datadog_takes_its_payloads_only(path, headers, body, status):
    with Datadog("key") as service:
        compressed = {"DD-Api-Key": "key", "Content-Encoding": "gzip"}
        assert post(service, path, gzip.compress(body), headers | compressed) == status
        assert post(service, path, gzip.compress(body), headers | compressed | {"DD-Api-Key": "other"}) == 400


HEADER = "<13>1 2026-01-01T00:00:00.000000Z host app - id "


def test_a_syslog_message_is_taken_apart():
    message = parse(HEADER + r'[a@1 k="v \" \] \\"][b@1] text')
    assert (message.facility, message.severity, message.text) == (1, 5, "text")
    assert message.data == {"a@1": {"k": 'v " ] \\'}, "b@1": {}}


@pytest.mark.parametrize(
    "message",
    [
        "no header",
        HEADER.replace("<13>", "<192>") + "- text",
        HEADER.replace(">1 ", ">2 ") + "- text",
        HEADER.replace("2026-01-01T", "2026-01-01 ") + "- text",
        HEADER.replace("host", "two words") + "- text",
        HEADER + "text without data",
        HEADER + '[a@1 k="unescaped ] bracket"] text',
        HEADER + '[a@1 k="unescaped " quote"] text',
        HEADER + '[a@1 two words="v"] text',
        HEADER + '[a@1 k="v"][a@1 k="v"] text',
        HEADER + '[a@1 k="v"]text without a space',
    ],
)
def test_what_is_no_syslog_message_is_refused(message):
    with pytest.raises(FormatError):
        parse(message)
