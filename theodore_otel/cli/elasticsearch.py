"""`theodore-otel elasticsearch`: what Elasticsearch has to have before the collector writes there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import file_option, note
from theodore_otel.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elasticsearch import Elasticsearch

    from theodore_otel.config.destinations import Elasticsearch as Destination
    from theodore_otel.config.model import Config
    from theodore_otel.render.elasticsearch import Piece
    from theodore_otel.search.apply import Change

_DONE = {"new": "created", "changed": "updated"}
_WOULD = {"new": "would create", "changed": "would update"}
_KINDS = {
    "lifecycle": "lifecycle policy",
    "component_templates": "component template",
    "index_templates": "index template",
}


@click.group()
def command() -> None:
    """Give Elasticsearch its templates and lifecycle policies."""


@command.command()
@file_option
@click.option("--destination", metavar="NAME", help="Only this destination; all of type elasticsearch when not given.")
@click.option("--dry-run", is_flag=True, help="Put nothing; say what would be put.")
@click.option("--diff", "show_diff", is_flag=True, help="Put nothing; print what would change.")
@click.option(
    "--allow-missing",
    type=click.Choice(["lifecycle"]),
    multiple=True,
    help="Go on where the server cannot run lifecycle policies: nothing is deleted there then.",
)
@click.option("--rollover", is_flag=True, help="Let data streams that are there already take the templates up now.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a server may take to start.",
)
def apply(
    config_file: Path,
    destination: str | None,
    dry_run: bool,
    show_diff: bool,
    allow_missing: tuple[str, ...],
    rollover: bool,
    wait: float,
) -> None:
    """Put what `render elasticsearch` writes; what is there already and is the same stays untouched."""
    from theodore_otel.config import load

    config = load(config_file)
    for name, each in _chosen(config, destination).items():
        _apply(config, name, each, "lifecycle" in allow_missing, wait, (dry_run, show_diff, rollover))


def _chosen(config: Config, wanted: str | None) -> dict[str, Destination]:
    from theodore_otel.config.destinations import Elasticsearch

    found = {name: each for name, each in config.destinations.items() if isinstance(each, Elasticsearch)}
    names = ", ".join(found) or "there is none"
    if wanted and wanted not in found:
        raise InputError(f"--destination: expected a destination of type elasticsearch ({names}), got {wanted!r}")
    if not found:
        raise InputError("destinations: expected one of type elasticsearch, there is none")
    return {wanted: found[wanted]} if wanted else found


def _apply(
    config: Config,
    name: str,
    destination: Destination,
    may_lack_lifecycle: bool,
    wait: float,
    options: tuple[bool, bool, bool],
) -> None:
    from theodore_otel.render.elasticsearch import needs_lifecycle, pieces
    from theodore_otel.search import apply, streams
    from theodore_otel.search.client import connect, wait_until_up, working

    dry_run, show_diff, rollover = options
    wanted = pieces(config, [destination.mapping])
    with connect(name, destination, os.environ) as client:
        wait_until_up(client, name, destination, wait, note)
        with working(name, destination):
            server = apply.look(client)
            if not server.lifecycles:
                _lacks_lifecycle(name, may_lack_lifecycle)
                wanted = [piece for piece in wanted if not needs_lifecycle(piece)]
            changes = server.compare(wanted)
            only_told = dry_run or show_diff
            _put(client, name, destination, changes, show_diff, only_told)
            existing = streams.look(client, wanted)
            _tell_of_plain(name, existing.plain)
            _roll_over(client, name, existing.outdated, rollover, only_told)


def _lacks_lifecycle(name: str, allowed: bool) -> None:
    lacks = f"{name}: this server cannot run lifecycle policies (index lifecycle management), so it deletes nothing"
    if not allowed:
        raise CheckFailedError(f"{lacks}\nNothing was put. To go on without them: --allow-missing lifecycle")
    note(f"warning: {lacks}")


def _put(
    client: Elasticsearch,
    name: str,
    destination: Destination,
    changes: Sequence[Change],
    show_diff: bool,
    only_told: bool,
) -> None:
    for change in changes:
        if change.state == "unchanged":
            continue
        if show_diff:
            click.echo(change.diff(), nl=False)
            continue
        if not only_told and not _put_one(client, name, destination, change.piece):
            continue
        verb = (_WOULD if only_told else _DONE)[change.state]
        click.echo(f"{name}: {verb} {_KINDS[change.piece.kind]} {change.piece.name}")
    same = sum(change.state == "unchanged" for change in changes)
    click.echo(f"{name}: {same} of {len(changes)} unchanged", err=show_diff)


def _put_one(client: Elasticsearch, name: str, destination: Destination, piece: Piece) -> bool:
    """Put one piece; return False where the server can do without it and does not take it."""
    from elasticsearch import BadRequestError

    from theodore_otel.render.elasticsearch import FAILURES
    from theodore_otel.search import apply
    from theodore_otel.search.client import explained

    try:
        apply.put(client, piece)
    except BadRequestError as error:
        if piece.name == FAILURES:
            note(
                f"warning: {name}: this server has no failure store (Elasticsearch 8.19 and newer have): a document "
                "that it refuses is not kept"
            )
            return False
        raise CheckFailedError(
            f"{name}: this server does not take {_KINDS[piece.kind]} {piece.name}: {explained(error, destination)}\n"
            "Elasticsearch 8.16 or newer is needed."
        ) from None
    return True


def _tell_of_plain(name: str, indices: Sequence[str]) -> None:
    for index in indices:
        note(
            f"warning: {name}: {index} is an index and no data stream: it was made before its template was there. "
            "It keeps its mappings and is never deleted; reindex it elsewhere and delete it"
        )


def _roll_over(client: Elasticsearch, name: str, outdated: Sequence[str], wanted: bool, only_told: bool) -> None:
    from theodore_otel.search import streams

    if outdated and not (wanted and not only_told):
        listed = "".join(f"\n  {each}" for each in outdated)
        note(
            f"{name}: these data streams write to a backing index made from other templates. Lifecycle policies hold "
            f"for it at once, mappings and settings from its next rollover on; --rollover does that now:{listed}"
        )
        return
    for each in outdated:
        click.echo(f"{name}: rolled over {each}, which writes to {streams.roll_over(client, each)} now")
