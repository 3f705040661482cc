"""Which exporters the collector has: one for each destination, and own ones for tenants that are dedicated."""

from __future__ import annotations

from dataclasses import dataclass

from theodore_otel.config.base import Signal
from theodore_otel.config.destinations import AnyDestination
from theodore_otel.config.guarantees import guarantee
from theodore_otel.config.model import Config

COMPONENTS = {
    "otlp": "otlp",
    "jaeger": "otlp",
    "zipkin": "zipkin",
    "prometheus": "prometheus",
    "elasticsearch": "elasticsearch",
    "datadog": "datadog",
    "newrelic": "otlphttp",
    "splunk": "splunk_hec",
    "siem": "syslog",
    "kafka": "kafka",
    "s3": "awss3",
    "file": "file",
    "local": "file",
    "console": "debug",
}
# These write one file for each signal.
_BY_SIGNAL = ("file", "local")


@dataclass(frozen=True)
class Exporter:
    """One exporter of the collector."""

    id: str
    """Its id in the collector, such as `elasticsearch/es` or, a dedicated tenant's own, `elasticsearch/es.acme`."""
    destination: str
    """Name of the destination in the configuration."""
    signals: tuple[Signal, ...]
    tenant: str | None
    """The dedicated tenant whose own it is; None for one that tenants share."""
    audit: bool = False
    """Whether it takes audit and security records alone, whose queue makes senders wait when it is full."""


def exporters(config: Config) -> list[Exporter]:
    """Return every exporter that the configuration can need, in the file's order, shared ones first."""
    result: list[Exporter] = []
    for tenant in (None, *dedicated_tenants(config)):
        for name, destination in config.destinations.items():
            if tenant is None or has_own(destination):
                result += _of(name, destination, tenant)
    return result


def dedicated_tenants(config: Config) -> list[str]:
    """Return the tenants with own sampler, queues, data streams and exporters."""
    general = config.tenants.defaults.isolation
    return [name for name, tenant in config.tenants.list.items() if (tenant.isolation or general) == "dedicated"]


def has_own(destination: AnyDestination) -> bool:
    """Say whether a dedicated tenant gets an exporter of its own: not where all tenants share one port or one store."""
    return not (destination.type in ("local", "console") or scraped(destination))


def scraped(destination: AnyDestination) -> bool:
    """Say whether the destination is an endpoint that Prometheus scrapes."""
    return destination.type == "prometheus" and destination.endpoint is None


def listeners(config: Config) -> dict[str, str]:
    """Return where the collector listens, `host:port` by the key of `collector.listen`."""
    used = config.collector.listen.model_dump()
    if not any(scraped(destination) for destination in config.destinations.values()):
        del used["metrics"]
    return used


def sets_audit_apart(destination: AnyDestination) -> bool:
    """Say whether audit and security records have a queue of their own, that nothing else fills."""
    return "logs" in destination.signals and guarantee(destination, "logs").queue == "disk"


def exporter_id(
    name: str, destination: AnyDestination, signal: Signal, tenant: str | None, *, audit: bool = False
) -> str:
    """Return the id of the exporter that takes a signal to a destination.

    No two are equal: no name holds a dot, and no tenant is written in capitals.
    """
    parts = [name, tenant if tenant and has_own(destination) else None]
    parts.append(signal if destination.type in _BY_SIGNAL else None)
    parts.append("AUDIT" if audit else None)
    return f"{_component(destination)}/{'.'.join(part for part in parts if part)}"


def _component(destination: AnyDestination) -> str:
    over_http = (destination.type == "otlp" and destination.protocol == "http") or (
        destination.type == "prometheus" and not scraped(destination)
    )
    return "otlphttp" if over_http else COMPONENTS[destination.type]


def _of(name: str, destination: AnyDestination, tenant: str | None) -> list[Exporter]:
    ids: dict[str, list[Signal]] = {}
    for signal in destination.signals:
        ids.setdefault(exporter_id(name, destination, signal, tenant), []).append(signal)
    found = [Exporter(each, name, tuple(signals), tenant) for each, signals in ids.items()]
    if sets_audit_apart(destination):
        found.append(
            Exporter(exporter_id(name, destination, "logs", tenant, audit=True), name, ("logs",), tenant, True)
        )
    return found
