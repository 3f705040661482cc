"""Token usage of model calls, and the rule that exactly one span carries that of each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import context
from opentelemetry.context import Context

from theodore_otel.conventions import names
from theodore_otel.instrument.cost import Prices, Tokens

COUNTED: Final = (
    names.GEN_AI_INPUT_TOKENS,
    names.GEN_AI_OUTPUT_TOKENS,
    names.GEN_AI_CACHE_READ_TOKENS,
    names.GEN_AI_CACHE_CREATION_TOKENS,
)
"""Attributes that count tokens."""

_LEDGER_KEY: Final = context.create_key("theodore-otel-usage")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model call used."""

    tokens: Tokens
    provider: str | None
    request_model: str | None
    response_model: str | None

    @property
    def model(self) -> str | None:
        """The model that answered, else the one that was asked."""
        return self.response_model or self.request_model


@dataclass(slots=True)
class Ledger:
    """Usage of the calls recognised inside one watched `ai` function, whose span carries the sum."""

    entries: list[Usage] = field(default_factory=list)


def ledger() -> Ledger | None:
    """Return the ledger of the watched function around this point, if there is one."""
    found = context.get_value(_LEDGER_KEY)
    return found if isinstance(found, Ledger) else None


def with_ledger(parent: Context, entries: Ledger) -> Context:
    """Return a context in which recognised calls write to this ledger instead of making an AI span."""
    return context.set_value(_LEDGER_KEY, entries, parent)


def attributes(entries: list[Usage], prices: Prices) -> dict[str, Any]:
    """Return the span attributes for the sum of some calls; the cost is left out when one of them has no price."""
    if not entries:
        return {}
    last = entries[-1]
    costs = [prices.cost(e.provider, (e.response_model, e.request_model), e.tokens) for e in entries]
    known = [cost for cost in costs if cost is not None]
    found = {
        names.GEN_AI_PROVIDER: last.provider,
        names.GEN_AI_REQUEST_MODEL: last.request_model,
        names.GEN_AI_RESPONSE_MODEL: last.response_model,
        **counts([entry.tokens for entry in entries]),
        names.AI_COST: sum(known) if len(known) == len(costs) else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def counts(tokens: list[Tokens]) -> dict[str, int | None]:
    """Return the attributes for the sum of some calls' tokens; those of a cache only where there were any."""
    return {
        names.GEN_AI_INPUT_TOKENS: sum(each.input for each in tokens),
        names.GEN_AI_OUTPUT_TOKENS: sum(each.output for each in tokens),
        names.GEN_AI_CACHE_READ_TOKENS: sum(each.cached for each in tokens) or None,
        names.GEN_AI_CACHE_CREATION_TOKENS: sum(each.written for each in tokens) or None,
    }


def tokens(found: Mapping[str, Any]) -> Tokens:
    """Return the tokens that attributes tell; those of a cache are part of the input and never more."""
    given, made, cached, written = (found.get(name) or 0 for name in COUNTED)
    return Tokens(given, made, min(cached, given), min(written, given))
