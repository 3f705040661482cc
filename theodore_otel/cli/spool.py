"""`theodore-otel spool`: what waits on disk because it could not be delivered."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from theodore_otel.cli._io import format_option, note, print_json, print_table
from theodore_otel.errors import CheckFailedError, DownError, InputError
from theodore_otel.instrument.ending import counted

if TYPE_CHECKING:
    from theodore_otel.instrument.courier import Report
    from theodore_otel.instrument.sender import Sender
    from theodore_otel.instrument.settings import Settings
    from theodore_otel.journal.spool import Entry, Spool

_TRIES: Final = 3
_LONGEST_WAIT: Final = 30.0
_BUSY_SECONDS: Final = 60.0


@click.group()
def command() -> None:
    """Look at, deliver or delete telemetry that waits on disk.

    The environment says where to deliver and as whom, as it does for Theodore: THEODORE_OTEL_CONFIG,
    THEODORE_OTEL_CREDENTIAL[_FILE], OTEL_EXPORTER_OTLP_*.
    """


@command.command()
@format_option("table", "json")
def status(output_format: str) -> None:
    """Show what waits, by credential and signal."""
    settings, spool = _opened()
    rows = _rows(_entries(spool), _own(_senders(settings)))
    if output_format == "json":
        print_json({"folder": str(spool.folder()), "waiting": rows})
    elif rows:
        cells = [
            (
                row["credential"],
                "yes" if row["own"] else "no",
                row["signal"],
                row["records"],
                row["files"],
                row["bytes"],
                timedelta(seconds=int(row["oldest_seconds"])),
            )
            for row in rows
        ]
        print_table(("credential", "own", "signal", "records", "files", "bytes", "oldest"), cells)
    else:
        note(f"nothing waits in {spool.folder()}")


@command.command()
def flush() -> None:
    """Deliver what waits under this environment's credential, oldest first. Exit code 3 when the collector is down."""
    settings, spool = _opened()
    senders = _senders(settings)
    own = _own(senders)
    entries = [each for each in _entries(spool) if not each.damaged]
    foreign = Counter(each.credential for each in entries if each.credential not in own)
    if foreign:
        note(f"left alone: {foreign.total()} files of other credentials or endpoints ({', '.join(sorted(foreign))})")
    report = _deliver(spool, senders, sum(each.credential in own for each in entries))
    for line in _told(report):
        note(line)
    click.echo(f"delivered: {counted(report.delivered) or 'nothing'}")
    _judge(report, spool, own)


@command.command()
@click.option("--credential", metavar="HASH", help="Delete what waits under this one only, as `status` shows it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clear(credential: str | None, yes: bool) -> None:
    """Delete what waits without delivering it."""
    from theodore_otel.journal.spool import remove

    _, spool = _opened()
    there = _entries(spool)
    entries = [each for each in there if credential in (None, each.credential)]
    if credential and not entries:
        known = ", ".join(sorted({each.credential for each in there})) or "none"
        raise InputError(f"--credential: expected one that something waits under ({known}), got {credential!r}")
    if not entries:
        note(f"nothing waits in {spool.folder()}")
        return
    counts = counted(_sum(entries))
    if not yes:
        click.confirm(f"Delete {counts} in {spool.folder()}? They were never delivered.", abort=True, err=True)
    gone = [each for each in entries if remove(each)]
    click.echo(f"deleted: {counted(_sum(gone)) or 'nothing'}")


def _opened() -> tuple[Settings, Spool]:
    from theodore_otel.instrument import courier
    from theodore_otel.instrument.settings import load

    settings, complaints = load()
    for complaint in complaints:
        note(f"warning: {complaint}")
    return settings, courier.spool(settings)


def _entries(spool: Spool) -> list[Entry]:
    try:
        return spool.entries()
    except OSError as error:
        raise InputError(f"{spool.folder()}: cannot be read: {error.strerror}") from None


def _senders(settings: Settings) -> dict[str, Sender]:
    from theodore_otel.instrument.sender import sender_of
    from theodore_otel.instrument.settings import SIGNALS

    return {signal: sender_of(settings, signal) for signal in SIGNALS}


def _own(senders: Mapping[str, Sender]) -> set[str]:
    from theodore_otel.journal.spool import identity

    return {identity(sender.url, sender.headers) for sender in senders.values()}


def _rows(entries: Sequence[Entry], own: set[str]) -> list[dict[str, Any]]:
    now = time.time()
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.credential, "damaged" if entry.damaged else entry.signal), []).append(entry)
    return [
        {
            "credential": credential,
            "own": credential in own,
            "signal": signal,
            "records": sum(each.count for each in group),
            "files": len(group),
            "bytes": sum(each.size for each in group),
            "oldest_seconds": round(max(0.0, now - min(each.made for each in group)), 1),
        }
        for (credential, signal), group in sorted(groups.items())
    ]


def _deliver(spool: Spool, senders: Mapping[str, Sender], files: int) -> Report:
    from theodore_otel.instrument.courier import Report, deliver

    report = Report()
    with click.progressbar(length=files, label="delivering", file=sys.stderr, hidden=not files) as bar:
        for attempt in range(_TRIES):
            report.stopped = None
            _when_free(report, lambda: deliver(spool, senders, report, progress=lambda _: bar.update(1)))
            answer = report.stopped
            if answer is None or not answer.retry or not answer.reason.startswith("HTTP") or attempt == _TRIES - 1:
                break
            time.sleep(min(_LONGEST_WAIT, answer.retry_after or 2.0**attempt))
    return report


def _when_free(report: Report, go: Callable[[], None]) -> None:
    """Deliver; where another process does so already, wait until it is done."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        report.busy = False
        go()
        if not report.busy or time.monotonic() >= deadline:
            return
        time.sleep(0.1)


def _told(report: Report) -> list[str]:
    lines = []
    if report.old.total():
        lines.append(f"deleted: {counted(report.old)}, too old for a backend")
    if report.refused.total():
        lines.append(f"deleted: {counted(report.refused)}, refused for good ({report.refusal})")
    if report.damaged:
        lines.append(f"set aside: {report.damaged} damaged {'file' if report.damaged == 1 else 'files'}")
    return lines


def _judge(report: Report, spool: Spool, own: set[str]) -> None:
    left = counted(_sum([each for each in _entries(spool) if each.credential in own and not each.damaged]))
    if report.stopped is not None:
        error = DownError if report.stopped.retry else CheckFailedError
        raise error(f"kept: {left or 'nothing'} ({report.stopped.reason})")
    if report.busy:
        raise DownError(f"kept: {left or 'nothing'} (another process is delivering)")
    if report.refused.total():
        raise CheckFailedError(f"not everything was taken: {report.refusal}")


def _sum(entries: Sequence[Entry]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[entry.signal] += entry.count
    return counts
