"""`theodore-otel audit`: are the audit records whole, what do they say, and are they delivered?"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from theodore_otel.cli._io import DEFAULT_FILE, format_option, harmless, note, print_json, print_table
from theodore_otel.cli._observability_common import clean
from theodore_otel.errors import CheckFailedError, DownError, InputError
from theodore_otel.journal.audit_keys import Key, Keyring
from theodore_otel.journal.audit_trail import KEPT, OPEN, Trail, UnfitError, identity, trails

if TYPE_CHECKING:
    from theodore_otel.config.model import Config
    from theodore_otel.instrument.settings import Settings
    from theodore_otel.journal.audit_record import Record
    from theodore_otel.journal.audit_verify import Verdict

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FLUSH_SECONDS = 600.0
_LONGEST_SHOWN = 400

_path = click.argument("path", required=False)
_partial = click.option(
    "--partial",
    is_flag=True,
    help="The records given begin anywhere: older ones are removed, or are of another period.",
)
_keys = click.option(
    "--key-file",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="More keys that may have signed; the current ones are known.",
)
_config = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The configuration file; {DEFAULT_FILE} when it exists.",
)


def _period(function: _Command) -> _Command:
    """Add `--from` and `--to`."""
    to = click.option("--to", "end", metavar="TIME", help="Up to this time; a day is part of the period.")
    since = click.option("--from", "start", metavar="TIME", help="From 2026-11-01, 2026-11-01T12:00Z, or 24h, 7d ago.")
    return since(to(function))


@click.group()
def command() -> None:
    """Look at the audit journal: verify, export, report, deliver."""


@command.command()
@_path
@_partial
@_keys
@_config
@format_option("table", "json")
@click.pass_context
def verify(
    ctx: click.Context,
    path: str | None,
    partial: bool,
    key_files: Sequence[Path],
    config_file: Path | None,
    output_format: str,
) -> None:
    """Find every gap, change, reorder, truncation and unknown key.

    PATH is a journal's folder (this machine's when not given), or a file with what arrived: an export, the collector's
    OTLP files, an answer of Elasticsearch; `-` is standard input. Exit code 1: something is wrong.
    """
    verdict = _verdict(path, partial, key_files, _settings(config_file))
    if output_format == "json":
        print_json({"records": verdict.records, "writers": len(verdict.writers), "findings": _found(verdict)})
    elif verdict.findings:
        rows = [(each.writer, each.sequence, each.kind, each.detail) for each in sorted(verdict.findings)]
        print_table(("writer", "sequence", "kind", "detail"), _cells(rows))
    else:
        click.echo(f"{verdict.records} records of {len(verdict.writers)} writers: nothing is missing or changed")
    ctx.exit(int(bool(verdict.findings)))


@command.command()
@_path
@_period
@_config
@format_option("json", "csv")
def export(path: str | None, start: str | None, end: str | None, config_file: Path | None, output_format: str) -> None:
    """Print the records of a period in the order of their times; `verify --partial -` can check the JSON."""
    from theodore_otel.journal.audit_report import COLUMNS, rows

    records = _chosen(path, start, end, _settings(config_file))
    if output_format == "json":
        print_json([each.fields() for each in records])
        return
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    harmlessly = ({name: harmless(str(value)) for name, value in row.items()} for row in rows(records))
    writer.writerows(harmlessly)


@command.command()
@_path
@_period
@_keys
@_config
@format_option("table", "json")
def report(
    path: str | None,
    start: str | None,
    end: str | None,
    key_files: Sequence[Path],
    config_file: Path | None,
    output_format: str,
) -> None:
    """Say who did what to which resource, with what outcome, what is missing, and how long records are kept."""
    from theodore_otel.journal.audit_report import report as summarise

    settings = _settings(config_file)
    summary = summarise(_chosen(path, start, end, settings))
    verdict = _verdict(path, True, key_files, settings)
    summary |= {"findings": _found(verdict), "retention": _retention(_configuration(config_file))}
    if output_format == "json":
        print_json(summary)
    else:
        _print_report(summary)


@command.command()
@_keys
@_config
def flush(key_files: Sequence[Path], config_file: Path | None) -> None:
    """Deliver what processes that are gone left behind, under this environment's credential.

    Exit code 3: the collector is down. 1: some records cannot be delivered, for a reason of their own.
    """
    from theodore_otel.instrument.sender import sender_of
    from theodore_otel.instrument.texts import clean_url
    from theodore_otel.journal.audit_delivery import deliver_left

    settings = _settings(config_file)
    headers = settings.headers.get("logs", {})
    folder, credential = _folder(settings), identity(headers)
    sender = sender_of(settings, "logs")
    keys = _known_keys(settings, folder, key_files)
    outcome = deliver_left(folder, credential, sender, time.monotonic() + _FLUSH_SECONDS, keys, again=True)
    click.echo(f"{outcome.delivered} audit records delivered")
    left = trails(folder, states=(OPEN,))
    if others := sum(trail.credential != credential for trail in left):
        note(f"{others} journals wait for another credential")
    for trouble in outcome.troubles:
        note(f"not delivered: {_shown(trouble)}")
    if outcome.stopped:
        where = clean_url(sender.url)
        raise DownError(f"{outcome.waiting} audit records are not delivered to {where}: {outcome.reason}")
    refused = sum(len(trail.sent(Keyring(keys)).refused) for trail in left if trail.credential == credential)
    if outcome.waiting or refused:
        parts = [f"{outcome.waiting} cannot be delivered"] * bool(outcome.waiting)
        parts += [f"{refused} are refused ({outcome.reason or 'they are not what was written'})"] * bool(refused)
        raise CheckFailedError(f"of the audit records {', '.join(parts)}; `theodore-otel audit verify` says more")


@command.command()
@_keys
@_config
@format_option("table", "json")
@click.pass_context
def status(ctx: click.Context, key_files: Sequence[Path], config_file: Path | None, output_format: str) -> None:
    """Say what is in the journal, what of it waits to be delivered, and what is lost.

    Exit code 1: records are lost or refused.
    """
    settings = _settings(config_file)
    folder = _folder(settings)
    own = identity(settings.headers.get("logs", {}))
    keyring = Keyring(_known_keys(settings, folder, key_files))
    rows = [_state(trail, own, keyring) for trail in trails(folder, states=(OPEN,)) if trail.segments()]
    kept = trails(folder, states=(KEPT,))
    lost = sum(trail.unwritten() for trail in kept) + sum(row["lost"] for row in rows if row["state"] == "left behind")
    refused = sum(row["refused"] for row in rows)
    if output_format == "json":
        print_json({"folder": str(folder), "delivered_journals": len(kept), "lost": lost, "journals": rows})
    else:
        waiting = sum(row["waiting"] for row in rows)
        click.echo(f"{folder}: {len(kept)} journals delivered, {len(rows)} open, {waiting} records wait")
        if refused or lost:
            click.echo(f"{refused} records are refused, {lost} are lost: neither written to disk nor delivered")
        if rows:
            print_table(tuple(rows[0]), _cells([_yes_or_no(value) for value in row.values()] for row in rows))
    ctx.exit(int(bool(lost or refused)))


def _state(trail: Trail, own: str, keys: Keyring) -> dict[str, Any]:
    from theodore_otel.journal.audit_delivery import batches

    sent = trail.sent(keys)
    state = "written" if trail.lives() else "left behind"
    try:
        waiting = sum(len(batch.records) + len(batch.unfit) for batch in batches(trail, sent, keys))
        trail.check(keys)
    except UnfitError as error:
        state = str(error)
    except OSError as error:
        waiting, state = trail.waiting(), f"cannot be read: {error.strerror}".lower()
    return {
        "writer": trail.writer,
        "state": state,
        "own_credential": trail.credential == own,
        "waiting": waiting,
        "refused": len(sent.refused),
        "lost": trail.unwritten(),
    }


def _configuration(config_file: Path | None) -> Config | None:
    from theodore_otel.config.loader import load_layers
    from theodore_otel.config.source import read

    file = config_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    return load_layers(read(file)).config if file else None


def _settings(config_file: Path | None) -> Settings:
    """Return what Theodore would read here; the journal's section of a configuration file wins."""
    import json
    from dataclasses import replace

    from theodore_otel.instrument import settings as settings_module

    read, complaints = settings_module.load()
    for complaint in complaints:
        note(complaint)
    config = _configuration(config_file)
    if config is None:
        return read
    from theodore_otel.render.instrument import render_instrument

    rendered = json.loads(render_instrument(config))
    endpoint = read.endpoint if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else rendered["endpoint"]
    return replace(read, audit=rendered["audit"], endpoint=endpoint)


def _folder(settings: Settings) -> Path:
    from theodore_otel.journal.audit_lazy import directory

    return directory(settings.audit.get("dir"))


def _known_keys(settings: Settings, folder: Path, key_files: Sequence[Path]) -> list[Key]:
    from theodore_otel.journal import audit_keys

    keys: list[Key] = []
    try:
        keys += audit_keys.load(folder, settings.audit.get("key"), make=False).all()
    except audit_keys.UnusableKeyError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        if not key_files:
            note(f"no audit key: {error.filename}: {error.strerror}")
    keys += audit_keys.known(folder, None, {})
    for file in key_files:
        try:
            keys += audit_keys.Keys(file).all()
        except (OSError, audit_keys.UnusableKeyError) as error:
            raise InputError(f"--key-file {file}: {getattr(error, 'strerror', None) or error}") from None
    return list(dict.fromkeys(keys))


def _verdict(path: str | None, partial: bool, key_files: Sequence[Path], settings: Settings) -> Verdict:
    from theodore_otel.journal import audit_verify

    folder = Path(path) if path and path != "-" and Path(path).is_dir() else _folder(settings)
    keys = Keyring(_known_keys(settings, folder, key_files))
    if path is None or Path(path).is_dir():
        return audit_verify.journal(folder, keys)
    return audit_verify.delivered(_given(path), keys, partial=partial)


def _given(path: str) -> list[Record]:
    from theodore_otel.journal.audit_read import of_text

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8", errors="replace")
        return list(of_text(text))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: expected JSON or JSON lines with audit records ({error})") from None


def _chosen(path: str | None, start: str | None, end: str | None, settings: Settings) -> list[Record]:
    from theodore_otel.journal.audit_read import of_journal, within

    if path is None or Path(path).is_dir():
        found: Iterable[Record] = of_journal(Path(path) if path else _folder(settings))
    else:
        found = dict.fromkeys(_given(path))
    return within(found, _moment("--from", start), _moment("--to", end, end=True))


def _moment(option: str, text: str | None, *, end: bool = False) -> datetime | None:
    from theodore_otel.journal.audit_read import moment

    if text is None:
        return None
    try:
        return moment(text, end=end, now=datetime.now(UTC))
    except ValueError:
        raise InputError(
            f"{option}: expected a time such as 2026-11-01, 2026-11-01T12:00Z or 7d, got {text!r}"
        ) from None


def _found(verdict: Verdict) -> list[dict[str, Any]]:
    return [vars(each) for each in sorted(verdict.findings)]


def _cells(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    return [[_shown(value) for value in row] for row in rows]


def _shown(value: Any) -> Any:
    """Return a value out of a file as it may be shown: it may have been written to steer a terminal."""
    return (
        clean(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + " ...")
        if isinstance(value, str)
        else value
    )


def _yes_or_no(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _retention(config: Config | None) -> dict[str, Any] | None:
    """Return how long audit records are kept, by the configuration: in general, for tenants, in the journal."""
    if config is None:
        return None
    from theodore_otel.config.units import format_duration

    listed = {name: tenant.retention.audit for name, tenant in config.tenants.list.items()}
    return {
        "destinations": format_duration(config.tenants.defaults.retention.audit),
        "tenants": {name: format_duration(kept) for name, kept in listed.items() if kept},
        "journal": format_duration(config.instrument.audit.keep),
    }


def _print_report(summary: dict[str, Any]) -> None:
    first, last = _shown(summary["from"]), _shown(summary["to"])
    click.echo(f"{summary['records']} records by {summary['actors']} actors, {first} to {last}")
    rows = [
        (each["actor"], each["action"], each["resource"], outcome, count)
        for each in summary["activity"]
        for outcome, count in each["outcomes"].items()
    ]
    if rows:
        print_table(("actor", "action", "resource", "outcome", "times"), _cells(rows))
    outcomes = (f"{_shown(name)} {count}" for name, count in summary["outcomes"].items())
    click.echo("outcomes: " + (", ".join(outcomes) or "none"))
    for each in summary["findings"]:
        click.echo(f"{each['kind']}: {_shown(each['writer'])} {each['sequence']}: {_shown(each['detail'])}")
    if not summary["findings"]:
        click.echo("nothing is missing or changed")
    kept = summary["retention"]
    if kept is None:
        click.echo("retention: no configuration given; name one with -c")
        return
    differing = "".join(f", {name} {period}" for name, period in kept["tenants"].items())
    click.echo(f"retention: {kept['destinations']} at the destinations{differing}; {kept['journal']} in the journal")
