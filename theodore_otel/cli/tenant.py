"""`theodore-otel tenant`: credentials of tenants and services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import format_option, note, print_json, print_table

if TYPE_CHECKING:
    from theodore_otel.otelcol.credentials import Credential

_file = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The credentials file; credentials.htpasswd in THEODORE_OTEL_HOME when not given.",
)
_service = click.option("--service", is_flag=True, help="NAME is a service that reports many tenants.")


@click.group()
def command() -> None:
    """Manage tenants' and services' credentials."""


@command.command()
@_file
@_service
@click.argument("name")
def add(file: Path | None, service: bool, name: str) -> None:
    """Make the first credential of NAME and print it, this once."""
    from theodore_otel.otelcol import credentials

    _show(credentials.add(_target(file), _owner(name, service)))


@command.command()
@_file
@_service
@click.argument("name")
def rotate(file: Path | None, service: bool, name: str) -> None:
    """Make another credential of NAME; remove the old one when nobody uses it any more."""
    from theodore_otel.otelcol import credentials

    _show(credentials.rotate(_target(file), _owner(name, service)))


@command.command()
@_file
@_service
@click.argument("name")
def remove(file: Path | None, service: bool, name: str) -> None:
    """Remove one credential (acme.1) or all of NAME."""
    from theodore_otel.otelcol import credentials

    for gone in credentials.remove(_target(file), _owner(name, service)):
        note(f"removed {gone}")
    _take_up()


@command.command("list")
@_file
@format_option("table", "json")
def list_(file: Path | None, output_format: str) -> None:
    """List who has credentials; tokens are not stored and cannot be shown."""
    from theodore_otel.otelcol import credentials

    owners = credentials.owners(_target(file))
    rows = [
        (owner.removeprefix("svc-"), "service" if owner.startswith("svc-") else "tenant", names)
        for owner, names in owners.items()
    ]
    if output_format == "json":
        print_json([{"name": name, "kind": kind, "credentials": held} for name, kind, held in rows])
    else:
        print_table(["name", "kind", "credentials"], [(name, kind, ", ".join(held)) for name, kind, held in rows])


def _owner(name: str, service: bool) -> str:
    return f"svc-{name}" if service else name


def _target(file: Path | None) -> Path:
    from theodore_otel.otelcol import credentials

    return file or credentials.default_file()


def _show(credential: Credential) -> None:
    note("This is shown once. Give it to the process that reports, for instance in its environment:")
    click.echo(f"THEODORE_OTEL_CREDENTIAL={credential.value}")
    _take_up()


def _take_up() -> None:
    """Tell a running local stack; a collector started another way is sent SIGHUP by whoever runs it."""
    from theodore_otel.otelcol import supervise

    if supervise.reload():
        note("the running collector has taken it up")
    else:
        note("no local stack runs; a collector started another way takes it up on SIGHUP")
