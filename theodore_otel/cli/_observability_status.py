"""`observability status`: is the collector well, does data arrive, do researches succeed?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.cli._io import format_option, note
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.otelcol.queues import Folder
    from theodore_otel.query import Status
    from theodore_otel.query.collector import CollectorStatus, Exporter

_EXIT = {"ok": 0, "degraded": 1, "down": 3}
_COLORS = {"ok": "green", "degraded": "yellow", "down": "red"}
_WINDOW = 3600 * common.SECOND
# The share of the alert rule high_error_rate: one failure among many researches is work as usual.
_FAILED_SHARE = 0.05
_FULL_SHARE = 0.8
_RECORDS = {"traces": "trace", "logs": "log record", "metrics": "metric point"}


@dataclass(frozen=True)
class Check:
    """How one part is."""

    component: str
    state: str
    """ok, degraded or down."""
    summary: str
    details: list[str] = field(default_factory=list)


@click.command()
@common.config_option
@click.option("--component", help="Only this part: collector, exporters, queues, store or research.")
@click.option("--detailed", is_flag=True, help="Every exporter, tenant and failed research.")
@click.option("--alerts-only", is_flag=True, help="Only what is not well.")
@format_option("table", "json", "yaml")
@click.pass_context
def command(
    ctx: click.Context,
    config_file: Path | None,
    component: str | None,
    detailed: bool,
    alerts_only: bool,
    output_format: str,
) -> None:
    """Say whether all is well. Exit code 0: yes, 1: something is degraded, 3: the collector is down."""
    from theodore_otel.query import collector

    where = common.addresses(config_file)
    held = common.store(config_file).status(time.time_ns() - _WINDOW)
    told = collector.ask(where.health, where.telemetry)
    checks = [*_collector(told, where), *_queues(common.queues(config_file)), _store(held), _research(held)]
    if component:
        checks = _chosen(checks, component)
    state = max((check.state for check in checks), key=lambda name: _EXIT[name])
    shown = [check for check in checks if check.state != "ok"] if alerts_only else checks
    if output_format == "table":
        _print_table(shown, detailed)
        if alerts_only and not shown:
            note("All is well.")
    else:
        _print_data(state, shown, held, output_format)
    ctx.exit(_EXIT[state])


def _chosen(checks: list[Check], component: str) -> list[Check]:
    chosen = [check for check in checks if check.component == component]
    if not chosen:
        known = ", ".join(check.component for check in checks)
        raise InputError(f"--component: expected one of {known}, got {component!r}")
    return chosen


def _collector(status: CollectorStatus, where: common.Addresses) -> Iterator[Check]:
    if not status.answers:
        hint = "start it with `theodore-otel stack up`"
        yield Check("collector", "down", f"nothing answers at http://{where.health}; {hint}")
        yield Check("exporters", "down", "the collector does not run")
        return
    if not status.telemetry:
        yield Check(
            "collector", "degraded", f"runs, but its own metrics do not answer at http://{where.telemetry}/metrics"
        )
        yield Check("exporters", "degraded", "unknown without the collector's own metrics")
        return
    state = "ok" if status.healthy and not sum(status.refused.values()) else "degraded"
    up = "" if status.uptime is None else f"up {common.duration(status.uptime * common.SECOND)}, "
    up = up if status.healthy else "not ready, "
    parts = [f"{up}accepted {_counts(status.accepted)}"]
    if sum(status.refused.values()):
        parts.append(f"refused {_counts(status.refused)} because it is full")
    if sum(status.rejected.values()):
        parts.append(f"rejected {sum(status.rejected.values()):,} for their credential or tenant")
    details = [f"rejected {number:,}: {reason}" for reason, number in sorted(status.rejected.items()) if number]
    yield Check("collector", state, "; ".join(parts), details)
    yield _exporters(status)


def _exporters(status: CollectorStatus) -> Check:
    troubles, details = _documents(status), []
    for name, exporter in sorted(status.exporters.items()):
        trouble = _trouble(exporter, status.uptime)
        if trouble:
            troubles.append(f"{common.clean(name)} {trouble}")
        queue = "" if exporter.queue is None else f", queue {exporter.queue:,.0f} of {exporter.capacity or 0:,.0f}"
        details.append(f"{common.clean(name)}: sent {_counts(exporter.sent)}{queue}{', ' + trouble if trouble else ''}")
    summary = "; ".join(troubles) if troubles else f"{len(status.exporters)} deliver, nothing failed"
    return Check("exporters", "degraded" if troubles else "ok", summary, details)


def _documents(status: CollectorStatus) -> list[str]:
    troubles = []
    if sum(status.refused_documents.values()):
        why = ", ".join(map(common.clean, sorted(status.refused_documents)))
        troubles.append(f"Elasticsearch refused {sum(status.refused_documents.values()):,} documents: {why}")
    if status.unanswered_documents:
        troubles.append(f"Elasticsearch said nothing of {status.unanswered_documents:,} documents")
    return troubles


def _trouble(exporter: Exporter, uptime: float | None) -> str:
    if sum(exporter.dropped.values()):
        return f"left out {_counts(exporter.dropped)}: its queue was full"
    if sum(exporter.failed.values()):
        return f"failed to send {_counts(exporter.failed)}"
    if exporter.queue and exporter.capacity and exporter.queue >= _FULL_SHARE * exporter.capacity:
        return f"has a queue that is {exporter.queue / exporter.capacity:.0%} full"
    return exporter.stuck(uptime)


def _queues(folder: Folder) -> Iterator[Check]:
    """Tell of queues on this machine that nobody empties; nothing where there is none."""
    from theodore_otel.otelcol import queues

    found = [queue for queue in folder.list() if queue.left_behind or queue.state == "damaged"]
    if found:
        details = [queues.told(queue) if queue.left_behind else f"{queue.file}: {queue.trouble}" for queue in found]
        yield Check("queues", "degraded", f"{len(found)} are not sent: theodore-otel queue list", details)


def _counts(counter: Counter[str]) -> str:
    words = [f"{number:,} {signal}" for signal, number in counter.items() if number]
    return ", ".join(words) or "nothing"


def _store(held: Status) -> Check:
    newest = max((signal.last for signal in held.signals.values() if signal.last), default=None)
    if newest is None:
        return Check("store", "ok", "empty: nothing has arrived yet")
    counts = ", ".join(
        f"{signal.records:,} {_RECORDS[name]}{'' if signal.records == 1 else 's'}"
        for name, signal in held.signals.items()
    )
    details = [f"last of {name}: {common.ago(signal.last)}" for name, signal in held.signals.items()]
    details.append(f"tenants: {', '.join(map(common.clean, held.tenants)) or 'none'}")
    return Check(
        "store",
        "ok",
        f"{counts} in the last hour; last data {common.ago(newest)}",
        details,
    )


def _research(held: Status) -> Check:
    if not held.researches:
        return Check("research", "ok", "none in the last hour")
    failed = f"{held.failures:,} of {held.researches:,} failed in the last hour"
    details = [
        f"{common.moment(one.time)} {common.clean(one.tenant)} {common.clean(one.company)}: "
        f"{common.clean(one.error or 'failed')} (trace {common.clean(one.trace_id[:16])})"
        for one in held.failed
    ]
    state = "degraded" if held.failures > _FAILED_SHARE * held.researches else "ok"
    return Check("research", state, failed, details)


def _print_table(checks: list[Check], detailed: bool) -> None:
    width = max([len("COMPONENT"), *(len(check.component) for check in checks)])
    if checks:
        click.echo(click.style(f"{'COMPONENT':{width}}  {'STATE':8}  SUMMARY", bold=True))
    for check in checks:
        state = click.style(f"{check.state:8}", fg=_COLORS[check.state])
        click.echo(f"{check.component:{width}}  {state}  {check.summary}")
        # What is not well explains itself; the rest only when asked.
        for detail in check.details if detailed or check.state != "ok" else ():
            click.echo(f"{'':{width}}            - {detail}")


def _print_data(state: str, checks: list[Check], held: Status, output_format: str) -> None:
    data: dict[str, Any] = {
        "state": state,
        "checks": [asdict(check) for check in checks],
        "tenants": list(held.tenants),
        "signals": {
            name: {"last_hour": signal.records, "last": common.iso(signal.last) if signal.last else None}
            for name, signal in held.signals.items()
        },
        "researches": {"last_hour": held.researches, "failed": held.failures},
        "failed_researches": [asdict(one) | {"time": common.iso(one.time)} for one in held.failed],
    }
    common.print_data(data, output_format)
