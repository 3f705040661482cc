"""What a model call costs: the configured prices win over those that genai-prices knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from theodore_otel.instrument.forks import importing
from theodore_otel.instrument.say import record

_PER_MILLION: Final = 1_000_000


class Prices:
    """Prices of models. What is unknown is told once for each model and has no cost."""

    def __init__(self, configured: Mapping[str, Mapping[str, float]], report: Callable[[str], None] = record) -> None:
        """`configured` has US dollars per million tokens by model: `input_per_million`, `output_per_million`."""
        self._configured = configured
        self._report = report
        self._told: set[str] = set()
        self._warming = False

    def warm(self, model: str | None) -> None:
        """Import the price table beside the running model call, so that its end does not wait for it."""
        if self._warming or (model is not None and model in self._configured):
            return
        self._warming = True
        threading.Thread(target=_import_table, name="theodore-otel-prices", daemon=True).start()

    def cost(self, provider: str | None, models: tuple[str | None, ...], tokens: tuple[int, int]) -> float | None:
        """Return the price of a call in US dollars, None when no price is known.

        `models` are the names to look under, best first; `tokens` are those of input and output.
        """
        names = [name for name in dict.fromkeys(models) if name]
        for name in names:
            price = self._configured.get(name)
            if price is not None:
                return _configured_cost(price, tokens)
        for name in names:
            found = _known_cost(provider, name, tokens)
            if found is not None:
                return found
        self._tell(provider, names)
        return None

    def _tell(self, provider: str | None, names: list[str]) -> None:
        model = names[0] if names else "?"
        if model in self._told:
            return
        self._told.add(model)
        why = "no price is known" if _table() else "genai-prices is not installed (theodore-otel[cost])"
        self._report(f"calls of model {model} ({provider}) have no cost: {why}; set instrument.prices")


def _configured_cost(price: Mapping[str, float], tokens: tuple[int, int]) -> float:
    spent = tokens[0] * price.get("input_per_million", 0.0) + tokens[1] * price.get("output_per_million", 0.0)
    return spent / _PER_MILLION


def _known_cost(provider: str | None, model: str, tokens: tuple[int, int]) -> float | None:
    table = _table()
    if table is None:
        return None
    usage = table.Usage(input_tokens=tokens[0], output_tokens=tokens[1])
    try:
        return float(table.calc_price(usage, model_ref=model, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


def _import_table() -> None:
    with importing():
        _table()


def _table() -> Any:
    # 0.24 s to import, so never at start-up; with a thread importing it already, this waits for that thread.
    try:
        import genai_prices
    except Exception:  # noqa: BLE001 - not installed, or not with what else is installed
        return None
    return genai_prices
