"""The form of a case file, version 1. Its descriptions are the schema and the reference."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from theodore_otel.config.base import Section, Signal, TenantId
from theodore_otel.config.units import Duration
from theodore_otel.otelcol.cases.fields import check_path
from theodore_otel.otelcol.cases.values import Attributes, Count, Names, Pattern, Range, Severity, Value

GOLDEN_SUFFIX = ".golden.yaml"
_LABEL = r"^[\w.-]{1,64}$"


class Event(Section):
    """An event of a span."""

    name: str = Field(min_length=1, description="Its name, such as `exception`.")
    attributes: Attributes = Field({}, description="Its attributes.")


class Span(Section):
    """A span in short form. Without `trace` it begins a trace of its own."""

    name: str = Field(description="Its name.")
    trace: str | None = Field(
        None,
        pattern=_LABEL,
        description="Label of its trace, or 32 hexadecimal digits; spans with the same label share a trace.",
    )
    id: str | None = Field(None, pattern=_LABEL, description="Label of the span, for `parent` elsewhere.")
    parent: str | None = Field(None, pattern=_LABEL, description="Label of its parent.")
    kind: Literal["internal", "server", "client", "producer", "consumer"] = Field("internal", description="Its kind.")
    status: Literal["unset", "ok", "error"] = Field("unset", description="Its status.")
    status_message: str = Field("", description="What went wrong.")
    duration: Duration = Field("10ms", validate_default=True, description="How long it took.")
    ago: Duration = Field("0s", validate_default=True, description="How long before it is sent it ended.")
    attributes: Attributes = Field({}, description="Its attributes.")
    events: list[Event] = Field([], description="Its events.")
    children: list[Span] = Field([], description="Spans within it, in the same trace.")


class LogRecord(Section):
    """A log record in short form."""

    body: Value = Field("", description="Its body: text, or any other value.")
    severity: Severity = Field(9, description="TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL, or a number from 0 to 24.")
    severity_text: str | None = Field(None, description="The severity in other words.")
    event_name: str | None = Field(None, description="Name of the event that it is.")
    trace: str | None = Field(None, pattern=_LABEL, description="Label of the trace it belongs to.")
    span: str | None = Field(None, pattern=_LABEL, description="Label of the span it belongs to.")
    ago: Duration = Field("0s", validate_default=True, description="How long before it is sent it was written.")
    attributes: Attributes = Field({}, description="Its attributes.")


class Metric(Section):
    """One point of a metric in short form: a gauge, a sum or a histogram."""

    model_config = ConfigDict(allow_inf_nan=True)  # a case may send what no configuration may hold

    name: str = Field(min_length=1, description="Name of the instrument, such as `theodore.active_operations`.")
    unit: str = Field("", description="Its unit.")
    description: str = Field("", description="What it means.")
    gauge: float | None = Field(None, description="Value of a gauge.")
    sum: float | None = Field(None, description="Value of a sum.")
    histogram: list[float] | None = Field(None, description="Values that were observed.")
    buckets: list[float] = Field([], description="Upper bounds of the histogram's buckets.")
    monotonic: bool = Field(True, description="Whether the sum only grows: a counter.")
    temporality: Literal["cumulative", "delta"] = Field(
        "cumulative", description="Whether a sum or histogram counts from the start or from the last report."
    )
    attributes: Attributes = Field({}, description="Attributes of the point: its labels.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [self.gauge, self.sum, self.histogram].count(None) != 2:
            raise ValueError("expected exactly one of gauge, sum and histogram")
        return self


class Scope(Section):
    """The instrumentation scope."""

    name: str = Field("", description="Its name.")
    version: str = Field("", description="Its version.")
    attributes: Attributes = Field({}, description="Its attributes.")


class Request(Section):
    """What is sent at once, as one sender."""

    credential: str | None = Field(
        None,
        pattern=r"^(svc-)?[a-z0-9][a-z0-9_]{0,62}(\.[1-9])?$",
        description="Who sends: a tenant (`acme`), a service (`svc-api`), or one of their credentials (`acme.2`). "
        "Without it there is no credential in the request.",
        examples=["acme", "svc-api"],
    )
    wrong_token: bool = Field(False, description="true: with a token that is not the credential's.")
    headers: dict[str, str] = Field({}, description="More HTTP headers.")
    wait: Duration = Field("0s", validate_default=True, description="Time to let pass before it is sent.")
    repeat: int = Field(1, ge=1, le=100_000, description="How often all of it is sent, each time with ids of its own.")
    resource: Attributes = Field(
        {}, description="Attributes of the resource. `service.name` is the configuration's unless set; null removes it."
    )
    scope: Scope = Field(Scope(), description="Instrumentation scope of what is sent.")
    spans: list[Span] = Field([], description="Spans.")
    logs: list[LogRecord] = Field([], description="Log records.")
    metrics: list[Metric] = Field([], description="Metrics.")
    otlp: dict[str, Any] = Field(
        {}, description="A request in OTLP's own JSON (`resourceSpans` ...), for what the short forms cannot say."
    )
    refused: int | None = Field(None, ge=400, le=599, description="The HTTP status it must be refused with.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.spans or self.logs or self.metrics or self.otlp):
            raise ValueError("expected at least one of spans, logs, metrics and otlp")
        if self.otlp and set(self.otlp) not in ({"resourceSpans"}, {"resourceLogs"}, {"resourceMetrics"}):
            raise ValueError("otlp: expected one of resourceSpans, resourceLogs and resourceMetrics")
        if self.wrong_token and not self.credential:
            raise ValueError("wrong_token: expected a credential whose token is wrong")
        return self


class Selection(Section):
    """Which of the records that arrived are meant: those that everything given here fits."""

    destination: Names = Field([], description="Destinations to look at; all that take the signal when empty.")
    tenant: TenantId | Literal["_platform"] | None = Field(
        None, description="Whose they are: the `tenant.id` that was stamped on their resource."
    )
    dedicated: TenantId | None = Field(None, description="Only what left through this tenant's own exporters.")
    name: str | None = Field(
        None, description="Name of the span or metric (Prometheus' name is understood too), or a log record's body."
    )
    where: Attributes = Field({}, description="Values that fields have, by path, such as `attributes.endpoint: x`.")


class Expectation(Selection):
    """What must arrive: at each destination so many records are selected, and all of them are as told."""

    signal: Signal = Field(description="traces, logs or metrics.")
    count: Count = Field(
        Range(min=1), description="How many (spans, log records, series): a number or a range; at least 1 if not given."
    )
    present: Names = Field([], description="Fields that must be there.")
    absent: Names = Field([], description="Fields that must not be there.")
    equal: Attributes = Field({}, description="Fields and the values they must have.")
    matches: dict[str, Pattern] = Field({}, description="Fields and regular expressions that must be found in them.")
    within: Duration | None = Field(
        None, description="Longest time it may take after the last request; else it is looked at when all is through."
    )

    @model_validator(mode="after")
    def _paths(self) -> Self:
        for key in ("where", "present", "absent", "equal", "matches"):
            for path in getattr(self, key):
                _check(key, path, self.signal)
        if self.count.max == 0 and (self.present or self.absent or self.equal or self.matches):
            raise ValueError("count: expected more than 0, because of what is said about the records' fields")
        return self


class Nowhere(Selection):
    """What must not arrive. A plain text is looked for in everything, the collector's own log too."""

    signal: Signal | None = Field(None, description="traces, logs or metrics; all when not given.")
    text: str | None = Field(None, min_length=1, description="Text that stands anywhere in the record, key or value.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _something(self) -> Self:
        for path in self.where:
            _check("where", path, self.signal)
        if not self.model_fields_set:
            raise ValueError("expected a text, or something that selects records")
        return self


class Case(Section):
    """What is sent, and what must come of it."""

    name: str = Field(min_length=1, description="What it proves, in words.")
    send: list[Request] = Field(min_length=1, description="What is sent, one after the other.")
    expect: list[Expectation] = Field([], description="What must arrive.")
    nowhere: list[Nowhere] = Field([], description="What must not arrive anywhere.")
    golden: str | None = Field(
        None, pattern=r"\.golden\.yaml$", description="File beside this one with all that must arrive; see --update."
    )

    @model_validator(mode="after")
    def _proves_something(self) -> Self:
        if not (self.expect or self.nowhere or self.golden or any(request.refused for request in self.send)):
            raise ValueError("expected at least one of expect, nowhere and golden, or a request that is refused")
        return self


class CaseFile(Section):
    """Cases for `theodore-otel test`."""

    version: Literal[1] = Field(1, description="Version of this file's form.")
    cases: list[Case] = Field(min_length=1, description="The cases; each has a collector of its own.")


def _check(key: str, path: str, signal: Signal | None) -> None:
    try:
        check_path(path, signal)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
