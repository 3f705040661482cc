"""`theodore-otel stack`: the collector in the background on this machine, or the development stack in Docker."""

from __future__ import annotations

import datetime
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from theodore_otel.cli._io import DEFAULT_FILE, format_option, note, print_json, print_table
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.otelcol.supervise import Status

_EXIT = {"running": 0, "unhealthy": 1, "down": 3}


_config = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The configuration file; {DEFAULT_FILE} when it exists, else the defaults of profile local.",
)
_compose = click.option(
    "--compose", is_flag=True, help="The development stack in Docker, which lies in the configuration file's folder."
)


@click.group()
def command() -> None:
    """Run the local stack, or with --compose the one in Docker, in the background."""


@command.command()
@_config
@click.option(
    "--profile",
    "profiles",
    metavar="NAME",
    multiple=True,
    help="Use this profile instead of the file's. With --compose: start what has this profile too, ui or demo; "
    "may be given twice.",
)
@_compose
def up(config_file: Path | None, profiles: tuple[str, ...], compose: bool) -> None:
    """Start the collector, or start it anew when its configuration has changed, and wait until it is well."""
    if compose:
        from theodore_otel.cli import _stack_compose

        _stack_compose.up(config_file or DEFAULT_FILE, profiles)
        return
    from theodore_otel.otelcol import launch, supervise

    if len(profiles) > 1:
        raise click.UsageError("without --compose, --profile can be given once")
    file = config_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    if file is None:
        note(
            f"there is no {DEFAULT_FILE} in {Path.cwd()}: taking the defaults of profile local; "
            "theodore-otel init writes one, -c names another"
        )
    prepared = launch.prepare(file, profiles[0] if profiles else None, note)
    _tell_of_stale(file, profiles)
    status = supervise.up(prepared, note)
    note(f"the collector is up; its log: {supervise.log_file()}")
    print_table(("endpoint", "address"), _endpoints(status))


@command.command()
@_config
@_compose
@click.option("--volumes", is_flag=True, help="With --compose: delete what the servers stored as well.")
def down(config_file: Path | None, compose: bool, volumes: bool) -> None:
    """Stop the collector; what waits in its queues on disk is kept."""
    if compose:
        from theodore_otel.cli import _stack_compose

        _stack_compose.down(config_file or DEFAULT_FILE, volumes=volumes)
        return
    from theodore_otel.otelcol import supervise

    if volumes:
        raise click.UsageError("--volumes goes with --compose")
    note("the collector has stopped" if supervise.down(note) else "nothing was running")


@command.command()
@_config
@_compose
@format_option("table", "json")
@click.pass_context
def ps(ctx: click.Context, config_file: Path | None, compose: bool, output_format: str) -> None:
    """Show what runs. Exit code 0: all is well, 1: it runs but is not well, 3: it is down."""
    if compose:
        from theodore_otel.cli import _stack_compose

        ctx.exit(_stack_compose.ps(config_file or DEFAULT_FILE, output_format))
    from theodore_otel.otelcol import supervise

    status = supervise.status()
    if output_format == "json":
        print_json([_as_json(status)])
    else:
        record = status.record
        row = ("collector", status.state, record and record.pid, record and _since(record.started_at))
        print_table(("name", "state", "pid", "since"), [row])
    ctx.exit(_EXIT[status.state])


@command.command()
@_config
@_compose
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines to begin with.")
@click.pass_context
def logs(ctx: click.Context, config_file: Path | None, compose: bool, follow: bool, lines: int) -> None:
    """Print what the collector said, with --compose what every container said."""
    if compose:
        from theodore_otel.cli import _stack_compose

        ctx.exit(_stack_compose.logs(config_file or DEFAULT_FILE, follow=follow, lines=lines))
    from theodore_otel.otelcol import supervise

    try:
        with supervise.log_file().open(encoding="utf-8", errors="replace") as log:
            for line in log.readlines()[-lines:] if lines else _skip(log):
                click.echo(_readable(line))
            for line in _added(log) if follow else ():
                click.echo(_readable(line))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: there is no log yet: theodore-otel stack up") from error
    except KeyboardInterrupt:
        return


def _tell_of_stale(file: Path | None, profiles: tuple[str, ...]) -> None:
    """Say so when what Theodore reads is of another configuration; the collector's part is rendered by `up` itself."""
    from theodore_otel.config import load
    from theodore_otel.render import files, render

    if file is None or not (file.parent / "instrument.json").exists():
        return
    rendered = render(load(file, *profiles), file.name, ["instrument"])
    if files.stale(rendered, file.parent):
        note(
            f"warning: {file.parent / 'instrument.json'} is not what {file} says now: "
            f"theodore-otel render instrument -c {shlex.quote(str(file))}"
        )


def _endpoints(status: Status) -> list[tuple[str, str]]:
    names = {
        "grpc": "OTLP gRPC",
        "http": "OTLP HTTP",
        "health": "health",
        "telemetry": "collector's own metrics",
        "metrics": "Theodore's metrics",
    }
    schemes = {"grpc": "", "http": "http://", "health": "http://"}
    endpoints = status.record.endpoints if status.record else {}
    paths = {"telemetry": "/metrics", "metrics": "/metrics"}
    return [(names[n], f"{schemes.get(n, 'http://')}{address}{paths.get(n, '')}") for n, address in endpoints.items()]


def _as_json(status: Status) -> dict[str, Any]:
    record = status.record
    return {
        "name": "collector",
        "state": status.state,
        "pid": record.pid if record else None,
        "since": _since(record.started_at) if record else None,
        "endpoints": record.endpoints if record else {},
    }


def _since(started_at: float) -> str:
    return datetime.datetime.fromtimestamp(started_at, tz=datetime.UTC).isoformat(timespec="seconds")


def _readable(line: str) -> str:
    """Return a JSON log line as time, level, message and fields; any other line as it is."""
    try:
        said = json.loads(line)
        head = f"{said.pop('ts')} {said.pop('level').upper():5} {said.pop('msg')}"
    except (ValueError, KeyError, AttributeError):
        return line.rstrip("\n")
    for noise in ("caller", "resource", "stacktrace"):
        said.pop(noise, None)
    return " ".join([head, *(f"{key}={_value(value)}" for key, value in said.items())])


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)


def _skip(log: TextIO) -> tuple[()]:
    log.seek(0, 2)
    return ()


def _added(log: TextIO) -> Iterator[str]:
    rest = ""
    while True:
        rest += log.readline()
        if rest.endswith("\n"):
            yield rest
            rest = ""
        else:
            time.sleep(0.2)
