"""Rules that are left out for a text can indeed not match in it, and a record is masked as its parts are."""

from __future__ import annotations

import random
import re

import pytest

from theodore_otel.redaction.candidates import Candidates
from theodore_otel.redaction.matcher import Matcher
from theodore_otel.redaction.presets import all_presets, load

SETTINGS = load().settings()
EXAMPLES = [text for preset in all_presets() for text in (*preset.masked, *preset.kept)]
LONG_WORD = re.compile(r"[A-Za-z0-9_-]{20}")


@pytest.fixture
def matcher() -> Matcher:
    return Matcher(SETTINGS)


@pytest.fixture
def thorough() -> Matcher:
    """Return a matcher that knows nothing of what its rules need, and so tries each of them on every text."""
    needs = ("hints", "gates", "digits", "word")
    values = [{key: v for key, v in value.items() if key not in needs} for value in SETTINGS["values"]]
    return Matcher({**SETTINGS, "values": values})


def mixtures(count: int) -> list[str]:
    """Return texts in which pieces of the examples stand beside each other, always the same ones."""
    choose = random.Random(7)
    return [
        "".join(
            choose.choice(EXAMPLES)[choose.randrange(8) :][: choose.randrange(70)]
            + choose.choice(["", " ", "_", "-", "7"])
            for _ in range(3)
        )
        for _ in range(count)
    ]


def test_no_rule_is_left_out_that_would_match(matcher, thorough):
    texts = [*EXAMPLES, *mixtures(4000)]
    assert sum(thorough.text(text) != text for text in texts) > 500
    for text in texts:
        assert matcher.text(text) == thorough.text(text)


def test_rules_that_need_a_long_word_match_in_long_words_only():
    rules = [value for value in SETTINGS["values"] if value.get("word")]
    assert len(rules) > 20
    matches = [
        found.group()
        for value in rules
        for text in [*EXAMPLES, *mixtures(4000)]
        for found in re.finditer(value["pattern"], text)
    ]
    assert len(matches) > 50
    assert [match for match in matches if not LONG_WORD.search(match)] == []


def test_a_key_with_underscores_in_its_random_part_is_found(matcher):
    assert matcher.text("with pcsk_01234_56789_abcde_fghij_01234 in it") == "with [REDACTED] in it"


def test_a_clean_record_comes_back_itself(matcher):
    values = {"company": "ACME", "pages": 14, "seconds": 1.5, "ok": True, "none": None}
    for _ in range(2):  # the second time its values are known
        text, found = matcher.record("Research finished", values)
        assert (text, found is values) == ("Research finished", True)


@pytest.mark.parametrize(
    ("values", "masked"),
    [
        ({"a": "x", "password": "p"}, {"a": "x", "password": "[REDACTED]"}),
        ({"mail": "ada@example.com", "a": "x"}, {"mail": "[REDACTED]", "a": "x"}),
        ({"card": 4111111111111111}, {"card": "[REDACTED]"}),
        (
            {"nested": {"token": 5, "list": ["ada@example.com"]}},
            {"nested": {"token": "[REDACTED]", "list": ["[REDACTED]"]}},
        ),
        ({"ada@example.com": 1}, {"[REDACTED]": 1}),
        ({"a": "Bearer", "b": "9f86d081884c7d65"}, {"a": "Bearer", "b": "9f86d081884c7d65"}),
        ({"a": "4111", "b": "1111 1111 1111"}, {"a": "4111", "b": "1111 1111 1111"}),
    ],
)
def test_every_part_of_a_record_is_masked_by_itself(matcher, values, masked):
    for _ in range(2):
        assert matcher.record("said ada@example.com", values) == ("said [REDACTED]", masked)
        assert matcher.record("said", values) == ("said", masked)


def test_a_rule_of_which_nothing_is_known_is_tried_on_every_text():
    matcher = Matcher({"values": [{"name": "own", "pattern": "^K[0-9]$"}], "keys": []})
    assert matcher.record("fine", {"a": "K7", "b": "K77"}) == ("fine", {"a": "[REDACTED]", "b": "K77"})


def test_what_is_known_to_be_clean_is_bounded(matcher):
    for number in range(10_000):
        matcher.text(f"value {number}")
        matcher.record("m", {f"key{number}": f"x{number}"})
    assert len(matcher._clean) <= 4097 + 1
    assert len(matcher._open_keys) <= 4096


def test_candidates_come_in_the_order_of_the_rules():
    candidates = Candidates()
    for index, hint in enumerate(["z", "frequent", "@"]):
        candidates.add(index, {"hints": [hint]})
    candidates.add(3, {})
    assert list(candidates.find("@ frequent z")) == [0, 1, 2, 3]
    assert list(candidates.find("none")) == [3]
