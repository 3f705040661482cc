"""What each kind of watched function puts on its span, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from theodore_otel.conventions import names
from theodore_otel.instrument.texts import Redact, as_count, as_text

FUNCTION_NAME: Final = "\0function"
"""As a default: the name of the watched function."""


@dataclass(frozen=True, slots=True)
class Field:
    """One configured value: its key in the configuration, its attribute and what it is turned into."""

    key: str
    attribute: str
    convert: Callable[[Any, Redact], Any] = as_text
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of watched function."""

    type: str
    """Value of theodore.operation.type."""
    fields: tuple[Field, ...]
    title: tuple[str, ...]
    """The span's name: words, and names of attributes that are put in their place."""
    client: bool = False
    """Whether the span is of kind CLIENT."""

    def name(self, attributes: Mapping[str, Any]) -> str:
        """Return the span's name for these attributes."""
        words = [attributes.get(word) if "." in word else word for word in self.title]
        return " ".join([str(word) for word in words if word])


_ALL: Final = (
    Kind(
        "research",
        (
            Field("company", names.COMPANY_NAME),
            Field("research_type", names.RESEARCH_TYPE, default="company_research"),
            Field("pages", names.RESEARCH_PAGES, as_count),
        ),
        ("research", names.RESEARCH_TYPE),
    ),
    Kind("phase", (Field("name", names.PHASE_NAME, default=FUNCTION_NAME),), ("phase", names.PHASE_NAME)),
    Kind(
        "ai",
        (
            Field("provider", names.GEN_AI_PROVIDER),
            Field("model", names.GEN_AI_REQUEST_MODEL),
            Field("operation", names.GEN_AI_OPERATION, default="chat"),
            Field("input_tokens", names.GEN_AI_INPUT_TOKENS, as_count),
            Field("output_tokens", names.GEN_AI_OUTPUT_TOKENS, as_count),
            Field("cached_tokens", names.GEN_AI_CACHE_READ_TOKENS, as_count),
            Field("cache_write_tokens", names.GEN_AI_CACHE_CREATION_TOKENS, as_count),
        ),
        (names.GEN_AI_OPERATION, names.GEN_AI_REQUEST_MODEL),
        client=True,
    ),
    Kind(
        "scraping",
        (
            Field("url", names.URL_FULL),
            Field("scraper_type", names.SCRAPER_TYPE, default="intelligent_scraper"),
        ),
        ("scraping", names.SCRAPER_TYPE),
    ),
    Kind(
        "storage",
        (
            Field("operation", names.STORAGE_OPERATION, default=FUNCTION_NAME),
            Field("storage_type", names.STORAGE_TYPE, default="vector_storage"),
            Field("size", names.STORAGE_SIZE, as_count),
        ),
        ("storage", names.STORAGE_OPERATION),
    ),
    Kind("similarity", (), ("similarity",)),
)
KINDS: Final[Mapping[str, Kind]] = {kind.type: kind for kind in _ALL}
