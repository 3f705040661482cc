"""What the collector asks whether it is well."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from theodore_otel.config.base import Name, Page, Secret, Section, Tls
from theodore_otel.config.units import Duration
from theodore_otel.redaction.presets import not_in_re2


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression, got {text!r}: {error}") from None
    if what := not_in_re2(text):
        raise ValueError(f"expected a pattern that RE2 knows, got {text!r} with {what}")
    return text


class HealthTarget(Section):
    """An address that is asked whether it is well."""

    name: Name = Field(description="Its name in the output; that of a destination replaces what is asked there.")
    url: Page = Field(description="Address that is asked, with GET.")
    status: int | None = Field(None, ge=100, le=599, description="Status of a good answer; any 2xx when empty.")
    body: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None, min_length=1, description="Pattern (RE2) that a good answer's body has."
    )
    timeout: Duration = Field("5s", validate_default=True, gt=timedelta(), description="How long an answer may take.")
    headers: dict[str, Secret] = Field({}, description="Headers of the request, by reference.")
    tls: Tls = Field(Tls(), description="TLS of an https address.")


class Health(Section):
    """Health checks: the collector asks itself, the destinations whose address tells where, and these targets."""

    interval: Duration = Field(
        "15s",
        validate_default=True,
        ge=timedelta(seconds=1),
        le=timedelta(minutes=4),
        description="How often all are asked; after five minutes Prometheus forgets what it was pushed.",
    )
    targets: list[HealthTarget] = Field([], description="Addresses that are asked besides.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for key in ("name", "url"):
            ((value, count),) = Counter(getattr(each, key) for each in self.targets).most_common(1) or [("", 0)]
            if count > 1:
                raise ValueError(f"targets: expected every {key} once, got {value!r} {count} times")
        return self
