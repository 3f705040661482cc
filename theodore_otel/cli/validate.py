"""`theodore-otel validate`: the real collector checks what would be rendered."""

from __future__ import annotations

from pathlib import Path

import click

from theodore_otel.cli._io import file_option, note


@click.command()
@file_option
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
def command(config_file: Path, profile: str | None) -> None:
    """Render FILE and have the real collector check the result; nothing is written, secrets need not be set.

    Alert rules and routes are checked by promtool and amtool where these are on PATH.
    """
    from theodore_otel.cli import _alert_checks
    from theodore_otel.config.loader import load_for_collector
    from theodore_otel.config.source import read
    from theodore_otel.otelcol import find, launch, secrets, validate
    from theodore_otel.render import render

    source = read(config_file)
    config = load_for_collector(source, profile)
    (rendered,) = render(config, source.name, ["collector"])
    environment = launch.own_environment(config)
    text, more = secrets.with_placeholders(rendered.text, environment)
    validate.validate(find.installed(note), text, {**environment, **more}, source)
    _alert_checks.check(config, source, note)
    if warning := config.tracing.sampling.warning():
        note(f"{config_file}: tracing.sampling.decision_wait: {warning}")
    click.echo(f"{config_file}: good")
