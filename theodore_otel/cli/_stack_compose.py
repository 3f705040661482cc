"""`theodore-otel stack ... --compose`: the development stack in Docker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from theodore_otel import compose
from theodore_otel.cli._io import note, print_json, print_table
from theodore_otel.config.loader import load_for_collector
from theodore_otel.config.source import read
from theodore_otel.errors import InputError
from theodore_otel.render import files, render

PROFILES = ("ui", "demo")


def up(config_file: Path, profiles: Sequence[str]) -> None:
    """Render what is stale, start the stack, wait until it is well, and print where it is reached."""
    for profile in profiles:
        if profile not in PROFILES:
            raise InputError(f"--profile: expected {' or '.join(PROFILES)} with --compose, got {profile!r}")
    config = load_for_collector(read(config_file))
    rendered = render(config, config_file.name, ["compose"])
    stack = _compose(config_file.parent)
    for file in files.write(rendered, config_file.parent):
        note(f"wrote {config_file.parent / file.path}")
    stack.up(profiles)
    listen = config.collector.listen
    listeners = {int(getattr(listen, name).rpartition(":")[2]): name for name in ("grpc", "http", "health")}
    print_table(("endpoint", "address"), compose.endpoints(stack.containers(), listeners))


def down(config_file: Path, *, volumes: bool) -> None:
    """Stop the stack, and with `volumes` delete what it stored."""
    _stack(config_file).down(volumes=volumes)
    note("the stack is down, and what it stored is deleted" if volumes else "the stack is down; what it stored is kept")


def ps(config_file: Path, output_format: str) -> int:
    """Print the containers; return 0 when all is well, 1 when something is not, 3 when nothing runs."""
    containers = _stack(config_file).containers()
    if output_format == "json":
        print_json([{"name": each.service, "state": each.state, "status": each.text} for each in containers])
    else:
        print_table(("name", "state", "status"), [(each.service, each.state, each.text) for each in containers])
    states = {each.state for each in containers}
    if not states & {"running", "starting", "unhealthy"}:
        return 3
    return 1 if states - {"running", "done"} else 0


def logs(config_file: Path, *, follow: bool, lines: int) -> int:
    """Print what the containers said; return the exit code. Ctrl-C ends what is followed."""
    try:
        return _stack(config_file).logs(follow=follow, lines=lines)
    except KeyboardInterrupt:
        return 0


def _stack(config_file: Path) -> compose.Compose:
    folder = config_file.parent
    if not (folder / compose.FILE).is_file():
        raise InputError(
            f"{folder / compose.FILE}: no such file: expected the folder of a development stack, such as "
            "-c deploy/compose/theodore-otel.yaml, in which `theodore-otel stack up --compose` writes it"
        )
    return _compose(folder)


def _compose(folder: Path) -> compose.Compose:
    options = click.get_current_context().find_root().obj or {}
    return compose.Compose(folder, quiet=bool(options.get("quiet")))
