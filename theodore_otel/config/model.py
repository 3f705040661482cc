"""The typed model of theodore-otel.yaml, version 1. Its descriptions are the reference, the schema and explanations."""

from __future__ import annotations

from datetime import timedelta
from operator import itemgetter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from theodore_otel.config.alerting import Alerting
from theodore_otel.config.base import HostPort, Level, Name, Rate, Secret, Section, ServiceId, TenantId, Tls, Url
from theodore_otel.config.destinations import Destination, Selection, selected
from theodore_otel.config.health import Health
from theodore_otel.config.helm import Helm
from theodore_otel.config.instrument import Instrument
from theodore_otel.config.units import Duration, Size, format_size


class Service(Section):
    """What Theodore calls itself."""

    name: str = Field("theodore-v2", min_length=1, description="service.name of everything Theodore reports.")
    environment: str = Field("production", min_length=1, description="deployment.environment.name.")
    version: str = Field("2.0.0", min_length=1, description="service.version.")


class Listen(Section):
    """Where the collector listens; loopback unless told otherwise."""

    grpc: HostPort = Field("127.0.0.1:4317", description="OTLP over gRPC.")
    http: HostPort = Field("127.0.0.1:4318", description="OTLP over HTTP.")
    health: HostPort = Field("127.0.0.1:13133", description="Health check.")
    telemetry: HostPort = Field("127.0.0.1:8888", description="The collector's own metrics.")
    metrics: HostPort = Field("127.0.0.1:8889", description="Theodore's metrics for a Prometheus that scrapes.")


LEAST_QUEUE = 64 * 2**20
"""Bytes that a queue has to hold: a request has 4 MiB at most, and grows by what the pipelines add to its records."""

AUDIT_QUEUE = 256 * 2**20
"""Bytes of audit and security records that wait for one destination at most; their room on the disk is reserved."""


class Queue(Section):
    """The queue on disk in front of every destination that can have one."""

    directory: str | None = Field(None, description="Folder; `queue` in THEODORE_OTEL_HOME when empty.")
    size: Size = Field(
        "2GiB",
        validate_default=True,
        description="Most bytes one destination's queue may hold; 64MiB at least, so that the largest request fits in. "
        "Audit and security records have one of their own, of 256MiB at most.",
    )

    @field_validator("size")
    @classmethod
    def _holds_the_largest_request(cls, size: int) -> int:
        if size < LEAST_QUEUE:
            raise ValueError(f"expected {format_size(LEAST_QUEUE)} or more, so that the largest request fits in")
        return size


class Limits(Section):
    """How much one request and one record may hold. Audit and security records are refused where others are cut."""

    request: Size = Field(
        "4MiB",
        validate_default=True,
        ge=2**20,
        le=4 * 2**20,
        description="Bytes of one request; more could nest values so deep that reading them ends the collector.",
    )
    record: Size = Field(
        "1MiB",
        validate_default=True,
        ge=64 * 2**10,
        le=2 * 2**20,
        description="Bytes of one span, event or log record; of more, only what the registry knows is kept.",
    )
    value: Size = Field(
        "64KiB", validate_default=True, ge=2**10, le=2**20, description="Bytes of one text; what is longer is cut."
    )
    attributes: int = Field(
        256, ge=64, le=1_000, description="Attributes of one record, event, scope or resource; the first ones are kept."
    )
    depth: int = Field(16, ge=4, le=32, description="Levels of a value within values.")


class Collector(Section):
    """The collector process."""

    listen: Listen = Field(Listen(), description="Where it listens.")
    tls: Tls | None = Field(None, description="TLS of the OTLP listeners.")
    memory: Size = Field(
        "1GiB",
        validate_default=True,
        ge=64 * 2**20,
        description="Memory it may use; it refuses data before that.",
    )
    queue: Queue = Field(Queue(), description="The queue on disk.")
    max_series: int = Field(
        50_000, ge=100, description="Series of counted metrics at most; further ones are dropped and counted."
    )
    limits: Limits = Field(Limits(), description="How much one request and one record may hold.")
    extra: dict[str, Any] = Field(
        {}, description="Raw collector configuration, merged in; it may add, not change tenancy or redaction."
    )


class Retention(Section):
    """How long stored telemetry is kept. What is kept equally long stands in one data stream."""

    logs: Duration = Field("30d", validate_default=True, description="Log records.")
    traces: Duration = Field("7d", validate_default=True, description="Traces.")
    metrics: Duration = Field("30d", validate_default=True, description="Metrics, where a destination stores them so.")
    audit: Duration = Field("400d", validate_default=True, description="Audit and security records.")


class TenantRetention(Section):
    """What differs for one tenant."""

    logs: Duration | None = Field(None, description="Log records.")
    traces: Duration | None = Field(None, description="Traces.")
    metrics: Duration | None = Field(None, description="Metrics, where a destination stores them so.")
    audit: Duration | None = Field(None, description="Audit and security records.")


LogRates = dict[Literal["TRACE", "DEBUG", "INFO"], Rate]


class TenantSampling(Section):
    """What differs for one tenant."""

    traces: Rate | None = Field(None, description="Share of ordinary traces kept.")
    logs: LogRates = Field({}, description="Share of records kept by level.")


class TenantDefaults(Section):
    """What holds for a tenant that says nothing else."""

    isolation: Literal["shared", "dedicated"] = Field(
        "shared", description="dedicated: own sampler, queue and data streams."
    )
    retention: Retention = Field(Retention(), description="How long stored telemetry is kept.")
    budget_usd_per_hour: float = Field(50, gt=0, description="AI cost an hour that raises an alert.")


class TenantRedaction(Section):
    """What is secret for one tenant besides; it is masked in the collector, not in the process."""

    extra_keys: list[str] = Field([], description="More words that make an attribute's value a secret.")
    extra_values: dict[Name, str] = Field({}, description="More patterns (RE2) by name.")


class Tenant(Section):
    """What differs for one tenant."""

    isolation: Literal["shared", "dedicated"] | None = Field(
        None, description="dedicated: own sampler, queue and data streams."
    )
    retention: TenantRetention = Field(TenantRetention(), description="How long stored telemetry is kept.")
    budget_usd_per_hour: float | None = Field(None, gt=0, description="AI cost an hour that raises an alert.")
    destinations: Annotated[dict[Name, Selection], BeforeValidator(selected)] = Field(
        {}, description="Only these destinations, a list or a mapping with signals and categories; all when empty."
    )
    sampling: TenantSampling = Field(TenantSampling(), description="Shares kept; the general ones when empty.")
    drop_attributes: list[str] = Field([], description="Names of attributes removed from this tenant's telemetry.")
    keep_attributes: list[str] = Field(
        [], description="Only these attributes of spans, events and log records are kept; all of them when empty."
    )
    redaction: TenantRedaction = Field(TenantRedaction(), description="What is masked for this tenant besides.")


class TenantService(Section):
    """A service that works for many tenants with one credential."""

    may_report: list[TenantId] = Field(
        min_length=1, description="Tenants it may report; records of any other are refused and counted."
    )


class Oidc(Section):
    """The provider that issues tokens (JWT signed with RS256), when tenants.identify_by is oidc."""

    issuer_url: Url = Field(description="Issuer; its discovery document is read at start.")
    audience: str = Field(min_length=1, description="Audience a token must name.")
    tenant_claim: str = Field(
        "sub",
        min_length=1,
        description="Claim, a text, that names the tenant (`acme`, `acme.2`) or service (`svc-api`).",
    )


class Tenants(Section):
    """Who may send, and how that is known."""

    identify_by: Literal["none", "basic", "oidc"] = Field(
        "basic", description="none: everything belongs to one tenant named `default`."
    )
    credentials_file: str | None = Field(
        None, description="htpasswd file; `credentials.htpasswd` in THEODORE_OTEL_HOME when empty."
    )
    oidc: Oidc | None = Field(None, description="The token issuer, for identify_by: oidc.")
    defaults: TenantDefaults = Field(TenantDefaults(), description="What holds for a tenant that says nothing else.")
    list: dict[TenantId, Tenant] = Field({}, description="What differs for single tenants.")
    services: dict[ServiceId, TenantService] = Field({}, description="Services that work for many tenants.")

    @model_validator(mode="after")
    def _oidc_needs_an_issuer(self) -> Self:
        if self.identify_by == "oidc" and self.oidc is None:
            raise ValueError("expected tenants.oidc with issuer_url and audience, because identify_by is oidc")
        return self


class Deduplication(Section):
    """Equal records become one that says how many they were."""

    enabled: bool = Field(False, description="true joins equal records below WARN; audit and security never.")
    interval: Duration = Field("10s", validate_default=True, description="How long equal records are gathered.")


class Logging(Section):
    """Log levels and log sampling."""

    level: Level = Field("INFO", description="Least severe level that Theodore exports.")
    components: dict[str, Level] = Field({}, description="Level by component (logger name).")
    sampling: LogRates = Field(
        {}, description="Share of records kept by level; WARN and above, audit and security are always kept."
    )
    deduplicate: Deduplication = Field(Deduplication(), description="Joining of equal records.")
    correlation_header: str = Field(
        "X-Correlation-ID", pattern=r"^[A-Za-z0-9-]+$", description="HTTP header of the correlation id."
    )


class Slow(Section):
    """From which duration a span counts as slow."""

    ai: Duration = Field("30s", validate_default=True, description="Model calls.")
    scraping: Duration = Field("60s", validate_default=True, description="Page fetches.")
    storage: Duration = Field("5s", validate_default=True, description="Store operations.")
    research: Duration = Field("120s", validate_default=True, description="Whole researches.")


_USUAL_WAIT = timedelta(seconds=10)


class TraceSampling(Section):
    """Which traces are kept; decided in the collector once the whole trace is there."""

    rate: Rate = Field(0.1, description="Share of ordinary traces kept.")
    always: list[Literal["errors", "slow"]] = Field(["errors", "slow"], description="Traces kept whatever the rate.")
    slow: Slow = Field(Slow(), description="From which duration a span counts as slow.")
    decision_wait: Duration = Field(_USUAL_WAIT, description="How long the collector waits for a trace's spans.")
    max_traces: int = Field(
        50_000, ge=100, description="Traces that wait for a decision at most; then senders have to wait."
    )
    remembered_decisions: int = Field(
        100_000,
        ge=1_000,
        description="Latest decisions remembered for spans that come late, so many of each kind; 270 bytes each.",
    )
    max_spans_per_second: int | None = Field(
        None, ge=1, description="Most spans of ordinary traces kept each second; errors and slow ones come on top."
    )

    def warning(self) -> str | None:
        """Return what a wait below the default does not hold of what is promised; None where all of it holds."""
        kind, longest = max(((kind, value) for kind, value in self.slow), key=itemgetter(1))
        everything = self.rate >= 1 and self.max_spans_per_second is None
        if everything or "slow" not in self.always or self.decision_wait >= min(longest, _USUAL_WAIT):
            return None
        return (
            f"{self.decision_wait.total_seconds():g} s is shorter than slow.{kind} ({longest.total_seconds():g} s): "
            "slow and failed spans are kept all the same, but of a trace that takes longer than the wait the spans "
            "that ended before it may be left out"
        )


class Tracing(Section):
    """Traces."""

    sampling: TraceSampling = Field(TraceSampling(), description="Which traces are kept.")


class Metrics(Section):
    """Metrics from outside."""

    exponential_histograms: bool = Field(
        False,
        description="true takes exponential histograms of cumulative temporality; others are refused and counted.",
    )


class Redaction(Section):
    """What is masked before anything is stored or sent. Its lists add to the built-in ones; other lists replace."""

    mode: Literal["mask", "hash"] = Field(
        "mask",
        description="hash: a digest instead of the mask, by which equal secrets can be told without being known.",
    )
    hash_key: Secret | None = Field(
        None, description="What is put before a secret when it is hashed, by reference; needed for mode: hash."
    )
    extra_keys: list[str] = Field([], description="More words that make an attribute's value a secret.")
    except_keys: list[str] = Field([], description="Attribute names that are no secret although a word says so.")
    extra_values: dict[Name, str] = Field({}, description="More patterns (RE2) by name.")
    disable_presets: list[str] = Field([], description="Built-in value presets that are not wanted.")
    allow_attributes: list[str] = Field(
        [], description="Only these attributes and those of the registry leave the collector; all of them when empty."
    )

    @model_validator(mode="after")
    def _hashing_needs_a_key(self) -> Self:
        if self.mode == "hash" and self.hash_key is None:
            raise ValueError("expected redaction.hash_key such as {env: NAME}, because mode is hash")
        return self


class Query(Section):
    """Where `theodore-otel observability` looks."""

    prometheus: Url | None = Field(
        None, description="Base URL of the Prometheus that `observability health` asks; the local store when empty."
    )


class LocalStore(Section):
    """The local store."""

    keep: Duration = Field("7d", validate_default=True, description="Age at which telemetry is deleted.")
    size: Size = Field("2GiB", validate_default=True, description="Size at which the oldest is deleted.")


class Config(Section):
    """How Theodore is observed."""

    version: Literal[1] = Field(1, description="Version of this file's form.")
    service: Service = Field(Service(), description="What Theodore calls itself.")
    profile: Literal["local", "dev", "production"] = Field(
        "production",
        description="Layer of defaults below this file; local where neither it nor a destination is named.",
    )
    topology: Literal["single"] = Field("single", description="How many collectors share the work.")
    collector: Collector = Field(Collector(), description="The collector process.")
    tenants: Tenants = Field(Tenants(), description="Who may send, and how that is known.")
    logging: Logging = Field(Logging(), description="Log levels and log sampling.")
    tracing: Tracing = Field(Tracing(), description="Traces.")
    metrics: Metrics = Field(Metrics(), description="Metrics from outside.")
    redaction: Redaction = Field(Redaction(), description="What is masked before anything is stored or sent.")
    destinations: dict[Name, Destination] = Field({}, description="Where telemetry goes, by a name of your choice.")
    alerting: Alerting = Field(Alerting(), description="Alert rules and channels.")
    health: Health = Field(Health(), description="Health checks.")
    query: Query = Field(Query(), description="Where `observability` looks.")
    local: LocalStore = Field(LocalStore(), description="The local store.")
    helm: Helm = Field(Helm(), description="The collector in Kubernetes.")
    instrument: Instrument = Field(Instrument(), description="What happens inside Theodore's process.")

    @model_validator(mode="after")
    def _tenants_name_destinations_that_exist(self) -> Self:
        for tenant, differs in self.tenants.list.items():
            for name, selection in differs.destinations.items():
                self._check_selection(f"tenants.list.{tenant}.destinations", name, selection)
        return self

    def _check_selection(self, where: str, name: str, selection: Selection) -> None:
        if name not in self.destinations:
            known = ", ".join(self.destinations) or "none is configured"
            raise ValueError(f"{where}: expected names of destinations ({known}), got {name!r}")
        there = self.destinations[name].signals
        more = [signal for signal in selection.signals or () if signal not in there]
        if more:
            raise ValueError(f"{where}.{name}.signals: expected some of {', '.join(there)}, got {more[0]!r}")
