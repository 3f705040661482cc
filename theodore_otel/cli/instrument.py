"""`theodore-otel instrument`: what can be observed inside the application."""

from __future__ import annotations

import click

from theodore_otel.cli._io import format_option, note, print_json, print_table
from theodore_otel.errors import InputError


@click.group()
def command() -> None:
    """Find functions worth watching, and list the presets."""


@command.command()
@click.argument("package")
@format_option("text", "yaml", "json")
def suggest(package: str, output_format: str) -> None:
    """List functions of PACKAGE that are worth watching, with the reason and YAML to paste.

    PACKAGE is a name as in `import`. Its source is read; nothing of it is run.
    """
    from theodore_otel.survey import source
    from theodore_otel.survey import suggest as suggestions

    try:
        found = suggestions.suggest(package)
    except source.NoModuleError as error:
        raise InputError(
            f"there is no module {error} here; run this with the Python that runs the application, "
            "or with PYTHONPATH set to its source"
        ) from None
    if output_format == "json":
        print_json([suggestions.as_dict(each) for each in found])
        return
    if not found:
        note(f"No function of {package} shows a sign of those in survey/signs.yaml.")
        return
    if output_format == "text":
        print_table(("kind", "function", "why"), [(each.kind, each.target, each.reason) for each in found])
        click.echo()
    click.echo(suggestions.snippet(found), nl=False)


@command.command()
@click.argument("name", required=False)
@format_option("text", "json")
def presets(name: str | None, output_format: str) -> None:
    """List the presets for `instrument.presets`, or show what NAME adds."""
    import yaml

    from theodore_otel.config.presets import preset, preset_names, unknown_preset

    if name is not None and name not in preset_names():
        raise InputError(unknown_preset(name))
    chosen = [preset(each) for each in ([name] if name else preset_names())]
    if output_format == "json":
        print_json([vars(each) for each in chosen])
    elif name:
        click.echo(f"# {chosen[0].description}")
        click.echo(yaml.safe_dump({"instrument": chosen[0].instrument}, sort_keys=False, width=200), nl=False)
    else:
        print_table(("preset", "what it adds"), [(each.name, each.description) for each in chosen])
