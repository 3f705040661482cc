"""`theodore-otel init`: a commented sample to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from theodore_otel.cli._io import DEFAULT_FILE, note
from theodore_otel.errors import InputError

_NEXT = """Next:
  theodore-otel tenant add acme -c {file}          # prints THEODORE_OTEL_CREDENTIAL=acme.1:...
  theodore-otel render instrument -c {file}        # instrument.json, which your program reads
  theodore-otel stack up -c {file}                 # collector and local store
  export THEODORE_OTEL_CREDENTIAL=acme.1:... THEODORE_OTEL_CONFIG={folder}/instrument.json
  theodore-otel run -- YOUR COMMAND
  theodore-otel observability traces               # what it did"""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_FILE,
    show_default=True,
    metavar="FILE",
    help="Where it is written.",
)
@click.option("--force", is_flag=True, help="Replace the file when it exists.")
def command(output: Path, force: bool) -> None:
    """Write a commented sample theodore-otel.yaml."""
    from theodore_otel.config import sample
    from theodore_otel.render.files import RenderedFile, write

    if output.exists() and not force:
        raise InputError(f"{output}: exists already; --force replaces it")
    write([RenderedFile(output.name, sample())], output.parent)
    note(f"wrote {output}\n{_NEXT.format(file=shlex.quote(str(output)), folder=_folder(output))}")


def _folder(output: Path) -> str:
    return "$PWD" if output.parent == Path() else shlex.quote(str(output.parent.resolve()))
