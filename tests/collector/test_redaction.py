"""What the real collector masks and what it leaves, against the process's matcher and one corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from standins.otlp import OtlpHttp
from support.canaries import INNOCENT, REQUESTS, complete, paths, plant, skeleton
from support.collector import Collector, running, wait_for
from support.sender import Sender, attributes, plain, value_of, with_values, without_numbers

from theodore_otel.redaction.matcher import Matcher
from theodore_otel.redaction.presets import all_presets, load

MASK = "[REDACTED]"
IDS = ("trace_id", "span_id", "parent_span_id")
OPEN_TO_ALL = {"profile": "local", "tenants": {"identify_by": "none"}}
EXAMPLES = [text for preset in all_presets() for text in (*preset.masked, *preset.kept)]


@pytest.fixture(scope="module")
def collector(tmp_path_factory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("redaction"), OPEN_TO_ALL) as started:
        yield started


@pytest.fixture
def send(collector) -> Sender:
    return Sender(collector)


def test_every_example_is_masked_as_in_the_process(send):
    matcher = Matcher(load().settings())
    arrived = send.spans([{"text": text} for text in EXAMPLES])
    assert {text: plain(span)["text"] for text, span in zip(EXAMPLES, arrived, strict=True)} == {
        text: matcher.text(text) for text in EXAMPLES
    }


@pytest.mark.parametrize(
    "around", ["{}", "before {} after", "x\n{}", "\t{}\r\n", '{{"a": "{}"}}', "ü{}ü", "'{}'", "({})"]
)
def test_what_stands_around_a_secret_changes_nothing(send, around):
    texts = [around.format(text) for preset in all_presets() for text in preset.masked if '"' not in text]
    matcher = Matcher(load().settings())
    arrived = send.spans([{"text": text, "nested": {"a": [text]}} for text in texts])
    for text, span in zip(texts, arrived, strict=True):
        assert plain(span)["text"] == matcher.text(text)
        assert plain(span).get("nested.a.0", plain(span).get("nested")) in (matcher.text(text), {"a": [text]})
        assert (plain(span)["text"] == text) == ("nested" in plain(span))


def test_the_examples_are_masked_wherever_a_text_stands(send):
    masked = {text: Matcher(load().settings()).text(text) for text in EXAMPLES}
    bodies = send.logs([{"stringValue": text} for text in EXAMPLES])
    assert [record["body"]["stringValue"] for record in bodies] == list(masked.values())
    for text in EXAMPLES[::5]:
        span = send.span({}, name=text, traceState="", status={"message": text}, events=[{"name": text}])
        assert {span["name"], span["status"]["message"], span["events"][0]["name"]} == {masked[text]}


def test_innocent_values_pass_as_they_are(send):
    assert without_numbers(send.span(INNOCENT)) == INNOCENT
    texts = [value for value in INNOCENT.values() if isinstance(value, str) and value]
    assert [record["body"]["stringValue"] for record in send.logs([{"stringValue": text} for text in texts])] == texts
    for text in texts[::4]:
        assert send.span({}, name=text)["name"] == text


def test_a_secret_beside_them_changes_no_innocent_value(send):
    arrived = without_numbers(send.span({**INNOCENT, "note": "ada@example.com"}))
    assert arrived == {**INNOCENT, "note": MASK}


def test_a_value_under_a_secret_key_is_masked_whatever_it_is(send):
    values = {
        "text": "x",
        "empty": "",
        "int": 5,
        "double": 1.5,
        "bool": True,
        "list": ["a", {"b": 1}],
        "map": {"c": "d"},
    }
    for key in ("password", "x.apiKey", "API_KEY", "my-secret", "auth", "SessionId", "cookies"):
        for kind, value in values.items():
            arrived = without_numbers(send.span({key: value}))
            assert {name.partition(".")[0] for name in arrived} == {key.partition(".")[0]}, kind
            assert set(arrived.values()) == {MASK}, kind


def test_a_nested_value_with_a_secret_is_opened(send):
    given = {"user": {"name": "ada", "password": "x", "cards": [4111111111111111, 7], "of": {"mail": "a@example.com"}}}
    assert without_numbers(send.span({**given, "other": [1, 2]})) == {
        "user.name": "ada",
        "user.password": MASK,
        "user.cards.0": MASK,
        "user.cards.1": 7,
        "user.of.mail": MASK,
        "other.0": 1,
        "other.1": 2,
    }


def test_bytes_go_as_a_whole_and_a_key_that_is_a_secret_too(send):
    arrived = send.request(
        "traces", with_values({"raw": {"bytesValue": "YWRhQGV4YW1wbGUuY29t"}, "ada@example.com": {"intValue": "1"}}), 1
    )
    assert without_numbers(arrived[0]) == {"raw": MASK, MASK: "1"}


def test_a_structured_body_keeps_its_form_unless_it_holds_a_secret(send):
    body = {"kvlistValue": {"values": attributes({"event": "started", "count": 2, "list": ["a"]})}}
    (kept,) = send.logs([body])
    assert value_of(kept["body"]) == {"event": "started", "count": 2, "list": ["a"]}
    body["kvlistValue"]["values"] += attributes({"token": "abc", "mail": "ada@example.com"})
    (masked,) = send.logs([body])
    assert value_of(masked["body"]) == {"event": "started", "count": 2, "list.0": "a", "token": MASK, "mail": MASK}
    assert without_numbers(masked) == {"theodore.category": "system"}
    items = [{"stringValue": "a"}, {"stringValue": "call 415-555-0132"}]
    (listed,) = send.logs([{"arrayValue": {"values": items}}])
    assert value_of(listed["body"]) == {"0": "a", "1": f"call {MASK}"}


def test_equal_keys_hide_nothing(send):
    request = with_values({"a": {"stringValue": "x"}})
    listed = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    listed += [{"key": "a", "value": {"stringValue": "ada@example.com"}}, {"key": "a", "value": {"stringValue": "y"}}]
    listed += [{"key": "token", "value": {"stringValue": secret}} for secret in ("one", "two")]
    text = json.dumps(send.request("traces", request, 1))
    assert "ada@example.com" not in text and "one" not in text and "two" not in text


def test_a_value_that_is_opened_does_not_become_what_the_collector_stamps_or_what_steers(send):
    forged = {"tenant": {"id": "globex"}, "data_stream": {"dataset": "x"}, "note": {"mail": "ada@example.com"}}
    assert without_numbers(send.span(forged)) == {"note.mail": MASK}
    controls = "x\x1fdata_stream.dataset\x1ey\x1ftenant.id\x1eglobex\x1f ada@example.com"
    arrived = without_numbers(send.span({"odd": controls, "a": 1}))
    assert "ada@" not in json.dumps(arrived)
    assert not {"data_stream.dataset", "tenant.id"} & set(arrived)


ODD: Mapping[str, Any] = {
    "nan": {"doubleValue": "NaN"},
    "infinite": {"doubleValue": "-Infinity"},
    "nothing": {},
    "": {"stringValue": "ada@example.com"},
    "\x02": {"stringValue": "\x02"},
    "\x02key": {"boolValue": True},
    "\x03name": {"stringValue": "a\x1eb"},
    "\x1f": {"stringValue": "\x1f"},
    'a"b': {"stringValue": '"'},
    "a\\": {"stringValue": '\\"'},
    "\n": {"stringValue": "password=x\n"},
    "deep": {"kvlistValue": {"values": [{"key": "", "value": {"doubleValue": "NaN"}}, {"key": "token", "value": {}}]}},
    "list": {"arrayValue": {"values": [{}, {"arrayValue": {}}, {"bytesValue": ""}, {"doubleValue": "NaN"}]}},
    "empty": {"kvlistValue": {}},
    "empty bytes": {"bytesValue": ""},
}


@pytest.mark.parametrize(
    "secret", [{}, {"note": {"stringValue": "ada@example.com"}}, {"token": {"doubleValue": "NaN"}}]
)
def test_nothing_odd_is_refused(send, secret):
    """A batch that fails would be sent again for ever."""
    for odd in (*({key: value} for key, value in ODD.items()), ODD):
        text = json.dumps(send.request("traces", with_values({**odd, **secret}), 1))
        assert "ada@example.com" not in text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_know_hides_nothing_beside_it(send, number):
    """The JSON of such a value is empty; what cannot be measured goes."""
    secrets = attributes({"password": "hunter2-correct", "note": "call ada@example.com"})
    mapping = {"kvlistValue": {"values": [{"key": "x", "value": {"doubleValue": number}}, *secrets]}}
    listed = {"arrayValue": {"values": [mapping]}}
    arrived = [send.request("traces", with_values({"value": value}), 1) for value in (mapping, listed)]
    arrived.append(send.logs([mapping, listed]))
    text = json.dumps(arrived)
    assert "hunter2-correct" not in text
    assert "ada@example.com" not in text
    assert text.count("theodore.truncated") == 4


def type_of(kind, path) -> str:
    """Return the type of the field that a path leads to."""
    descriptor = kind.DESCRIPTOR
    for name in path:
        field = descriptor.fields_by_name[name]
        descriptor = field.message_type
    return "string" if field.type == FieldDescriptor.TYPE_STRING else "other"


BROKEN = b"br\xff\xc3(ken\x80!"


def test_text_that_is_no_utf8_is_mended_so_that_nothing_beside_it_is_refused(tmp_path):
    """A destination that reads strictly would refuse the whole batch, with what others sent."""
    with OtlpHttp({}) as strict:
        settings = {"destinations": {"strict": {"type": "otlp", "protocol": "http", "endpoint": strict.url}}}
        with running(tmp_path, {**OPEN_TO_ALL, **settings}) as collector:
            for signal, kind in REQUESTS.items():
                texts = [path for path in paths(kind) if path[-1] not in IDS and type_of(kind, path) == "string"]
                assert len(texts) > 20
                for path in texts:
                    request = skeleton(signal, {"email": "ada@example.com"})
                    plant(request, path, "BROKENTEXT")
                    complete(request)
                    body = request.SerializeToString()
                    assert b"BROKENTEXT" in body
                    assert collector.post(signal, body.replace(b"BROKENTEXT", BROKEN), None) == 200
                    assert collector.post(signal, body.replace(b"BROKENTEXT", b"neighbours"), None) == 200
            for signal in REQUESTS:
                wait_for(lambda signal=signal: "neighbours" in str(strict.requests[signal]))
            wait_for(lambda: str(strict.requests).count("ken\ufffd") > 50, otherwise=lambda: strict.wrong)
            collector.stop()
            assert strict.wrong == []
            assert "ada@example.com" not in str(strict.requests)
            assert '"level":"error"' not in collector.log.read_text()


def test_odd_fields_are_not_refused(collector):
    everything = json.loads(json.dumps(ODD))
    for signal in REQUESTS:
        empty = skeleton(signal, {})
        assert collector.post(signal, empty.SerializeToString(), None) == 200
        assert collector.post(signal, REQUESTS[signal]().SerializeToString(), None) == 200
    metric = {
        "name": "\x1f",
        "unit": "\x02",
        "description": "a@example.com\x1e",
        "metadata": [{"key": "a", "value": everything["deep"]}],
    }
    points = [{"attributes": [{"key": key, "value": value} for key, value in ODD.items()], "timeUnixNano": "1"}]
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary"):
        metrics = [{**metric, kind: {"dataPoints": points}}, {"name": "empty", kind: {}}, {"name": "none"}]
        request = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}, {}]}
        assert collector.post("metrics", json.dumps(request).encode(), None, kind="application/json") == 200
    for body in ODD.values():
        assert Sender(collector).logs([body], eventName="\x1f\x02", severityText="ada@example.com")
    assert "ada@example.com" not in json.dumps([collector.received(signal) for signal in REQUESTS])
    assert '"level":"error"' not in collector.log.read_text()
