"""Every kind of expectation holds when it should, fails when it should, and says what differs."""

from __future__ import annotations

from typing import Any

import pytest

from theodore_otel.otelcol.cases.capture import Captured, Record
from theodore_otel.otelcol.cases.judging import Failure, judge, judge_nowhere, same
from theodore_otel.otelcol.cases.model import Case, Expectation
from theodore_otel.render.exporters import Exporter

STORE = Exporter("otlp/store", "store", ("traces", "logs", "metrics"), None)
OWN = Exporter("otlp/store.acme", "store", ("traces",), "acme")
FAR = Exporter("otlp/far", "far", ("traces",), None)
DESTINATIONS = {"store": frozenset(STORE.signals), "far": frozenset(FAR.signals)}
CHAT = Record(
    STORE,
    "traces",
    {
        "name": "chat",
        "status": "error",
        "duration": 1.5,
        "attributes": {"api_key": "[REDACTED]", "n": 3, "list": [1, 2]},
        "events": [{"name": "exception", "attributes": {"exception.message": "boom"}}],
        "resource": {"tenant.id": "acme"},
    },
)
FETCH = Record(STORE, "traces", {"name": "fetch", "resource": {"tenant.id": "globex"}})
DEDICATED = Record(OWN, "traces", {"name": "own", "resource": {"tenant.id": "acme"}})
LOG = Record(STORE, "logs", {"body": "hello", "severity": "INFO", "resource": {"tenant.id": "acme"}})
SERIES = Record(
    STORE, "metrics", {"name": "theodore.ai.tokens", "value": 107, "attributes": {"model": "m"}, "resource": {}}
)
RECORDS = [CHAT, FETCH, DEDICATED, LOG, SERIES]


def failures(records: list[Record] = RECORDS, signal: str = "traces", **expected: Any) -> list[Failure]:
    expectation = Expectation.model_validate({"signal": signal, "destination": "store", **expected})
    return judge({0: expectation}, Captured(records, {}), DESTINATIONS)


HOLDS: dict[str, dict[str, Any]] = {
    "a name": {"name": "chat", "count": 1},
    "a tenant": {"tenant": "globex", "count": 1},
    "values": {"where": {"attributes.n": 3}, "count": 1},
    "a tenant's own exporters": {"dedicated": "acme", "count": 1},
    "all there": {"count": 3},
    "a range": {"count": {"min": 2, "max": 4}},
    "nothing": {"name": "unknown", "count": 0},
    "a log record's body": {"signal": "logs", "name": "hello"},
    "a metric's name": {"signal": "metrics", "name": "theodore.ai.tokens", "equal": {"value": 107.0}},
    "a metric's name in Prometheus": {"signal": "metrics", "name": "theodore_ai_tokens_total"},
    "fields that are there": {"name": "chat", "present": ["attributes.n", "events.*.attributes.exception.message"]},
    "fields that are not": {"name": "chat", "absent": ["attributes.x", "attributes.data_stream.*"]},
    "equal fields": {"name": "chat", "equal": {"attributes.list": [1, 2.0], "status": "error"}},
    "all fields of a kind": {"name": "chat", "equal": {"events.*.name": "exception"}},
    "fields that match": {"name": "chat", "matches": {"attributes.api_key": "^.REDACTED", "attributes.n": "^3$"}},
}
FAILS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a name": (
        {"name": "chit"},
        "expected at least 1 of the spans at store with name 'chit'; none of 3 there fits",
        '+ name: "chat"',
    ),
    "a tenant": ({"name": "fetch", "tenant": "acme"}, "with name 'fetch', tenant 'acme'", '+ tenant: "globex"'),
    "values": ({"where": {"attributes.n": 4}}, "with attributes.n 4; none of 3", "+ attributes.n: 3"),
    "a tenant's own exporters": ({"name": "chat", "dedicated": "acme"}, "dedicated 'acme'", "+ dedicated is not there"),
    "too few": (
        {"name": "chat", "count": 2},
        "expected exactly 2 of the spans at store with name 'chat'; 1 of 3 there fit",
        "",
    ),
    "too many": ({"count": {"max": 2}}, "expected at most 2 of the spans at store, 3 arrived", '  name: "chat"'),
    "something": (
        {"name": "chat", "count": 0},
        "expected none of the spans at store with name 'chat', 1 arrived",
        "a span",
    ),
    "the wrong type": (
        {"name": "chat", "equal": {"attributes.n": "3"}},
        "attributes.n of the span",
        '- attributes.n: "3"',
    ),
    "no such field": (
        {"name": "chat", "present": "attributes.api_kee"},
        "it is not there, but attributes.api_key is",
        "",
    ),
    "a field": (
        {"name": "chat", "absent": "attributes.*"},
        "expected no attributes.api_key of the span",
        '+ attributes.api_key: "[REDACTED]"',
    ),
    "another value": (
        {"name": "chat", "equal": {"attributes.n": 4}},
        "at store is not as expected",
        "+ attributes.n: 3",
    ),
    "no value": (
        {"name": "chat", "equal": {"attributes.m": 4}},
        "expected attributes.m of the span",
        "- attributes.m: 4",
    ),
    "no match": (
        {"name": "chat", "matches": {"name": "^x"}},
        'name of the span "chat" of tenant acme at store is not as expected',
        '+ name: "chat"',
    ),
    "nothing to match": (
        {"name": "chat", "matches": {"attributes.m": "x"}},
        "it is not there",
        "- attributes.m matches x",
    ),
    "another value of a metric": (
        {"signal": "metrics", "equal": {"value": 108}},
        "value of the series",
        "+ value: 107",
    ),
}


@pytest.mark.parametrize("expected", HOLDS.values(), ids=HOLDS)
def test_what_is_as_expected_holds(expected):
    assert failures(**expected) == []


@pytest.mark.parametrize(("expected", "message", "line"), FAILS.values(), ids=FAILS)
def test_what_is_not_as_expected_fails_and_says_what_differs(expected, message, line):
    (failure,) = failures(**expected)
    assert message in failure.message
    assert line in "\n".join(failure.detail)
    assert failure.path[:2] == ("expect", 0)


def test_the_failing_key_is_named_down_to_the_field():
    assert failures(name="chat", equal={"attributes.n": 4})[0].path == ("expect", 0, "equal", "attributes.n")
    assert failures(name="x")[0].path == ("expect", 0)
    assert failures(name="x", count=1)[0].path == ("expect", 0, "count")


def test_every_record_that_is_meant_has_to_fit_and_a_few_are_shown():
    spans = [Record(STORE, "traces", {"name": "a", "attributes": {"n": n}}) for n in range(6)]
    found = failures(spans, equal={"attributes.n": 0})
    assert len(found) == 4
    assert found[-1].message == "2 more of 6 spans fail so"


def test_without_a_destination_every_one_that_takes_the_signal_is_looked_at():
    expectation = Expectation.model_validate({"signal": "traces", "name": "chat"})
    (failure,) = judge({3: expectation}, Captured(RECORDS, {}), DESTINATIONS)
    assert failure.path == ("expect", 3)
    assert "at far with name 'chat'; nothing of the kind arrived there" in failure.message
    assert failure.detail[:3] == (
        'nearest: a span "chat" of tenant acme at store', '- destination: "far"', '+ destination: "store"',
    )  # fmt: skip


def nowhere(given: Any, texts: dict[str, list[str]] | None = None, log: str = "") -> list[Failure]:
    case = Case.model_validate({"name": "x", "send": [{"spans": [{"name": "x"}]}], "nowhere": [given]})
    return judge_nowhere(case, Captured(RECORDS, texts or {}), log)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("canary", "expected nowhere: 'canary'; it is at far"),
        ({"text": "canary", "destination": "far"}, "it is at far"),
        ({"tenant": "globex"}, 'there is a span "fetch" of tenant globex at store'),
        ({"signal": "logs"}, 'there is a log record "hello"'),
        ({"dedicated": "acme"}, "through its own exporter otlp/store.acme"),
        ({"signal": "traces", "text": "boom"}, 'there is a span "chat"'),
        ({"where": {"attributes.n": 3}}, 'there is a span "chat"'),
        ({"destination": "store", "name": "hello"}, 'there is a log record "hello"'),
    ],
)
def test_what_must_be_nowhere_and_is_somewhere_fails(given, message):
    (failure,) = nowhere(given, {"store": ["x"], "far": ["a canary sings"]})
    assert message in failure.message


@pytest.mark.parametrize(
    "given",
    [
        "unheard",
        {"text": "canary", "destination": "store"},
        {"tenant": "initech"},
        {"dedicated": "acme", "tenant": "globex"},
        {"signal": "logs", "text": "boom"},
        {"destination": "far", "name": "hello"},
        {"dedicated": "globex"},
    ],
)
def test_what_is_nowhere_holds(given):
    assert nowhere(given, {"store": ["x"], "far": ["a canary sings"]}) == []


def test_a_text_in_the_collectors_log_is_somewhere_unless_a_destination_is_meant():
    (failure,) = nowhere("canary", log='{"error": "cannot read canary"}')
    assert "the collector's own log" in failure.message
    assert nowhere({"text": "canary", "destination": "store"}, log="canary") == []


@pytest.mark.parametrize(
    ("wanted", "got", "expected"),
    [
        (1, 1.0, True), (0.1 + 0.2, 0.3, True), (1, True, False), (True, True, True), (1, "1", False), ("a", "a", True),
        ([1, {"a": 2}], [1.0, {"a": 2}], True), ([1], [1, 2], False), ({"a": 1}, {"a": 1, "b": 2}, False),
        (float("nan"), float("nan"), True), (None, None, True), (None, "", False), (b"x", b"x", True),
    ],
)  # fmt: skip
def test_values_are_compared_as_people_mean_it(wanted, got, expected):
    assert same(wanted, got) is expected
