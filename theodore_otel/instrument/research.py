"""What one research used: its company stands on the model calls inside, and its end is told in one log record.

A company is never a metric label, so what a company cost is asked of spans and log records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import context
from opentelemetry.context import Context

from theodore_otel.conventions import names
from theodore_otel.instrument import forks
from theodore_otel.instrument.usage import COUNTED

_KEY: Final = context.create_key("theodore-otel-research")


class Research:
    """One outermost research that runs now."""

    def __init__(self, company: str | None) -> None:
        """Begin with nothing used."""
        self.company = company
        self._tokens: Counter[str] = Counter()
        self._cost = 0.0
        self._unpriced = False
        self._lock = forks.Lock()

    def add(self, attributes: Mapping[str, Any]) -> None:
        """Add what a model call inside used, by its span's attributes."""
        found = {name: attributes[name] for name in COUNTED if name in attributes}
        if not found:
            return
        with self._lock:
            self._tokens.update(found)
            self._cost += attributes.get(names.AI_COST, 0.0)
            self._unpriced |= names.AI_COST not in attributes

    def used(self) -> dict[str, Any]:
        """Return the sums under the names of attributes; the cost is left out when it is not known of every call."""
        with self._lock:
            found: dict[str, Any] = dict(self._tokens)
            if found and not self._unpriced:
                found[names.AI_COST] = self._cost
        return found


def current() -> Research | None:
    """Return the research around this point, if there is one."""
    found = context.get_value(_KEY)
    return found if isinstance(found, Research) else None


def within(parent: Context, research: Research) -> Context:
    """Return a context in which this research runs."""
    return context.set_value(_KEY, research, parent)


def tell(research: Research, attributes: Mapping[str, Any], *, success: bool, inside: Context) -> None:
    """Write the log record of a research that ended; `attributes` are its span's."""
    from opentelemetry._logs import SeverityNumber, get_logger

    kept = (names.COMPANY_NAME, names.RESEARCH_TYPE, names.RESEARCH_PAGES)
    get_logger("theodore_otel.watch").emit(
        context=inside,
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        body="research succeeded" if success else "research failed",
        attributes={
            names.CATEGORY: "business",
            names.SUCCESS: success,
            **{name: attributes[name] for name in kept if name in attributes},
            **research.used(),
        },
    )
