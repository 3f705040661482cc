"""What a model call costs: the configured prices win over those that genai-prices knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from theodore_otel.instrument.forks import importing
from theodore_otel.instrument.say import record
from theodore_otel.instrument.threads import Thread

_PER_MILLION: Final = 1_000_000


class Tokens(NamedTuple):
    """Tokens of one call. Those of a cache are part of the input."""

    input: int
    output: int
    cached: int = 0
    """Tokens that the provider read from its cache."""
    written: int = 0
    """Tokens that it wrote to its cache."""


class Prices:
    """Prices of models. What is unknown has no cost; the first such model is told, once in a process."""

    def __init__(self, configured: Mapping[str, Mapping[str, float]], report: Callable[[str], None] = record) -> None:
        """`configured` has US dollars per million tokens by model: `input_per_million`, `output_per_million`, and
        `cached_input_per_million` where tokens from a cache have a price of their own.
        """
        self._configured = configured
        self._report = report
        self._told = False
        self.warming = False

    def warm(self, model: str | None) -> None:
        """Import the price table beside the running model call, so that its end does not wait for it."""
        if self.warming or (model is not None and model in self._configured):
            return
        self.warming = True
        Thread("prices", _import_table).start()

    def cost(self, provider: str | None, models: tuple[str | None, ...], tokens: Tokens) -> float | None:
        """Return the price of a call in US dollars, None when no price is known.

        `models` are the names to look under, best first.
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
        if self._told:
            return
        self._told = True
        model = names[0] if names else "?"
        why = "no price is known" if _table() else "genai-prices is not installed (theodore-otel[cost])"
        self._report(f"calls of model {model} ({provider}) have no cost: {why}; set instrument.prices")


def _configured_cost(price: Mapping[str, float], tokens: Tokens) -> float:
    full = price.get("input_per_million", 0.0)
    cached = price.get("cached_input_per_million", full)
    read = min(tokens.cached, tokens.input)
    spent = (tokens.input - read) * full + read * cached + tokens.output * price.get("output_per_million", 0.0)
    return spent / _PER_MILLION


def _known_cost(provider: str | None, model: str, tokens: Tokens) -> float | None:
    table = _table()
    if table is None:
        return None
    cached = {"cache_read_tokens": tokens.cached, "cache_write_tokens": tokens.written}
    more = {name: count for name, count in cached.items() if count}
    usage = table.Usage(input_tokens=tokens.input, output_tokens=tokens.output, **more)
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
