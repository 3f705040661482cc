"""`theodore-otel render`: configuration to files."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from theodore_otel.cli._io import file_option, note
from theodore_otel.errors import CheckFailedError


@click.command()
@file_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that takes the files; the configuration file's folder when not given.",
)
@click.option("--profile", help="Use this profile instead of the file's own.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file on disk is stale.")
@click.option("--diff", "show_diff", is_flag=True, help="Write nothing; print what would change.")
@click.option("--stdout", is_flag=True, help="Write nothing; print the files.")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
def command(
    config_file: Path,
    output: Path | None,
    profile: str | None,
    check: bool,
    show_diff: bool,
    stdout: bool,
    targets: tuple[str, ...],
) -> None:
    """Turn theodore-otel.yaml into the files that run: collector and instrument when no target is named."""
    from theodore_otel.config import load
    from theodore_otel.render import files, render

    rendered = render(load(config_file, profile), config_file.name, targets)
    folder = output or config_file.parent
    if stdout:
        for file in rendered:
            click.echo(file.text, nl=False)
        return
    if show_diff:
        click.echo(files.diff(rendered, folder), nl=False)
    if check:
        _check([str(folder / file.path) for file in files.stale(rendered, folder)], config_file, output, targets)
    if not (check or show_diff):
        for file in files.write(rendered, folder):
            note(f"wrote {folder / file.path}")


def _check(stale: list[str], config_file: Path, output: Path | None, targets: tuple[str, ...]) -> None:
    if not stale:
        return
    words = ["theodore-otel", "render", "-c", str(config_file), *(["-o", str(output)] if output else []), *targets]
    raise CheckFailedError(f"stale: {', '.join(stale)}\nRun: {shlex.join(words)}")
