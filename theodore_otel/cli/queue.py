"""`theodore-otel queue`: what waits on the collector's disk, and what to do with what nobody sends."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import DEFAULT_FILE, format_option, note, print_json, print_table
from theodore_otel.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from theodore_otel.otelcol.queues import Folder

_config = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The configuration file; {DEFAULT_FILE} when it exists, else the defaults of profile local.",
)


@click.group()
def command() -> None:
    """Look at the collector's queues on disk, and move or drop what no destination sends any more."""


@command.command("list")
@_config
@format_option("table", "json")
@click.pass_context
def list_(ctx: click.Context, config_file: Path | None, output_format: str) -> None:
    """List every queue. Exit code 1: something waits that nobody sends, or a queue is damaged."""
    folder = _folder(config_file)
    found = folder.list()
    if output_format == "json":
        keys = ("name", "component", "state", "configured", "trouble")
        rows = [{key: getattr(queue, key) for key in keys} for queue in found]
        for row, queue in zip(rows, found, strict=True):
            row |= {"file": str(queue.file), **(asdict(queue.counted) if queue.counted else {})}
        print_json(rows)
    else:
        print_table(
            ("queue", "state", "destination", "requests", "items", "bytes", "file"),
            [
                (
                    queue.name,
                    queue.state,
                    "yes" if queue.configured else "none",
                    queue.counted and queue.counted.requests,
                    queue.counted and queue.counted.items,
                    queue.counted and queue.counted.size,
                    queue.file.name,
                )
                for queue in found
            ],
        )
    for queue in found:
        if queue.trouble:
            note(f"{queue.file.name}: {queue.trouble}")
    ctx.exit(1 if any(queue.left_behind or queue.state == "damaged" for queue in found) else 0)


@command.command()
@_config
@click.argument("queue")
@click.argument("target")
def move(config_file: Path | None, queue: str, target: str) -> None:
    """Hand what waits in QUEUE to TARGET, a queue of the configuration: `queue move old/audit new/audit`.

    The collector sends it when it starts. None may run on either queue.
    """
    from theodore_otel.otelcol import queues

    folder = _folder(config_file)
    chosen = queues.named(folder.list(), queue)
    file = queues.move(folder, chosen, target)
    items = chosen.counted.items if chosen.counted else 0
    note(f"{items:,} items of {chosen.name} wait for {target} now ({file})")


@command.command()
@_config
@click.argument("queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(config_file: Path | None, queue: str, yes: bool) -> None:
    """Delete QUEUE and what waits in it. No collector may run on it."""
    from theodore_otel.otelcol import queues

    chosen = queues.named(_folder(config_file).list(), queue)
    held = (
        f"{chosen.counted.items:,} items"
        if chosen.counted
        else f"{chosen.file.stat().st_size:,} bytes ({chosen.state})"
    )
    if not yes:
        click.confirm(f"Delete {held} of {chosen.name} for good?", abort=True, err=True)
    queues.drop(chosen)
    note(f"deleted {held} of {chosen.name} ({chosen.file})")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@format_option("table", "json")
def inspect(file: Path, output_format: str) -> None:
    """Read a queue's FILE to the end and say what waits in it. Exit code 1: it is damaged."""
    from theodore_otel.otelcol import queues
    from theodore_otel.otelcol.bolt import DamagedError

    if not file.is_file():
        raise InputError(f"{file}: expected a queue's file, as `theodore-otel queue list` tells them")
    try:
        found, bad = queues.inspect(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except DamagedError as error:
        raise CheckFailedError(
            f"{file}: damaged: {error}. No part of it can be sent; audit records are in Theodore's journal too "
            "(theodore-otel audit verify, audit export). When it is not needed: theodore-otel queue drop"
        ) from error
    if output_format == "json":
        print_json(asdict(found) | {"damaged_requests": bad})
    else:
        print_table(("requests", "items", "bytes", "damaged"), [(found.requests, found.items, found.size, bad)])
    if bad:
        raise CheckFailedError(f"{file}: {bad:,} requests are damaged: the collector deletes them when it reads them")


def _folder(config_file: Path | None) -> Folder:
    from theodore_otel.config.loader import load_layers
    from theodore_otel.config.source import parse, read
    from theodore_otel.otelcol import launch, queues

    file = config_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    source = read(file) if file else parse("", "defaults of profile local")
    return queues.of(load_layers(source, None if file else launch.LOCAL_PROFILE).config)
