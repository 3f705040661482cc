"""What stands beside a secret hides none of it: a match takes nothing that the next one needs."""

from __future__ import annotations

import pytest
from support.canaries import key_words
from support.collector import running
from support.sender import Sender, attributes, plain, value_of, with_values, without_numbers

MASK = "[REDACTED]"
ALONE = {"profile": "local", "tenants": {"identify_by": "none"}}
CODES = {"code": "^[a-z]{3}-[0-9]{3}$", "first": "^Q[0-9]+", "last": "Z[0-9]+$"}


@pytest.fixture(scope="module", params=["mask", "hash"])
def send(request, tmp_path_factory):
    redaction = {"extra_values": CODES, "extra_keys": ["internal_ref"]}
    if request.param == "hash":
        redaction |= {"mode": "hash", "hash_key": {"env": "PEPPER"}}
    configuration = {**ALONE, "redaction": redaction}
    with running(tmp_path_factory.mktemp("neighbours"), configuration, environment={"PEPPER": "p"}) as started:
        yield Sender(started)


def spellings() -> list[str]:
    words = [*key_words(), "internal_ref"]
    return [form for word in words for form in (word, word.upper(), word.title().replace("_", ""), f"my.{word}")]


@pytest.mark.case("value_then_key")
def test_a_value_that_ends_in_a_secret_word_hides_no_key_behind_it(send):
    """In the text that the collector makes of a record, the value stands right before the next key."""
    spans = [{"type": f"{before}{word}", word: "q7-canary"} for word in spellings() for before in ("", "enter the ")]
    spans += [{word: "q7-canary", f"x.{word}": "q7-canary", f"{word}.{word}": "q7-canary"} for word in spellings()]
    spans += [{"request": {"grant_type": word, word: "q7-canary", "n": [word]}} for word in spellings()]
    for given, span in zip(spans, send.spans(spans), strict=True):
        assert "q7-canary" not in str(span), given
    bodies = [{"kvlistValue": {"values": attributes(given)}} for given in spans]
    for given, record in zip(spans, send.logs(bodies), strict=True):
        assert "q7-canary" not in str(value_of(record["body"])), given


@pytest.mark.case("value_then_key")
def test_a_pattern_for_a_whole_value_is_found_in_each_of_many_beside_one_another(send):
    given = {"a": "abc-123", "b": "def-456", "ghi-789": "jkl-012", "mno-345": "pqr-678", "q": "Q1", "Q2": "Q3"}
    given |= {"z": "Z4", "Z5": "Z6", "list": ["abc-123", "abc-124", "Q7", "Z8"], "kept": "x Q9 x", "abc-999x": "kept"}
    (arrived,) = send.spans([given])
    values = plain(arrived)
    assert values.pop("kept") == "x Q9 x"
    assert values.pop("abc-999x") == "kept"
    values.pop("n")
    assert all(value.startswith("[") for value in values.values()), values
    assert not {"ghi-789", "mno-345", "Q2", "Z5"} & set(values)


def test_a_word_that_is_spared_hides_no_key_behind_it(send):
    given = {"aws.s3.key": "kept", "key": "q7-canary", "gen_ai.token.type": "token", "token": "q7-canary", "x": "y"}
    arrived = without_numbers(send.span(given))
    assert "q7-canary" not in str(arrived)
    assert (arrived["aws.s3.key"], arrived["gen_ai.token.type"], arrived["x"]) == ("kept", "token", "y")


@pytest.mark.case("opened_names")
def test_names_that_nested_values_are_opened_to_hide_nothing(send):
    """Two names that become equal, a number behind a dot, an excepted name in a secret's map, a secret in a name."""
    spans = [
        {"a": {"b": "ada@example.com"}, "a.b": "x"},
        {"a.b": "ada@example.com", "a": {"b": "x"}},
        {"a": {"auth": "q7-canary"}, "a.auth": "q7-canary"},
        {"a": {"4111111111111111": 1}, "b": {"3782 822463 10005": "ada@example.com"}},
        {"password": {"aws.s3.key": "q7-canary"}, "aws.s3.key": "kept"},
        {"a": {"b": {"ada@example.com": 1}}},
    ]
    bodies = [{"kvlistValue": {"values": attributes(given)}} for given in spans]
    for arrived in (*send.spans(spans), *send.logs(bodies)):
        text = str(arrived)
        assert not [secret for secret in ("ada@", "q7-canary", "4111111111111111", "822463") if secret in text], text


@pytest.mark.case("mask_beside_a_rest")
def test_nothing_is_left_of_a_secret_that_holds_what_another_rule_masked(send):
    texts = [f"api_key=password=hunter2{rest}" for rest in ("", "rest", "[REDACTED]rest")]
    texts += ["password=[REDACTED]rest", "://eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3:rest@host"]
    for arrived in send.spans([{"text": text} for text in texts]):
        assert "hunter2" not in str(arrived) and "rest" not in str(arrived)


@pytest.mark.case("emptied_values")
def test_bytes_beside_a_secret_in_a_name_empty_no_other_value(send):
    values = {"raw": {"bytesValue": "YWRhQGV4YW1wbGUuY29t"}, "ada@example.com": {"intValue": "1"}}
    (arrived,) = send.request("traces", with_values({**values, "text": {"stringValue": "kept"}}), 1)
    assert without_numbers(arrived)["text"] == "kept"


@pytest.mark.case("smuggled_names")
def test_no_name_changes_into_one_that_steers(send):
    """A control character in it hides a name from what strips it; whatever takes the character out must not free it."""
    steers = ["elasticsearch.index", "data_stream.type", "com.splunk.index", "theodore.credential", "tenant.id"]
    smuggled = {name.replace(".", "\x02.", 1): "forged" for name in steers}
    secrets = {"mail": "ada@example.com", "nested": {"token": "x", "list": [1]}, "ada@example.com": "x"}
    spans = [{**smuggled, key: value} for key, value in secrets.items()] + [{**smuggled, "nested": {"a": 1}}, smuggled]
    for arrived in send.spans(spans):
        assert not set(steers) & set(plain(arrived)), arrived
