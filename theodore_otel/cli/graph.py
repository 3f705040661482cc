"""`theodore-otel graph`: a picture of the pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import file_option, format_option

if TYPE_CHECKING:
    from theodore_otel.config.base import Signal


@click.command()
@file_option
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
@format_option("mermaid", "dot", "svg")
@click.option(
    "--signal",
    "signals",
    multiple=True,
    type=click.Choice(["traces", "logs", "metrics"]),
    help="Only pipelines of this signal; may be repeated.",
)
def command(config_file: Path, profile: str | None, output_format: str, signals: tuple[Signal, ...]) -> None:
    """Draw the pipelines that FILE is rendered to; SVG needs graphviz."""
    import yaml

    from theodore_otel.config import load
    from theodore_otel.render import graph, render
    from theodore_otel.render.exporters import exporters

    config = load(config_file, profile)
    (rendered,) = render(config, config_file.name, ["collector"])
    picture = graph.graph(yaml.safe_load(rendered.text), exporters(config), signals)
    draw = {"mermaid": graph.mermaid, "dot": graph.dot, "svg": graph.svg}[output_format]
    click.echo(draw(picture), nl=False)
