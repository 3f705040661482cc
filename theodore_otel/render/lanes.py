"""Lanes: which tenants go which way to which destinations, once their telemetry is redacted.

Everybody takes the shared lane, unless the configuration gives a tenant an isolation of its own (a lane for it alone,
with its own sampler, counters and exporters) or a choice of destinations (a lane for all tenants that chose alike).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from theodore_otel.config.base import Category, Signal
from theodore_otel.config.destinations import Selection
from theodore_otel.config.guarantees import guarantee
from theodore_otel.config.model import Config
from theodore_otel.render.exporters import dedicated_tenants, exporter_id, has_own, sets_audit_apart

SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")
Flow = Literal["traces", "logs", "audit", "metrics"]
"""What goes its own way: a signal, and of the logs the audit and security records."""
FLOWS: tuple[Flow, ...] = get_args(Flow)
ROOM_ON_DISK = 1.8
"""A queue's file grows to this many times what it holds: its pages have gaps."""
AUDIT: tuple[Category, ...] = ("audit", "security")
_ORDINARY = tuple(category for category in get_args(Category) if category not in AUDIT)
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
    """The way of one flow to one destination."""

    name: str
    """The destination, and behind a dot the tenant or lane whose own way this is."""
    flow: Flow
    exporter: str
    kind: str
    """The destination's type."""
    categories: tuple[str, ...] | None
    """Log categories that pass; None: all of the flow."""
    shaped: bool
    """Whether the destination wants the data in another shape."""
    queued: bool
    """Whether what is accepted waits on disk."""

    @property
    def signal(self) -> Signal:
        """Return the signal that the flow is, or is a part of."""
        return "logs" if self.flow == "audit" else self.flow

    @property
    def waits(self) -> bool:
        """Say whether senders wait when the queue is full; everything else is left out at this destination then."""
        return self.flow == "audit" and self.queued

    @property
    def drops(self) -> bool:
        """Say whether a full queue leaves out what comes, rather than hold up every other destination."""
        return self.queued and not self.waits

    @property
    def destination(self) -> str:
        """Return the destination's name."""
        return self.name.partition(".")[0]

    @property
    def has_pipeline(self) -> bool:
        """Say whether something stands between the lane and the exporter."""
        return self.shaped or self.categories is not None

    @property
    def key(self) -> str:
        """Return what the ids of its own components end in."""
        return f"{self.flow}.{self.name}"

    @property
    def pipeline(self) -> str:
        """Return the id of its own pipeline."""
        return f"{self.signal}/{'audit' if self.flow == 'audit' else 'dest'}.{self.name}"

    @property
    def entry(self) -> str:
        """Return what the lane's pipeline exports to."""
        return f"forward/{self.key}" if self.has_pipeline else self.end

    @property
    def end(self) -> str:
        """Return what takes it to the destination: the exporter, or what asks its queue whether there is room."""
        return f"failover/{self.key}" if self.drops else self.exporter

    @property
    def queue_pipeline(self) -> str:
        """Return the id of the pipeline in front of the queue."""
        return f"{self.signal}/queue.{self.name}"

    @property
    def full_pipeline(self) -> str:
        """Return the id of the pipeline that takes what a full queue does not."""
        return f"{self.signal}/full.{self.name}"

    @property
    def full_exporter(self) -> str:
        """Return the id of the exporter that counts what a full queue did not take, and throws it away."""
        return f"file/full.{self.exporter.partition('/')[2]}"


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

    def entries(self, flow: Flow) -> list[str]:
        """Return where its pipeline of a flow exports to."""
        return [outlet.entry for outlet in self.outlets if outlet.flow == flow]

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


def queues(config: Config) -> list[Outlet]:
    """Return the ways that have a queue on disk, each queue once: one for each exporter and signal."""
    found = {(outlet.exporter, outlet.signal): outlet for outlet in outlets(lanes(config)) if outlet.queued}
    return list(found.values())


def outlets(all_lanes: list[Lane]) -> list[Outlet]:
    """Return every way, each once."""
    return list(dict.fromkeys(outlet for lane in all_lanes for outlet in lane.outlets))


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
    for destination in config.destinations:
        selection = chosen.get(destination)
        if selection is None:
            continue
        found += _outlets(config, name, destination, selection, own)
    return Lane(name, tenants, own is not None, tuple(found))


def _outlets(config: Config, lane: str, name: str, selection: Selection, own: str | None) -> Iterator[Outlet]:
    destination = config.destinations[name]
    chosen = selection.categories or destination.categories
    for flow in FLOWS:
        signal: Signal = "logs" if flow == "audit" else flow
        passing = _passing(flow, chosen)
        if signal not in (selection.signals or destination.signals) or passing == ():
            continue
        where = own if own and has_own(destination) else None
        if signal == "logs" and chosen != destination.categories:
            where = where or lane
        queued = guarantee(destination, signal).queue != "none"
        apart = flow == "audit" and sets_audit_apart(destination)
        yield Outlet(
            name=f"{name}.{where}" if where else name,
            flow=flow,
            exporter=exporter_id(name, destination, signal, own, audit=apart),
            kind=destination.type,
            categories=passing,
            shaped=signal in _SHAPED.get(destination.type, ()),
            queued=queued,
        )


def _passing(flow: Flow, chosen: Sequence[str]) -> tuple[str, ...] | None:
    """Return which of a flow's categories of log records were chosen; None: all of them."""
    possible = {"logs": _ORDINARY, "audit": AUDIT}.get(flow)
    if possible is None or "all" in chosen:
        return None
    passing = tuple(category for category in chosen if category in possible)
    return None if set(passing) == set(possible) else passing
