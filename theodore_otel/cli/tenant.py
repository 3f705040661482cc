"""`theodore-otel tenant`: credentials of tenants and services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli._io import DEFAULT_FILE, format_option, note, print_json, print_table
from theodore_otel.errors import DownError, InputError

if TYPE_CHECKING:
    from theodore_otel.config.model import Config
    from theodore_otel.otelcol.credentials import Credential

_config = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The configuration file, which names the credentials file; {DEFAULT_FILE} when it exists.",
)
_file = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Use this credentials file, and no configuration unless one is given.",
)
_service = click.option("--service", is_flag=True, help="NAME is a service that reports many tenants.")
_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to a new file that only you can read, for THEODORE_OTEL_CREDENTIAL_FILE; print nothing.",
)


@click.group()
def command() -> None:
    """Manage tenants' and services' credentials."""


@command.command()
@_config
@_file
@_service
@_output
@click.argument("name")
def add(config_file: Path | None, file: Path | None, service: bool, output: Path | None, name: str) -> None:
    """Make the first credential of NAME and print it, this once."""
    from theodore_otel.otelcol import credentials

    config = _configuration(config_file, file)
    owner = _owner(name, service)
    target = _target(config, file)
    _give(lambda: credentials.add(target, owner), output)
    _warn(config, owner)
    _take_up(target)


@command.command()
@_config
@_file
@_service
@_output
@click.argument("name")
def rotate(config_file: Path | None, file: Path | None, service: bool, output: Path | None, name: str) -> None:
    """Make another credential of NAME; remove the old one when nobody uses it any more."""
    from theodore_otel.otelcol import credentials

    target = _target(_configuration(config_file, file), file)
    owner = _owner(name, service)
    made = _give(lambda: credentials.rotate(target, owner), output)
    _take_up(target)
    for old in credentials.owners(target)[owner]:
        if old != made.name:
            note(f"{old} keeps working until `theodore-otel tenant remove {old}`")


@command.command()
@_config
@_file
@_service
@click.argument("name")
def remove(config_file: Path | None, file: Path | None, service: bool, name: str) -> None:
    """Remove one credential (acme.1) or all of NAME."""
    from theodore_otel.otelcol import credentials

    target = _target(_configuration(config_file, file), file)
    for gone in credentials.remove(target, _owner(name, service)):
        note(f"removed {gone}")
    _take_up(target)


@command.command("list")
@_config
@_file
@format_option("table", "json")
def list_(config_file: Path | None, file: Path | None, output_format: str) -> None:
    """List tenants and services with their credentials; tokens are not stored and cannot be shown."""
    from theodore_otel.otelcol import credentials

    config = _configuration(config_file, file)
    owners = credentials.owners(_target(config, file))
    if config:
        from theodore_otel.config.tenants import described

        rows = described(config, owners)
    else:
        rows = [{**_kind(owner), "credentials": held} for owner, held in owners.items()]
    if output_format == "json":
        print_json(rows)
    else:
        header = list(rows[0]) if rows else ["name", "kind", "credentials"]
        print_table(header, [[_shown(value) for value in row.values()] for row in rows])


def _kind(owner: str) -> dict[str, str]:
    from theodore_otel.otelcol.credentials import SERVICE_PREFIX

    service = owner.startswith(SERVICE_PREFIX)
    return {"name": owner.removeprefix(SERVICE_PREFIX), "kind": "service" if service else "tenant"}


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        value = [f"{key} {item}" for key, item in value.items()]
    return ", ".join(value) or None if isinstance(value, list) else value


def _owner(name: str, service: bool) -> str:
    from theodore_otel.otelcol.credentials import SERVICE_PREFIX

    return f"{SERVICE_PREFIX}{name}" if service else name


def _configuration(config_file: Path | None, file: Path | None) -> Config | None:
    from theodore_otel.config import load

    if config_file is None and (file or not DEFAULT_FILE.exists()):
        return None
    return load(config_file or DEFAULT_FILE)


def _target(config: Config | None, file: Path | None) -> Path:
    from theodore_otel.otelcol import credentials

    named = config and config.tenants.credentials_file
    return file or (Path(named) if named else credentials.default_file())


def _give(make: Any, output: Path | None) -> Credential:
    """Make a credential and hand it over: on stdout, or in a file that was not there before."""
    if output is None:
        made: Credential = make()
        note("This is shown once. Give it to the process that reports, for instance in its environment:")
        click.echo(f"THEODORE_OTEL_CREDENTIAL={made.value}")
        return made
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        try:
            made = make()
        except BaseException:
            output.unlink()
            raise
        stream.write(f"{made.value}\n")
    note(f"wrote {made.name} to {output}; it cannot be shown again")
    return made


def _warn(config: Config | None, owner: str) -> None:
    from theodore_otel.otelcol.credentials import SERVICE_PREFIX

    name = owner.removeprefix(SERVICE_PREFIX)
    if not config:
        if owner != name:
            note(
                f"{name} is a service: everything that it sends is refused until tenants.services.{name}.may_report of "
                "the collector's configuration says whom it may report (none was read here)"
            )
        return
    if config.tenants.identify_by != "basic":
        note(f"warning: tenants.identify_by is {config.tenants.identify_by}: credentials are not asked for")
    if owner != name and name not in config.tenants.services:
        note(
            f"warning: tenants.services does not list {name}: until it says whom {name} may report, "
            "everything that it sends is refused"
        )


def _take_up(file: Path) -> None:
    """Have a running local stack take it up; a collector started another way is sent SIGHUP by whoever runs it."""
    from theodore_otel.otelcol import supervise

    if supervise.status().record is None:
        note("no local stack runs; a collector started another way takes it up when it gets SIGHUP")
        return
    read = supervise.credentials_file()
    if read is None or read.resolve() != file.resolve():
        note(f"warning: the local stack runs, but reads {read or 'no credentials'} and not {file}")
        return
    try:
        supervise.reload()
    except DownError as error:
        raise DownError(
            f"{error}\nThe credentials are changed, but not taken up. A destination that is down can hold the "
            "collector: `theodore-otel stack up` starts it anew; what waits is kept on disk."
        ) from None
    note("the running collector has taken it up")
