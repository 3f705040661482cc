"""Where telemetry goes: one model per type of destination."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from theodore_otel.config.base import HostPort, Secret, Section, Signal, Tls
from theodore_otel.config.units import Size

_ALL: list[Signal] = ["traces", "logs", "metrics"]


class _Destination(Section):
    signals: list[Signal] = Field(_ALL, description="Signals that are sent there.")


class Otlp(_Destination):
    """Any OTLP endpoint."""

    type: Literal["otlp"]
    endpoint: str = Field(description="host:port for grpc, a base URL for http.")
    protocol: Literal["grpc", "http"] = Field("grpc", description="Wire protocol.")
    headers: dict[str, Secret] = Field({}, description="Headers, by reference.")
    tls: Tls = Field(Tls(), description="TLS of the connection.")


class Jaeger(_Destination):
    """Jaeger, over OTLP gRPC."""

    type: Literal["jaeger"]
    endpoint: HostPort = Field(description="host:port of Jaeger's OTLP gRPC listener.")
    tls: Tls = Field(Tls(enabled=False), description="TLS of the connection.")
    signals: list[Signal] = Field(["traces"], description="Jaeger takes traces only.")


class PrometheusScrape(_Destination):
    """An endpoint that Prometheus scrapes; it listens at collector.listen.metrics."""

    type: Literal["prometheus"]
    signals: list[Signal] = Field(["metrics"], description="Prometheus takes metrics only.")


class Elasticsearch(_Destination):
    """Elasticsearch data streams."""

    type: Literal["elasticsearch"]
    endpoints: list[str] = Field(min_length=1, description="Base URLs of the cluster.")
    api_key: Secret | None = Field(None, description="API key, by reference.")
    mapping: Literal["otel", "ecs"] = Field("otel", description="How documents are shaped.")
    tls: Tls = Field(Tls(), description="TLS of the connection.")
    signals: list[Signal] = Field(["traces", "logs"], description="Signals that are sent there.")


class Datadog(_Destination):
    """Datadog."""

    type: Literal["datadog"]
    site: str = Field("datadoghq.com", description="Datadog site.")
    api_key: Secret = Field(description="API key, by reference.")


class File(_Destination):
    """Rotated files of OTLP JSON, one per signal."""

    type: Literal["file"]
    directory: str = Field(description="Folder that takes traces.jsonl, logs.jsonl and metrics.jsonl.")
    max_size: Size = Field(100 * 10**6, description="A file is rotated at this size.")
    backups: int = Field(5, ge=1, description="Rotated files that are kept.")


class Local(_Destination):
    """The local store that `theodore-otel observability` reads; how long it keeps is `local.keep` and `local.size`."""

    type: Literal["local"]


class Console(_Destination):
    """The collector's own output, for a look."""

    type: Literal["console"]
    verbosity: Literal["basic", "normal", "detailed"] = Field("basic", description="How much is printed.")


Destination = Annotated[
    Otlp | Jaeger | PrometheusScrape | Elasticsearch | Datadog | File | Local | Console,
    Field(discriminator="type"),
]
