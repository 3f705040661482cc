"""`observability health`: are the collector and what it watches well, and when did commands last run well?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.cli._io import format_option, note
from theodore_otel.errors import DownError

if TYPE_CHECKING:
    from theodore_otel.query.collector import CollectorStatus
    from theodore_otel.query.health import HealthSource, LastRun, TargetHealth

_EXIT = {"ok": 0, "degraded": 1, "down": 3}
_COLORS = {"up": "green", "down": "red", "unknown": "yellow"}
_LOOKED_BACK = "24h"
_COLLECTOR = "collector"


@dataclass(frozen=True)
class Row:
    """How one target is; times in nanoseconds."""

    target: str
    state: str
    """up, down, or unknown: nobody has asked it lately."""
    since: int | None
    checked: int | None
    remark: str = ""


@dataclass(frozen=True)
class Found:
    """What a place that holds health says."""

    targets: list[TargetHealth]
    runs: list[LastRun]
    trouble: str | None = None
    """Why it could not be asked."""


@click.command()
@common.config_option
@click.option(
    "--prometheus", metavar="URL", help="Ask this Prometheus.  [default: query.prometheus, else the local store]"
)
@click.option("--tenant", help="Only the last good runs of this tenant.")
@click.option("--since", default="7d", show_default=True, help="How far back last good runs are looked for.")
@format_option("table", "json", "yaml")
@click.pass_context
def command(
    ctx: click.Context,
    config_file: Path | None,
    prometheus: str | None,
    tenant: str | None,
    since: str,
    output_format: str,
) -> None:
    """Say whether the collector, the backends and Theodore are well, and when each command last ran well.

    Exit code 0: all is well, 1: something is down or unknown, 3: the collector is down.
    """
    from theodore_otel.query import collector

    where = common.addresses(config_file)
    source = common.health_source(config_file, prometheus)
    found = _ask(source, common.since(since) or 0, tenant)
    status = collector.ask(where.health, where.telemetry)
    rows = [_collector(status, where.health), *_stuck(status), *_targets(found, status.answers)]
    state = _state(rows, found) if status.answers else "down"
    if output_format == "table":
        _print_table(rows, found, since)
    else:
        _print_data(state, rows, found, output_format)
    if found.trouble:
        note(f"error: {common.clean(found.trouble)}")
    elif not found.targets:
        note("No target was asked yet: the collector does so where a destination takes metrics (docs/health.md).")
    ctx.exit(_EXIT[state])


def _ask(source: HealthSource, since: int, tenant: str | None) -> Found:
    try:
        targets = source.health(common.since(_LOOKED_BACK) or 0)
        runs = [run for run in source.last_runs(since) if tenant in (None, run.tenant)]
    except DownError as error:
        # How the collector is can be said all the same.
        return Found([], [], str(error))
    return Found(targets, runs)


def _collector(status: CollectorStatus, address: str) -> Row:
    """Return how the collector says it is: where it is down, nobody else could say so."""
    now = time.time_ns()
    if not status.answers:
        return Row(_COLLECTOR, "down", None, now, f"nothing answers at http://{address}")
    since = now - int(status.uptime * common.SECOND) if status.uptime is not None else None
    if not status.healthy:
        return Row(_COLLECTOR, "down", since, now, "runs, but is not ready")
    return Row(_COLLECTOR, "up", since, now)


def _stuck(status: CollectorStatus) -> list[Row]:
    """Return the exporters that nothing gets through: the collector is well all the same, as it sees itself."""
    told = ((name, exporter.stuck(status.uptime)) for name, exporter in sorted(status.exporters.items()))
    return [Row(name, "down", None, time.time_ns(), trouble) for name, trouble in told if trouble]


def _targets(found: Found, asking: bool) -> list[Row]:
    from theodore_otel.query.health import STALE

    horizon = time.time_ns() - STALE
    rows = []
    for each in found.targets:
        if each.target == _COLLECTOR:
            continue
        state = "up" if each.up else "down"
        if asking and each.checked > horizon:
            rows.append(Row(each.target, state, each.since, each.checked))
        else:
            rows.append(Row(each.target, "unknown", None, each.checked, f"was {state} when it was asked last"))
    return rows


def _state(rows: list[Row], found: Found) -> str:
    well = all(row.state == "up" for row in rows) and found.targets and not found.trouble
    return "ok" if well else "degraded"


def _print_table(rows: list[Row], found: Found, since: str) -> None:
    names = [common.clean(row.target) for row in rows]
    width = max(len("TARGET"), *map(len, names))
    click.echo(click.style(f"{'TARGET':{width}}  {'STATE':7}  {'SINCE':16}  LAST CHECKED", bold=True))
    for name, row in zip(names, rows, strict=True):
        state = click.style(f"{row.state:7}", fg=_COLORS[row.state])
        remark = f"  ({row.remark})" if row.remark else ""
        click.echo(f"{name:{width}}  {state}  {_since(row):16}  {_checked(row)}{remark}")
    if found.trouble:
        return
    click.echo()
    if not found.runs:
        click.echo(f"No command ran well in the last {since}.")
        return
    _print_runs(found.runs)


def _since(row: Row) -> str:
    if row.since is not None:
        return common.ago(row.since)
    return "-" if row.state == "unknown" or row.target == _COLLECTOR else f"over {_LOOKED_BACK} ago"


def _checked(row: Row) -> str:
    return "now" if row.target == _COLLECTOR else common.ago(row.checked)


def _print_runs(runs: list[LastRun]) -> None:
    cells = [("LAST GOOD RUN OF", "TENANT", "ENDED (UTC)", "AGE")]
    cells += [
        (common.clean(run.command), common.clean(run.tenant), common.moment(run.ended), common.ago(run.ended))
        for run in runs
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def _print_data(state: str, rows: list[Row], found: Found, output_format: str) -> None:
    now = time.time_ns()
    data: dict[str, Any] = {
        "state": state,
        "targets": [
            {
                "target": row.target,
                "state": row.state,
                "since": _iso(row.since),
                "checked": _iso(row.checked),
                "remark": row.remark or None,
            }
            for row in rows
        ],
        "last_good_runs": [
            {
                "tenant": run.tenant,
                "command": run.command,
                "ended": _iso(run.ended),
                "age_seconds": round((now - run.ended) / common.SECOND, 3),
            }
            for run in found.runs
        ],
        "trouble": found.trouble,
    }
    common.print_data(data, output_format)


def _iso(moment: int | None) -> str | None:
    return common.iso(moment) if moment is not None else None
