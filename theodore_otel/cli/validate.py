"""`theodore-otel validate`: the real collector checks what would be rendered."""

from __future__ import annotations

from pathlib import Path

import click

from theodore_otel.cli._io import file_option, note


@click.command()
@file_option
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
def command(config_file: Path, profile: str | None) -> None:
    """Render FILE and have the real collector check the result; nothing is written, secrets need not be set."""
    from theodore_otel.config.loader import load_layers
    from theodore_otel.config.source import read
    from theodore_otel.otelcol import find, launch, secrets, validate
    from theodore_otel.render import render
    from theodore_otel.render.alerts import unanswered

    source = read(config_file)
    config = load_layers(source, profile).config
    (rendered,) = render(config, source.name, ["collector"])
    environment = launch.own_environment(config)
    text, more = secrets.with_placeholders(rendered.text, environment)
    validate.validate(find.installed(note), text, {**environment, **more}, source)
    for line in unanswered(config):
        note(f"{config_file}: {line}")
    click.echo(f"{config_file}: good")
