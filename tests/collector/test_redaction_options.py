"""What a configuration changes in redaction: digests, tenants' own secrets, own patterns, an allow-list."""

from __future__ import annotations

import json

import pytest
from support.collector import running
from support.sender import Sender, attributes, plain, value_of, without_numbers

from theodore_otel.redaction.matcher import Matcher
from theodore_otel.redaction.presets import all_presets, load

MASK = "[REDACTED]"
ALONE = {"profile": "local", "tenants": {"identify_by": "none"}}
PATTERNS = {
    "ticket": "INC-[0-9]+",
    "whole": "^[a-z]{3}-[0-9]{3}$",
    "greedy": "ref=[^;]+",
    "all": "case .*",
    "either": r"(?:left|right)\d\S*",
}
TENANTS = {"list": {"acme": {"redaction": {"extra_keys": ["project"], "extra_values": {"name": "Falcon"}}}}}


@pytest.fixture(scope="module")
def hashing(tmp_path_factory):
    configuration = {**ALONE, "redaction": {"mode": "hash", "hash_key": {"env": "PEPPER"}}}
    with running(tmp_path_factory.mktemp("hashing"), configuration, environment={"PEPPER": "pepper-1234"}) as started:
        yield started


@pytest.fixture
def matcher(monkeypatch):
    monkeypatch.setenv("PEPPER", "pepper-1234")
    return Matcher({**load().settings(), "hash_key": {"env": "PEPPER"}})


def test_a_digest_is_the_one_that_the_process_makes(hashing, matcher):
    texts = [text for preset in all_presets() for text in preset.masked] + [
        "a@example.com, b@example.com and 078-05-1120"
    ]
    arrived = Sender(hashing).spans([{"text": text} for text in texts])
    assert {text: plain(span)["text"] for text, span in zip(texts, arrived, strict=True)} == {
        text: matcher.text(text) for text in texts
    }
    assert all("[HASH:" in plain(span)["text"] for span in arrived)
    secrets = {"token": "abc", "x.apiKey": 12, "card": 4111111111111111}
    assert without_numbers(Sender(hashing).span(secrets)) == {key: matcher.value(key, secrets[key]) for key in secrets}


def test_a_digest_or_a_mask_is_not_hashed_again(hashing, matcher):
    done = matcher.text("ada@example.com")
    given = {"token": done, "password": MASK, "text": f"by {done}, token={MASK}", "url": f"https://x/?token={done}"}
    assert without_numbers(Sender(hashing).span(given)) == given
    mixed = without_numbers(Sender(hashing).span({**given, "mail": "ada@example.com", "cookie": f"{MASK}; a=1"}))
    assert mixed == {**given, "mail": done, "cookie": matcher.hidden(f"{MASK}; a=1")}


def test_the_key_stands_in_no_file_and_no_log(hashing):
    Sender(hashing).span({"mail": "ada@example.com"})
    for file in hashing.folder.rglob("*"):
        assert not file.is_file() or b"pepper-1234" not in file.read_bytes(), file


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    configuration = {
        "profile": "local",
        "tenants": TENANTS,
        "redaction": {
            "extra_values": PATTERNS,
            "extra_keys": ["internal_ref"],
            "except_keys": ["cache.key"],
            "disable_presets": ["email"],
        },
    }
    with running(tmp_path_factory.mktemp("own"), configuration, ["acme", "globex"]) as started:
        yield started


def test_own_patterns_and_keys_stay_within_their_value(own):
    given = {
        "a": "see INC-42",
        "b": "abc-123",
        "c": "xabc-123",
        "d": "ref=1 2 3; x",
        "e": "case one\ntwo",
        "f": "right7x left",
        "my.internalRef": 5,
        "cache.key": "k",
        "mail": "ada@example.com",
        "last": "ref=1",
        "n2": {"deep": "INC-7", "other": "x"},
    }
    assert without_numbers(Sender(own, "globex.1").span(given)) == {
        "a": f"see {MASK}",
        "b": MASK,
        "c": "xabc-123",
        "d": f"{MASK}; x",
        "e": f"{MASK}\ntwo",
        "f": f"{MASK} left",
        "my.internalRef": MASK,
        "cache.key": "k",
        "mail": "ada@example.com",
        "last": MASK,
        "n2.deep": MASK,
        "n2.other": "x",
    }


def test_what_is_secret_for_one_tenant_is_masked_for_it_alone(own):
    given = {"project": "x", "text": "about Falcon", "other": "y"}
    masked = {"project": MASK, "text": f"about {MASK}", "other": "y"}
    assert without_numbers(Sender(own, "acme.1").span(given)) == masked
    assert without_numbers(Sender(own, "globex.1").span(given)) == given
    bodies = [{"stringValue": "Falcon"}, {"kvlistValue": {"values": attributes({"project": 1})}}]
    assert [value_of(record["body"]) for record in Sender(own, "acme.1").logs(bodies)] == [MASK, {"project": MASK}]
    assert [value_of(record["body"]) for record in Sender(own, "globex.1").logs(bodies)] == ["Falcon", {"project": 1}]


@pytest.mark.parametrize("pattern", ["ac+me", "[a-m]{2,}"])
def test_a_tenant_id_is_not_masked(tmp_path, pattern):
    configuration = {"profile": "local", "redaction": {"extra_values": {"wide": pattern}}}
    with running(tmp_path, configuration, ["acme"]) as collector:
        collector.send_spans([], "acme.1")
        Sender(collector, "acme.1").request("traces", {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}, 1)
        ((resource, span),) = collector.spans()
    assert resource["tenant.id"] == "acme"
    assert span["name"] == MASK


SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "acme",
    "attributes": [{"key": "n", "value": {"intValue": "0"}}],
}


def test_with_an_allow_list_nothing_else_leaves_the_collector(tmp_path):
    with running(tmp_path, {**ALONE, "redaction": {"allow_attributes": ["n", "my.own"]}}) as collector:
        span = Sender(collector).span({"my.own": "x", "url.full": "https://a/", "other": "y", "map": {"a": 1}})
        (record,) = Sender(collector).logs([{"kvlistValue": {"values": attributes({"kept": 1})}}])
        collector.send_gauge("theodore.active_operations", 3, {"operation": "x", "other": "y"}, None)
        received = json.dumps([collector.received(signal) for signal in ("traces", "metrics")])
    assert without_numbers(span) == {"my.own": "x", "url.full": "https://a/"}
    assert value_of(record["body"]) == {"kept": 1}
    assert "other" not in received
