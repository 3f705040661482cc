"""Where telemetry goes: one model per type of destination."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from theodore_otel.config.base import Address, Category, HostPort, Secret, Section, Signal, Tls, Url
from theodore_otel.config.units import Duration, Size

_ALL: list[Signal] = ["traces", "logs", "metrics"]
Categories = Annotated[list[Literal["all"] | Category], Field(min_length=1)]


class _Destination(Section):
    takes: ClassVar[tuple[Signal, ...]] = ("traces", "logs", "metrics")
    """Signals that this type can take."""

    signals: list[Signal] = Field(_ALL, min_length=1, description="Signals that are sent there.")
    categories: Categories = Field(["all"], description="Categories of log records that are sent there.")

    @model_validator(mode="after")
    def _takes_what_it_is_sent(self) -> Self:
        refused = [signal for signal in self.signals if signal not in self.takes]
        if refused:
            kind = type(self).model_fields["type"].annotation
            name = getattr(kind, "__args__", ("this type",))[0]
            raise ValueError(f"signals: {name} takes {', '.join(self.takes)} only, got {refused[0]!r}")
        return self


class Otlp(_Destination):
    """Any OTLP endpoint."""

    type: Literal["otlp"]
    endpoint: Address = Field(description="host:port for grpc, a base URL for http.")
    protocol: Literal["grpc", "http"] = Field("grpc", description="Wire protocol.")
    headers: dict[str, Secret] = Field({}, description="Headers, by reference.")
    tls: Tls = Field(Tls(), description="TLS of the connection.")


class Jaeger(_Destination):
    """Jaeger, over OTLP gRPC."""

    takes: ClassVar[tuple[Signal, ...]] = ("traces",)
    type: Literal["jaeger"]
    endpoint: HostPort = Field(description="host:port of Jaeger's OTLP gRPC listener.")
    tls: Tls = Field(Tls(enabled=False), description="TLS of the connection.")
    signals: list[Signal] = Field(["traces"], min_length=1, description="Jaeger takes traces only.")


class Zipkin(_Destination):
    """Zipkin, API version 2."""

    takes: ClassVar[tuple[Signal, ...]] = ("traces",)
    type: Literal["zipkin"]
    endpoint: Url = Field(description="Address of its span API.", examples=["http://zipkin:9411/api/v2/spans"])
    tls: Tls = Field(Tls(), description="TLS of the connection.")
    signals: list[Signal] = Field(["traces"], min_length=1, description="Zipkin takes traces only.")


class Prometheus(_Destination):
    """Prometheus 3: pushed to over OTLP, or an endpoint that it scrapes."""

    takes: ClassVar[tuple[Signal, ...]] = ("metrics",)
    type: Literal["prometheus"]
    endpoint: Url | None = Field(
        None,
        description="Base URL of a Prometheus with --web.enable-otlp-receiver; when empty, it has to scrape "
        "collector.listen.metrics.",
    )
    out_of_order_window: Duration = Field(
        "30m",
        validate_default=True,
        description="What its storage.tsdb.out_of_order_time_window is. For one point that is older it refuses all "
        "that is sent with it, so that such a point is refused here, and counted.",
    )
    tls: Tls = Field(Tls(), description="TLS of the connection.")
    signals: list[Signal] = Field(["metrics"], min_length=1, description="Prometheus takes metrics only.")


class Elasticsearch(_Destination):
    """Elasticsearch data streams, one per log category and retention class."""

    type: Literal["elasticsearch"]
    endpoints: list[Url] = Field(min_length=1, description="Base URLs of the cluster.")
    api_key: Secret | None = Field(None, description="API key, by reference.")
    mapping: Literal["otel", "ecs"] = Field("otel", description="How documents are shaped.")
    tls: Tls = Field(Tls(), description="TLS of the connection.")
    signals: list[Signal] = Field(["traces", "logs"], min_length=1, description="Signals that are sent there.")

    @model_validator(mode="after")
    def _metrics_need_otel(self) -> Self:
        if self.mapping == "ecs" and "metrics" in self.signals:
            raise ValueError("signals: metrics need `mapping: otel`, got mapping 'ecs'")
        return self


class Datadog(_Destination):
    """Datadog: traces, logs, metrics, and APM statistics counted before sampling."""

    type: Literal["datadog"]
    site: str = Field("datadoghq.com", pattern=r"^[a-z0-9.-]+$", description="Datadog site.")
    api_key: Secret = Field(description="API key, by reference.")
    endpoint: Url | None = Field(None, description="Base URL in the place of the site's own, for a proxy.")


class NewRelic(_Destination):
    """New Relic, over OTLP."""

    type: Literal["newrelic"]
    region: Literal["us", "eu"] = Field("us", description="Where the account is.")
    license_key: Secret = Field(description="Licence key, by reference.")
    endpoint: Url | None = Field(None, description="Base URL in the place of the region's own, for a proxy.")


class Splunk(_Destination):
    """Splunk's HTTP event collector."""

    type: Literal["splunk"]
    endpoint: Url = Field(description="Address.", examples=["https://splunk:8088/services/collector"])
    token: Secret = Field(description="HEC token, by reference.")
    index: str | None = Field(None, min_length=1, description="Index; the token's default when empty.")
    source: str = Field("theodore", min_length=1, description="Source of the events.")
    sourcetype: str = Field("otel", min_length=1, description="Source type of the events.")
    tls: Tls = Field(Tls(), description="TLS of the connection.")


class Siem(_Destination):
    """A SIEM that takes syslog, RFC 5424."""

    takes: ClassVar[tuple[Signal, ...]] = ("logs",)
    type: Literal["siem"]
    endpoint: HostPort = Field(description="host:port.")
    network: Literal["tcp", "udp"] = Field("tcp", description="tcp counts octets (RFC 6587); udp loses what is lost.")
    tls: Tls = Field(Tls(), description="TLS of a tcp connection.")
    signals: list[Signal] = Field(["logs"], min_length=1, description="Syslog takes logs only.")
    categories: Categories = Field(["audit", "security"], description="Categories of log records that are sent there.")


class KafkaTopics(Section):
    """Topics by signal; a dedicated tenant has its own, with `.TENANT` behind the name."""

    traces: str = Field("theodore.traces", min_length=1, description="Topic of traces.")
    logs: str = Field("theodore.logs", min_length=1, description="Topic of logs.")
    metrics: str = Field("theodore.metrics", min_length=1, description="Topic of metrics.")


class Sasl(Section):
    """How to log in to Kafka."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("SCRAM-SHA-512", description="Mechanism.")
    username: Secret = Field(description="User name, by reference.")
    password: Secret = Field(description="Password, by reference.")


class Kafka(_Destination):
    """Kafka topics with OTLP protobuf messages; a trace stays in one partition."""

    type: Literal["kafka"]
    brokers: list[HostPort] = Field(min_length=1, description="Bootstrap brokers.")
    topics: KafkaTopics = Field(KafkaTopics(), description="Topics by signal.")
    tls: Tls = Field(Tls(enabled=False), description="TLS of the connection.")
    sasl: Sasl | None = Field(None, description="How to log in.")


class S3(_Destination):
    """Objects of OTLP JSON in a bucket; credentials come from the AWS environment of the collector."""

    type: Literal["s3"]
    bucket: str = Field(min_length=3, description="Bucket.")
    region: str = Field(min_length=1, description="Region.")
    prefix: str = Field("theodore", description="Prefix of every key.")
    endpoint: Url | None = Field(None, description="Address of another service that speaks S3.")
    path_style: bool = Field(False, description="true puts the bucket into the path, as other services want it.")
    every: Duration = Field("60s", validate_default=True, description="How long an object is filled.")


class File(_Destination):
    """Rotated files of OTLP JSON, one per signal."""

    type: Literal["file"]
    directory: str = Field(min_length=1, description="Folder that takes traces.jsonl, logs.jsonl and metrics.jsonl.")
    max_size: Size = Field("100MB", validate_default=True, ge=10**6, description="A file is rotated at this size.")
    backups: int = Field(5, ge=1, description="Rotated files that are kept.")


class Local(_Destination):
    """The local store that `theodore-otel observability` reads; how long it keeps is `local.keep` and `local.size`."""

    type: Literal["local"]


class Console(_Destination):
    """The collector's own output, for a look."""

    type: Literal["console"]
    verbosity: Literal["basic", "normal", "detailed"] = Field("basic", description="How much is printed.")


AnyDestination = (
    Otlp
    | Jaeger
    | Zipkin
    | Prometheus
    | Elasticsearch
    | Datadog
    | NewRelic
    | Splunk
    | Siem
    | Kafka
    | S3
    | File
    | Local
    | Console
)
Destination = Annotated[AnyDestination, Field(discriminator="type")]


class Selection(Section):
    """What one tenant sends to a destination."""

    signals: list[Signal] | None = Field(None, min_length=1, description="Signals; the destination's when empty.")
    categories: Categories | None = Field(None, description="Log categories; the destination's when empty.")


def selected(value: Any) -> Any:
    """Let a list of destinations stand for a mapping without further choices."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    return value
