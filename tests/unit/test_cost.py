"""The price of a model call: input and output cost differently, configured prices win, unknown models have none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from theodore_otel.instrument.cost import Prices

MODEL = "anthropic/claude-3.5-haiku"


def test_input_and_output_have_different_prices():
    prices = Prices({}, [].append)
    only_input = prices.cost("openrouter", (MODEL,), (1_000_000, 0))
    only_output = prices.cost("openrouter", (MODEL,), (0, 1_000_000))
    assert only_output > only_input > 0
    assert prices.cost("openrouter", (MODEL,), (300, 70)) == pytest.approx(300e-6 * only_input + 70e-6 * only_output)


def test_a_configured_price_wins_over_the_table():
    prices = Prices({MODEL: {"input_per_million": 2.0, "output_per_million": 10.0}}, [].append)
    assert prices.cost("openrouter", (MODEL,), (1000, 100)) == pytest.approx(0.002 + 0.001)


def test_the_model_asked_for_is_looked_up_when_the_one_that_answered_is_unknown():
    prices = Prices({"asked": {"input_per_million": 1.0, "output_per_million": 1.0}}, [].append)
    assert prices.cost("openrouter", ("answered-2031", "asked"), (1_000_000, 0)) == pytest.approx(1.0)


def test_an_unknown_model_has_no_cost_and_is_told_once():
    told: list[str] = []
    prices = Prices({}, told.append)
    assert [prices.cost("openrouter", ("house-model",), (10, 10)) for _ in range(3)] == [None] * 3
    assert told == ["calls of model house-model (openrouter) have no cost: no price is known; set instrument.prices"]


def test_a_free_model_costs_nothing_which_is_not_unknown():
    prices = Prices({"free": {"input_per_million": 0, "output_per_million": 0}}, [].append)
    assert prices.cost("openrouter", ("free",), (10, 10)) == 0.0


def test_without_the_price_table_tokens_are_counted_without_cost(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    told: list[str] = []
    assert Prices({}, told.append).cost("openrouter", (MODEL,), (10, 10)) is None
    assert "genai-prices is not installed" in told[0]


def test_the_price_table_is_imported_by_the_first_call_and_not_before():
    code = (
        "import sys\n"
        "from theodore_otel.instrument.cost import Prices\n"
        "prices = Prices({'known': {'input_per_million': 1, 'output_per_million': 1}})\n"
        "prices.warm('known'); prices.cost('p', ('known',), (1, 1))\n"
        "assert 'genai_prices' not in sys.modules\n"
        f"prices.warm('other'); assert prices.cost('openrouter', ('{MODEL}',), (1, 1)) > 0\n"
        "assert 'genai_prices' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
