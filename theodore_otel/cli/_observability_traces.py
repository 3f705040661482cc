"""`observability traces`: a list, or one trace as a tree."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.cli._io import format_option, note, print_json, print_table
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.query import Trace, TraceSummary

_SHORT_ID = 16


@click.command()
@click.argument("trace_id", required=False, metavar="[ID]")
@common.config_option
@click.option("--tenant", help="Only this tenant's.")
@click.option("--status", type=click.Choice(["ok", "error", "incomplete"]), help="Only traces that ended so.")
@click.option("--company", help="Only traces of companies with this in their name.")
@click.option("--since", metavar="DURATION", help="Only traces of so long ago or less, for instance 30m or 1h.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@format_option("table", "json")
def command(
    trace_id: str | None,
    config_file: Path | None,
    tenant: str | None,
    status: str | None,
    company: str | None,
    since: str | None,
    limit: int,
    output_format: str,
) -> None:
    """List the newest traces; with an ID, or its beginning, show that one as a tree."""
    from theodore_otel.query import TraceQuery

    query = TraceQuery(since=common.since(since), tenant=tenant, status=status, company=company, limit=limit)
    source = common.store(config_file)
    if trace_id is None:
        _print_list(source.traces(query), output_format, bool(tenant or status or company or since))
        return
    trace = source.trace(trace_id)
    if trace is None:
        raise InputError(
            f"no trace begins with {trace_id!r}; `theodore-otel observability traces` lists those there are"
        )
    _print_one(trace, output_format)


def _print_list(traces: list[TraceSummary], output_format: str, filtered: bool) -> None:
    if output_format == "json":
        print_json([_listed(trace) for trace in traces])
        return
    if not traces:
        note("No trace matches." if filtered else common.EMPTY)
        return
    header = ["trace", "time (UTC)", "tenant", "name", "company", "status", "duration", "spans", "tokens", "cost"]
    print_table(header, [_row(trace) for trace in traces])
    for reason in sorted({trace.reason for trace in traces if trace.reason}):
        note(f"incomplete: {reason}")
    note("Show one as a tree: theodore-otel observability traces TRACE")


def _row(trace: TraceSummary) -> list[object]:
    status = trace.status
    if status == "ok" and trace.errors:
        status = f"ok ({trace.errors} error{'s' if trace.errors > 1 else ''} inside)"
    return [
        common.clean(trace.trace_id[:_SHORT_ID]),
        common.moment(trace.time),
        common.clean(trace.tenant),
        common.clean(trace.name),
        common.clean(trace.company),
        status,
        common.duration(trace.duration_ns),
        trace.spans,
        common.count(trace.tokens),
        common.dollars(trace.cost_usd),
    ]


def _listed(trace: TraceSummary) -> dict[str, Any]:
    return asdict(trace) | {"time": common.iso(trace.time)}


def _print_one(trace: Trace, output_format: str) -> None:
    from theodore_otel.cli import _observability_tree as tree

    if output_format == "json":
        spans = [_span(span) for span in trace.spans]
        print_json({"trace_id": trace.trace_id, **tree.totals(trace), "spans": spans})
        return
    for line in tree.render(trace):
        click.echo(line)
    note(f"Its log records: theodore-otel observability logs --trace-id {common.clean(trace.trace_id)}")


def _span(span: Any) -> dict[str, Any]:
    shown = asdict(span) | {"time": common.iso(span.time), "error": span.error}
    shown["events"] = [asdict(event) | {"time": common.iso(event.time)} for event in span.events]
    return shown
