"""`observability logs`: show log records, and follow them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.cli._io import format_option, note
from theodore_otel.conventions import names
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.query import LogQuery, LogRecord, Source

_LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"]
_COLORS = {"DEBUG": "bright_black", "TRACE": "bright_black", "WARN": "yellow", "ERROR": "red", "CRITICAL": "red"}
_POLL_SECONDS = 1.0
# Already in columns of their own, or of no use in a line.
_QUIET = {names.TENANT_ID, names.CORRELATION_ID, names.COMPONENT, names.CATEGORY, names.USER_ID}
_QUIET |= {"exception.stacktrace", "color_message"}
_QUIET_PREFIXES = ("code.", "thread.", "process.", "log.", "exception.")


@click.command()
@common.config_option
@click.option("--level", type=click.Choice(_LEVELS, case_sensitive=False), help="This level and the more severe ones.")
@click.option("--component", help="Only records of this component, for instance scraper.")
@click.option("--correlation-id", help="Only records of this request or command.")
@click.option("--trace-id", help="Only records of this trace (or the beginning of its id).")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--since", metavar="DURATION", help="Only records of so long ago or less, for instance 30m or 1h.")
@click.option("--search", metavar="TEXT", help="Only records with this text in message or attributes.")
@click.option("--follow", "-f", is_flag=True, help="Go on and print records as they arrive, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many; 200 on the screen, all with --export.")
@click.option(
    "--export", "export_path", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="Write to a file."
)
@format_option("text", "json")
def command(
    config_file: Path | None,
    level: str | None,
    component: str | None,
    correlation_id: str | None,
    trace_id: str | None,
    tenant: str | None,
    since: str | None,
    search: str | None,
    follow: bool,
    limit: int | None,
    export_path: Path | None,
    output_format: str,
) -> None:
    """Show the newest log records, oldest first. JSON is one object a line."""
    from theodore_otel.query import LogQuery

    if follow and export_path:
        raise InputError("--follow and --export exclude each other: an export has an end")
    query = LogQuery(
        since=common.since(since),
        level=level.upper() if level else None,
        component=component,
        tenant=tenant,
        correlation_id=correlation_id,
        trace_id=trace_id,
        search=search,
        limit=limit or (None if export_path else 200),
    )
    source = common.store(config_file)
    records, mark = source.arrivals(query)
    lines = _lines(records, output_format)
    if export_path:
        common.export(export_path, "".join(click.unstyle(line) + "\n" for line in lines), f"{len(records)} records")
        return
    for line in lines:
        click.echo(line)
    if follow:
        _follow(source, query, mark, output_format)
    elif not records:
        filtered = replace(query, limit=None) != LogQuery(limit=None)
        note("No log record matches." if filtered else common.EMPTY)


def _follow(source: Source, query: LogQuery, mark: int, output_format: str) -> None:
    while True:
        time.sleep(_POLL_SECONDS)
        # By arrival: what waited in a queue, or comes from a clock that is ahead, is new as well.
        records, mark = source.arrivals(replace(query, limit=None), mark)
        for line in _lines(records, output_format):
            click.echo(line)


def _lines(records: Iterable[LogRecord], output_format: str) -> Iterator[str]:
    for record in records:
        if output_format == "json":
            yield json.dumps(asdict(record) | {"time": common.iso(record.time)}, ensure_ascii=False)
        else:
            yield _text(record)


def _text(record: LogRecord) -> str:
    when = common.iso(record.time)[:23] + "Z"
    level = click.style(f"{record.level:8}", fg=_COLORS.get(record.level), bold=record.level == "CRITICAL")
    where = " ".join(common.clean(part) for part in (record.tenant, record.component or record.logger) if part)
    return f"{when} {level} {where}: {common.clean(record.message)}{_details(record)}"


def _details(record: LogRecord) -> str:
    words = [
        f"{common.clean(key)}={common.clean(str(value))}"
        for key, value in record.attributes.items()
        if key not in _QUIET and not key.startswith(_QUIET_PREFIXES)
    ]
    kind, message = (record.attributes.get(f"exception.{part}") for part in ("type", "message"))
    if kind:
        words.append(common.clean(f"[{kind}: {message}]"))
    if record.correlation_id:
        words.append(f"correlation={common.clean(record.correlation_id)}")
    if record.trace_id:
        words.append(f"trace={common.clean(record.trace_id[:16])}")
    return "  " + click.style(" ".join(words), dim=True) if words else ""
