"""Types of a case file that are written shorter than they are read."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from theodore_otel.config.base import Section

SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "CRITICAL": 21}
"""The least severity number of each level."""


class Range(Section):
    """How many: at least and at most."""

    min: int = Field(0, ge=0, description="At least so many.")
    max: int | None = Field(None, ge=0, description="At most so many.")

    def holds(self, count: int) -> bool:
        """Say whether a number is in the range."""
        return self.min <= count and (self.max is None or count <= self.max)

    def __str__(self) -> str:
        """Return the range as a message says it."""
        if self.max is None:
            return f"at least {self.min}"
        if self.min == self.max:
            return "none" if self.max == 0 else f"exactly {self.max}"
        return f"at most {self.max}" if self.min == 0 else f"{self.min} to {self.max}"


def _range(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"min": value, "max": value}
    if not isinstance(value, dict | Range):
        raise ValueError("expected a number, or a range such as {min: 40, max: 60}")  # noqa: TRY004  pydantic's way
    return value


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _severity(value: Any) -> int:
    known = SEVERITIES.get(value) if isinstance(value, str) else value
    if not isinstance(known, int) or isinstance(known, bool) or not 0 <= known <= 24:
        raise ValueError(f"expected one of {', '.join(SEVERITIES)}, or a number from 0 to 24")
    return known


def _storable(value: Any) -> Any:
    """Refuse what YAML reads and OTLP cannot say: YAML makes a date of 2026-01-31."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"expected keys that are strings, got {key!r}; put it in quotes")  # noqa: TRY004
            _storable(item)
    elif isinstance(value, list):
        for item in value:
            _storable(item)
    elif isinstance(value, datetime.date):
        raise ValueError(f"expected text, a number, true, false, a list or a mapping, got the date {value}; quote it")  # noqa: TRY004
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"expected a whole number of 64 bits, got {value}; put it in quotes")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression, but {error}") from None
    return value


_INTEGER_OR_RANGE = {"anyOf": [{"type": "integer", "minimum": 0}, Range.model_json_schema()]}
_TEXT_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_LEVEL_OR_NUMBER = {"anyOf": [{"enum": list(SEVERITIES)}, {"type": "integer", "minimum": 0, "maximum": 24}]}

Count = Annotated[Range, BeforeValidator(_range), WithJsonSchema(_INTEGER_OR_RANGE)]
Names = Annotated[list[str], BeforeValidator(_list), WithJsonSchema(_TEXT_OR_LIST)]
Severity = Annotated[int, BeforeValidator(_severity), WithJsonSchema(_LEVEL_OR_NUMBER)]
Value = Annotated[Any, BeforeValidator(_storable)]
Attributes = Annotated[dict[str, Any], BeforeValidator(_storable)]
Pattern = Annotated[str, AfterValidator(_pattern)]
