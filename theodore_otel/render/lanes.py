"""Lanes: which tenants go which way to which destinations, once their telemetry is redacted.

Everybody takes the shared lane, unless the configuration gives a tenant an isolation of its own (a lane for it alone,
with its own sampler, counters and exporters) or a choice of destinations (a lane for all tenants that chose alike).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from theodore_otel.config.base import Signal
from theodore_otel.config.destinations import Selection
from theodore_otel.config.model import Config
from theodore_otel.render.exporters import dedicated_tenants, exporter_id, has_own

SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")
# Signals that a type of destination wants in another shape, and the processor that gives it.
_SHAPED = {
    "elasticsearch": SIGNALS,
    "siem": ("logs",),
    "splunk": SIGNALS,
    "datadog": SIGNALS,
    "jaeger": ("traces",),
    "prometheus": ("metrics",),
    "zipkin": ("traces",),
}


@dataclass(frozen=True)
class Outlet:
    """The way of one signal to one destination."""

    name: str
    """The destination, and behind a dot the tenant or lane whose own way this is."""
    signal: Signal
    exporter: str
    kind: str
    """The destination's type."""
    categories: tuple[str, ...] | None
    """Log categories that pass; None: all."""
    shaped: bool
    """Whether the destination wants the data in another shape."""

    @property
    def destination(self) -> str:
        """Return the destination's name."""
        return self.name.partition(".")[0]

    @property
    def has_pipeline(self) -> bool:
        """Say whether something stands between the lane and the exporter."""
        return self.shaped or self.categories is not None

    @property
    def pipeline(self) -> str:
        """Return the id of its own pipeline."""
        return f"{self.signal}/dest.{self.name}"

    @property
    def entry(self) -> str:
        """Return what the lane's pipeline exports to: the connector to the own pipeline, or the exporter."""
        return f"forward/{self.signal}.dest.{self.name}" if self.has_pipeline else self.exporter


@dataclass(frozen=True)
class Lane:
    """One way through the collector."""

    name: str
    """A dedicated tenant's id, `group-1` ... for shared tenants that chose alike, empty for everybody else."""
    tenants: tuple[str, ...]
    dedicated: bool
    outlets: tuple[Outlet, ...]

    @property
    def suffix(self) -> str:
        """Return what its pipelines' names end in."""
        return f".{self.name}" if self.name else ""

    @property
    def component(self) -> str:
        """Return what the ids of its own components end in."""
        return f"/{self.name}" if self.name else ""

    def entries(self, signal: Signal) -> list[str]:
        """Return where its pipeline of a signal exports to."""
        return [outlet.entry for outlet in self.outlets if outlet.signal == signal]

    @property
    def datadog(self) -> tuple[Outlet, ...]:
        """Return the ways that want APM statistics: Datadog with traces, which has to take metrics too."""
        wanted = {outlet.name for outlet in self.outlets if outlet.kind == "datadog" and outlet.signal == "traces"}
        return tuple(o for o in self.outlets if o.name in wanted and o.kind == "datadog" and o.signal == "metrics")


def lanes(config: Config) -> list[Lane]:
    """Return every lane, the shared one first."""
    dedicated = dedicated_tenants(config)
    everything: Mapping[str, Selection] = {name: Selection() for name in config.destinations}
    result = [_lane(config, "", (), everything, own=None)]
    for tenant in dedicated:
        chosen = config.tenants.list[tenant].destinations or everything
        result.append(_lane(config, tenant, (tenant,), chosen, own=tenant))
    for number, (chosen, tenants) in enumerate(_alike(config, dedicated), 1):
        result.append(_lane(config, f"group-{number}", tuple(tenants), chosen, own=None))
    return result


def outlets(all_lanes: list[Lane]) -> list[Outlet]:
    """Return every way that has a pipeline of its own, each once."""
    found = [outlet for lane in all_lanes for outlet in lane.outlets if outlet.has_pipeline]
    return list(dict.fromkeys(found))


def _alike(config: Config, dedicated: list[str]) -> list[tuple[Mapping[str, Selection], list[str]]]:
    """Put shared tenants with the same choice of destinations together."""
    groups: dict[str, tuple[Mapping[str, Selection], list[str]]] = {}
    for name, tenant in config.tenants.list.items():
        if tenant.destinations and name not in dedicated:
            key = repr(sorted((each, choice.model_dump_json()) for each, choice in tenant.destinations.items()))
            groups.setdefault(key, (tenant.destinations, []))[1].append(name)
    return list(groups.values())


def _lane(
    config: Config, name: str, tenants: tuple[str, ...], chosen: Mapping[str, Selection], own: str | None
) -> Lane:
    found: list[Outlet] = []
    for destination_name, destination in config.destinations.items():
        selection = chosen.get(destination_name)
        if selection is None:
            continue
        categories = selection.categories or destination.categories
        for signal in selection.signals or destination.signals:
            passing = None if "all" in categories or signal != "logs" else tuple(categories)
            where = own if own and has_own(destination) else None
            if passing and categories != destination.categories:
                where = where or name
            found.append(
                Outlet(
                    name=f"{destination_name}.{where}" if where else destination_name,
                    signal=signal,
                    exporter=exporter_id(destination_name, destination, signal, own),
                    kind=destination.type,
                    categories=passing,
                    shaped=signal in _SHAPED.get(destination.type, ()),
                )
            )
    return Lane(name, tenants, own is not None, tuple(found))
