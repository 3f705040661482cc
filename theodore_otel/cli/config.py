"""`theodore-otel config`: explain the configuration."""

from __future__ import annotations

from pathlib import Path

import click

from theodore_otel.cli._io import file_option, format_option, note, print_json


@click.group()
def command() -> None:
    """Explain the configuration and print its JSON Schema."""


@command.command()
def schema() -> None:
    """Print the JSON Schema of theodore-otel.yaml, for editors."""
    from theodore_otel.config import Config

    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()})


@command.command()
@file_option
@click.option("--profile", help="Use this profile instead of the file's own.")
def check(config_file: Path, profile: str | None) -> None:
    """Check the file's form; `validate` also asks the collector."""
    from theodore_otel.config.loader import load_for_collector
    from theodore_otel.config.source import read

    config = load_for_collector(read(config_file), profile)
    note(f"{config_file} is well-formed (profile {config.profile})")


@command.command()
@file_option
@click.option("--profile", help="Use this profile instead of the file's own.")
@format_option("text", "json")
@click.argument("key")
def explain(config_file: Path, profile: str | None, output_format: str, key: str) -> None:
    """Say what KEY does, its value and which layer it comes from, for instance tracing.sampling.rate."""
    from theodore_otel.config.explain import explain_key
    from theodore_otel.config.loader import load_layers
    from theodore_otel.config.source import Source, read

    source = read(config_file) if config_file.exists() else Source(str(config_file), {}, {})
    if not config_file.exists():
        note(f"{config_file} does not exist: this is what the defaults say")
    explanation = explain_key(load_layers(source, profile), source, key)
    if output_format == "json":
        print_json(explanation.as_dict())
        return
    click.echo(f"{click.style(key, bold=True)} = {explanation.shown_value()}")
    click.echo(explanation.description)
    if explanation.lists:
        switched_on = any(layer.startswith("preset ") for layer, _ in explanation.layers)
        replaces = "replaces the built-in one; what presets bring stands beside it" if switched_on else ""
        replaces = replaces or "replaces those below it"
        click.echo(f"A list in the file {'adds to those below it' if explanation.lists == 'add' else replaces}.")
    for layer, value in explanation.layers or (("not set", "the default"),):
        click.echo(f"  {layer}: {value}")
