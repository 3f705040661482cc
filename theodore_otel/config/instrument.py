"""What happens inside Theodore's process."""

from __future__ import annotations

import re
from math import isfinite
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator

from theodore_otel.config.base import Address, Secret, Section
from theodore_otel.config.presets import preset_names, unknown_preset
from theodore_otel.config.units import Duration, Size

_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
Route = Annotated[str, Field(pattern=r"^/[^?#\s]*$")]
Constant = str | int | float | bool


_MEANT = {
    **dict.fromkeys(["args", "argument", "arguments", "kwargs", "param", "params", "parameter", "parameters"], "arg"),
    **dict.fromkeys(["results", "res", "ret", "return", "returned", "response", "answer"], "result"),
    **dict.fromkeys(["items"], "item"),
}
"""What is written in place of the roots of paths: it would be a constant, and nobody would notice."""
_MISTAKEN = re.compile(rf"(?P<root>{'|'.join(_MEANT)})(?=[.\[])", re.IGNORECASE)


def _paths(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(one, str) and one for one in several):
        raise ValueError("expected a constant, a path such as result.success, or a list of them")
    for one in several:
        if meant := _MISTAKEN.match(one):
            root = _MEANT[meant["root"].lower()]
            raise ValueError(
                f"expected a constant or a path that begins with arg., self., result. or item., got {one!r}; "
                f"did you mean '{root}{one.removeprefix(meant['root'])}'?"
            )
    return value


def _constants(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    known = all(isinstance(one, Constant) and not (isinstance(one, float) and not isfinite(one)) for one in several)
    if not several or not known:
        raise ValueError("expected a text, a number, true or false, or a list of them")
    return value


def _rule(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list) else value


Value = Annotated[str | list[str], PlainValidator(_paths, json_schema_input_type=str | list[str])]
Constants = Annotated[
    Constant | list[Constant], PlainValidator(_constants, json_schema_input_type=Constant | list[Constant])
]


class Outcome(Section):
    """A rule that tells success."""

    path: Value = Field("result", description="Path to what is judged.")
    equals: Constants | None = Field(None, description="Success is this value, or one of these.")
    not_empty: bool = Field(False, description="true: success is that something is there.")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.equals is not None and self.not_empty:
            raise ValueError("expected one of equals and not_empty, got both")
        return self


_Rule = Annotated[Outcome, BeforeValidator(_rule, json_schema_input_type=str | list[str] | Outcome)]


class WatchedAudit(Section):
    """The audit record that each call of a watched function makes."""

    action: Value | None = Field(None, description="Constant or path; the function's name by default.")
    resource: Value | None = Field(None, description="To what: a constant or a path, such as arg.company_id.")
    user: Value | None = Field(None, description="Who does it; the user of the request or command by default.")


class _Watched(Section):
    function: str = Field(
        pattern=_FUNCTION,
        description="module:function or module:Class.method.",
        examples=["theodore.research:ResearchUseCase.execute"],
    )
    outcome: _Rule | None = Field(
        None,
        description="What tells success: a path to what is true then, such as result.success, or a rule such as "
        "{path: result.status, equals: done} or {path: result.pages, not_empty: true}.",
    )
    error: Value | None = Field(None, description="Path to the reason of a failure, such as result.error.")
    expected: list[str] = Field(
        [], description="Exceptions that are no failures, by class name: NotFound or theodore.errors.NotFound."
    )
    when: dict[str, Constants] = Field(
        {}, description="Only calls whose paths lead to these values, such as {arg.kind: [page, site]}."
    )
    optional: bool = Field(False, description="true: nothing is told when the function does not exist.")
    audit: WatchedAudit | None = Field(None, description="Write an audit record of each call, with how it ended.")


class WatchedResearch(_Watched):
    """A function that researches a company."""

    company: Value | None = Field(None, description="Path to the company's name, such as arg.company_name.")
    research_type: Value | None = Field(None, description="Constant or path; company_research by default.")
    pages: Value | None = Field(None, description="Path to the number of pages scraped.")


class WatchedPhase(_Watched):
    """A function that is one phase of a research."""

    name: Value | None = Field(None, description="Name of the phase; the function's name by default.")


class WatchedAi(_Watched):
    """A function that calls a model in a way no instrumentation sees."""

    provider: Value | None = Field(None, description="Constant or path.")
    model: Value | None = Field(None, description="Constant or path.")
    operation: Value | None = Field(None, description="Constant or path; chat by default.")
    input_tokens: Value | None = Field(None, description="Path, such as result.usage.prompt_tokens.")
    output_tokens: Value | None = Field(None, description="Path, such as result.usage.completion_tokens.")
    cached_tokens: Value | None = Field(
        None, description="Path to the tokens of the input that came from the provider's cache."
    )
    cache_write_tokens: Value | None = Field(
        None, description="Path to the tokens of the input that were written to the provider's cache."
    )
    stream: str | None = Field(
        None,
        min_length=1,
        description="Key of the result under which a stream is handed over; `item` is its last item.",
    )


class WatchedScraping(_Watched):
    """A function that fetches a page."""

    url: Value | None = Field(None, description="Path to the URL; query and credentials are removed.")
    scraper_type: Value | None = Field(None, description="Constant or path; intelligent_scraper by default.")


class WatchedStorage(_Watched):
    """A function that reads or writes the store."""

    operation: Value | None = Field(None, description="Constant or path; the function's name by default.")
    storage_type: Value | None = Field(None, description="Constant or path; vector_storage by default.")
    size: Value | None = Field(None, description="Path to the number of bytes.")


class WatchedSimilarity(_Watched):
    """A function that compares companies."""


class Watch(Section):
    """Functions of the application that become spans; names of one kind add up over the layers."""

    research: list[WatchedResearch] = Field([], description="Functions that research a company.")
    phase: list[WatchedPhase] = Field([], description="Functions that are a phase of a research.")
    ai: list[WatchedAi] = Field([], description="Functions that call a model.")
    scraping: list[WatchedScraping] = Field([], description="Functions that fetch a page.")
    storage: list[WatchedStorage] = Field([], description="Functions that use the store.")
    similarity: list[WatchedSimilarity] = Field([], description="Functions that compare companies.")


class ModelApi(Section):
    """A model API that is called over plain HTTP."""

    name: str = Field(description="A name for messages.")
    url: str = Field(description="Regular expression; it must match the URL from its start.")
    provider: str = Field(description="gen_ai.provider.name, and the provider whose prices are looked up.")
    operation: str = Field("chat", description="gen_ai.operation.name.")

    @field_validator("url")
    @classmethod
    def _compiles(cls, url: str) -> str:
        try:
            re.compile(url)
        except re.error as error:
            raise ValueError(f"expected a regular expression ({error})") from None
        return url


class Price(Section):
    """Price of one model in US dollars per million tokens."""

    input_per_million: float = Field(ge=0, description="USD per million input tokens.")
    output_per_million: float = Field(ge=0, description="USD per million output tokens.")
    cached_input_per_million: float | None = Field(
        None, ge=0, description="USD per million input tokens from the provider's cache; that of input when left out."
    )


_MODEL_APIS = [
    ModelApi(name="openrouter", url=r"https://openrouter\.ai/api/v1/chat/completions(\?|$)", provider="openrouter"),
    ModelApi(name="openai", url=r"https://([a-z]{2}\.)?api\.openai\.com/v1/chat/completions(\?|$)", provider="openai"),
]


class Audit(Section):
    """The journal that audit records are written to before they are delivered."""

    dir: str | None = Field(None, min_length=1, description="Its folder; `audit` in THEODORE_OTEL_HOME when empty.")
    key: Secret | None = Field(
        None, description="Key of the hash chain; THEODORE_OTEL_AUDIT_KEY wins; generated in the folder when empty."
    )
    pseudonymise_actor: bool = Field(False, description="true writes a keyed hash in place of who did it.")
    keep: Duration = Field("30d", validate_default=True, description="Time delivered records stay in the journal.")


class Spool(Section):
    """Where telemetry waits that could not be delivered, masked, for the next run or `theodore-otel spool flush`."""

    enabled: bool = Field(True, description="false drops what cannot be delivered when the process ends.")
    size: Size = Field(
        "256MiB", validate_default=True, description="What it may hold; the oldest goes first, audit records last."
    )
    dir: str | None = Field(None, min_length=1, description="Its folder; `spool` in THEODORE_OTEL_HOME when empty.")


class Analytics(Section):
    """Records of category user_activity: what the product is used for, one for each command or request."""

    commands: bool = Field(False, description="true writes a record for each command.")
    requests: bool = Field(False, description="true writes a record for each request that has a route.")
    key: Secret | None = Field(
        None,
        description="Key of the hash that stands for a user, at least 16 characters; without it users are left out.",
    )
    features: dict[str, list[str]] = Field(
        {}, description="Features by name, each with patterns of commands or routes, such as [research, /research*]."
    )


class Instrument(Section):
    """What `opentelemetry-instrument` does inside Theodore."""

    endpoint: Address | None = Field(
        None, description="OTLP/HTTP base URL that Theodore sends to; from collector.listen.http when empty."
    )
    tenant_header: str | None = Field(
        "X-Tenant-ID", description="Incoming header that names the tenant; null turns it off."
    )
    user_header: str | None = Field("X-User-ID", description="Incoming header that names the user; null turns it off.")
    propagate_to: list[str] = Field(
        ["127.0.0.1", "localhost", "::1"],
        description="Only these hosts are sent trace context, baggage and correlation id.",
    )
    health_routes: list[Route] = Field(
        ["/health", "/health/*", "/healthz", "/livez", "/metrics", "/ready", "/readyz"],
        description="Paths of Theodore's service whose requests are not reported; /health/* means every path below.",
    )
    exit_budget: Duration = Field(
        "1s", validate_default=True, description="Time the last telemetry may take when the process ends."
    )
    presets: list[str] = Field(
        [], description="Pieces of this section for common libraries; `theodore-otel instrument presets` lists them."
    )
    watch: Watch = Field(Watch(), description="Functions of the application that become spans.")
    model_apis: list[ModelApi] = Field(_MODEL_APIS, description="Model APIs recognised by their URL.")
    prices: dict[str, Price] = Field({}, description="Prices by model; they win over the price table that is built in.")
    analytics: Analytics = Field(Analytics(), description="Records of how the product is used.")
    audit: Audit = Field(Audit(), description="The journal of audit records.")
    spool: Spool = Field(Spool(), description="Where telemetry waits that could not be delivered.")

    @field_validator("presets")
    @classmethod
    def _presets_exist(cls, presets: list[str]) -> list[str]:
        for name in presets:
            if name not in preset_names():
                raise ValueError(unknown_preset(name))
        return presets

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value
