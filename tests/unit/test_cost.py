"""The price of a model call: input and output cost differently, configured prices win, unknown models have none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from theodore_otel.instrument.cost import Prices, Tokens

MODEL = "anthropic/claude-3.5-haiku"


def test_input_and_output_have_different_prices():
    prices = Prices({}, [].append)
    only_input = prices.cost("openrouter", (MODEL,), Tokens(1_000_000, 0))
    only_output = prices.cost("openrouter", (MODEL,), Tokens(0, 1_000_000))
    assert only_output > only_input > 0
    assert prices.cost("openrouter", (MODEL,), Tokens(300, 70)) == pytest.approx(
        300e-6 * only_input + 70e-6 * only_output
    )


def test_a_configured_price_wins_over_the_table():
    prices = Prices({MODEL: {"input_per_million": 2.0, "output_per_million": 10.0}}, [].append)
    assert prices.cost("openrouter", (MODEL,), Tokens(1000, 100)) == pytest.approx(0.002 + 0.001)


def test_the_model_asked_for_is_looked_up_when_the_one_that_answered_is_unknown():
    prices = Prices({"asked": {"input_per_million": 1.0, "output_per_million": 1.0}}, [].append)
    assert prices.cost("openrouter", ("answered-2031", "asked"), Tokens(1_000_000, 0)) == pytest.approx(1.0)


def test_an_unknown_model_has_no_cost_and_is_told_once():
    told: list[str] = []
    prices = Prices({}, told.append)
    assert [prices.cost("openrouter", ("house-model",), Tokens(10, 10)) for _ in range(3)] == [None] * 3
    assert told == ["calls of model house-model (openrouter) have no cost: no price is known; set instrument.prices"]


def test_one_process_is_told_of_one_unknown_model():
    told: list[str] = []
    prices = Prices({}, told.append)
    for model in ("first", "second", "third"):
        assert prices.cost("openrouter", (model,), Tokens(10, 10)) is None
    assert len(told) == 1
    assert "first" in told[0]


def test_tokens_from_a_cache_have_the_price_of_the_table():
    prices = Prices({}, [].append)
    full = prices.cost("openai", ("gpt-4o",), Tokens(1_000_000, 0))
    half_cached = prices.cost("openai", ("gpt-4o",), Tokens(1_000_000, 0, cached=500_000))
    assert 0 < half_cached < full


def test_tokens_from_a_cache_have_a_configured_price_or_that_of_input():
    dear = {"input_per_million": 2.0, "output_per_million": 0.0}
    assert Prices({"m": dear}).cost("p", ("m",), Tokens(1_000_000, 0, cached=400_000)) == pytest.approx(2.0)
    cheap = {**dear, "cached_input_per_million": 0.5}
    assert Prices({"m": cheap}).cost("p", ("m",), Tokens(1_000_000, 0, cached=400_000)) == pytest.approx(1.4)


def test_a_free_model_costs_nothing_which_is_not_unknown():
    prices = Prices({"free": {"input_per_million": 0, "output_per_million": 0}}, [].append)
    assert prices.cost("openrouter", ("free",), Tokens(10, 10)) == 0.0


def test_without_the_price_table_tokens_are_counted_without_cost(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    told: list[str] = []
    assert Prices({}, told.append).cost("openrouter", (MODEL,), Tokens(10, 10)) is None
    assert "genai-prices is not installed" in told[0]


def test_the_price_table_is_imported_by_the_first_call_and_not_before():
    code = (
        "import sys\n"
        "from theodore_otel.instrument.cost import Prices, Tokens\n"
        "prices = Prices({'known': {'input_per_million': 1, 'output_per_million': 1}})\n"
        "prices.warm('known'); prices.cost('p', ('known',), Tokens(1, 1))\n"
        "assert 'genai_prices' not in sys.modules\n"
        f"prices.warm('other'); assert prices.cost('openrouter', ('{MODEL}',), Tokens(1, 1)) > 0\n"
        "assert 'genai_prices' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
