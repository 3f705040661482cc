"""`theodore-otel collector`: install, build, inspect and run the binary."""

from __future__ import annotations

import os
from pathlib import Path

import click

from theodore_otel import paths
from theodore_otel.cli._io import file_option, format_option, note, print_json, print_table
from theodore_otel.otelcol import COLLECTOR_VERSION, binary, find


@click.group()
def command() -> None:
    """Install, build, inspect and run the collector binary."""


@command.command()
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Take this binary: it is copied into the cache and used from then on.",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Where the release's files lie. [env: THEODORE_OTEL_RELEASES_URL]",
)
@click.option("--build", "only_build", is_flag=True, help="Build it; do not look for another one first.")
def install(given: Path | None, base_url: str | None, only_build: bool) -> None:
    """Get a collector: the one given, else the cached one, else by download, else by a build with Go."""
    if given and (base_url or only_build):
        raise click.UsageError("--from goes without --base-url and --build")
    click.echo(find.install(note, given=given, base_url=base_url, only_build=only_build))


@command.command()
def path() -> None:
    """Print the path of the binary that is used."""
    click.echo(find.installed(note))


@command.command()
def version() -> None:
    """Print the version of the binary that is used, and the one theodore-otel is made for."""
    used = find.installed(note)
    click.echo(f"{binary.version(used)} ({used}; made for {COLLECTOR_VERSION})")


@command.command()
@format_option("table", "json")
def components(output_format: str) -> None:
    """List the components in the binary."""
    listed = binary.components(find.installed(note))
    if output_format == "json":
        print_json(listed)
        return
    kinds = ("receivers", "processors", "connectors", "exporters", "extensions")
    rows = [
        (kind.removesuffix("s"), str(part["name"]), part["module"]) for kind in kinds for part in listed.get(kind) or []
    ]
    print_table(("kind", "name", "module"), rows)


@command.command()
def build() -> None:
    """Build the binary from the manifest with Go, as `install --build` does."""
    click.echo(find.install(note, only_build=True))


@command.command()
@file_option
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
def run(config_file: Path, profile: str | None) -> None:
    """Render FILE's collector configuration and run it in the foreground, in place of this process."""
    from theodore_otel.otelcol import launch, queues

    prepared = launch.prepare(config_file, profile, note)
    rendered = paths.home() / "run" / "collector.yaml"
    prepared.write(rendered)
    if prepared.queues:
        queues.check(prepared.queues, note)
    words = prepared.command(rendered)
    os.execve(words[0], words, prepared.environment)  # noqa: S606 - no shell is wanted


@command.command()
@file_option
@click.option(
    "--credential",
    "wanted",
    multiple=True,
    metavar="OWNER=FILE",
    help="Put a credential of OWNER (acme, svc-api) into FILE, unless a good one is there.",
)
def prepare(config_file: Path, wanted: tuple[str, ...]) -> None:
    """Make what a collector needs that is started elsewhere, as in a container, and check its secrets.

    The folder THEODORE_OTEL_HOME gets a credentials file; what is there is kept.
    """
    from theodore_otel.config.loader import load_for_collector
    from theodore_otel.config.source import read
    from theodore_otel.otelcol import credentials, launch, queues

    source = read(config_file)
    config = load_for_collector(source)
    named = config.tenants.credentials_file
    file = Path(named) if named else credentials.default_file()
    for owner, place in map(_owner_and_place, wanted):
        if made := credentials.hand_out(file, owner, place):
            note(f"put {made.name} into {place}")
    launch.furnish(config, source, note)
    queues.check(queues.of(config), note)
    note(f"{paths.home()} has what the collector needs")


def _owner_and_place(text: str) -> tuple[str, Path]:
    owner, equals, place = text.partition("=")
    if not (equals and place):
        raise click.BadParameter(f"expected OWNER=FILE, got {text!r}", param_hint="--credential")
    return owner, Path(place)
