"""`theodore-otel instrument`: what can be observed inside the application."""

from __future__ import annotations

import click

from theodore_otel.cli._io import format_option, note, print_json, print_table
from theodore_otel.errors import InputError


@click.group()
def command() -> None:
    """Find functions worth watching, and list the presets."""


@command.command()
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@format_option("text", "yaml", "json")
def suggest(packages: tuple[str, ...], output_format: str) -> None:
    """List what is worth watching in PACKAGE, with the reason and YAML to paste.

    PACKAGE is a name as in `import`, a folder or a file; the current folder when none is given. What it puts on
    `sys.path` is followed. The source is read; nothing of it is run.
    """
    from theodore_otel.survey import source
    from theodore_otel.survey import suggest as suggestions

    try:
        found = suggestions.suggest(*(packages or (".",)))
    except source.NoModuleError as error:
        raise InputError(
            f"there is no module {error} here; name the folder of its source, or run this with the Python that runs "
            "the application"
        ) from None
    if output_format == "json":
        print_json([suggestions.as_dict(each) for each in found])
        return
    if not found:
        where = ", ".join(packages) or "this folder"
        note(f"No function of {where} shows a sign of those in survey/signs.yaml.")
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
