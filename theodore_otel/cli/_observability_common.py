"""What the observability commands share: where to ask, how to read times, how to write them for people."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from theodore_otel.cli._io import DEFAULT_FILE, note, print_json
from theodore_otel.errors import InputError
from theodore_otel.files import write

if TYPE_CHECKING:
    from theodore_otel.otelcol.queues import Folder
    from theodore_otel.query.health import HealthSource
    from theodore_otel.query.local import Loaded, LocalStore

_Command = TypeVar("_Command", bound=Callable[..., Any])

SECOND = 10**9
_LAST = 253_402_300_799  # the end of the year 9999, in seconds
EMPTY = (
    "Nothing has arrived yet. Start the collector with `theodore-otel stack up`, run "
    "`opentelemetry-instrument theodore research ACME`, and look again a few seconds later."
)


@dataclass(frozen=True)
class Addresses:
    """Where the collector answers questions about itself, as host:port."""

    health: str = "127.0.0.1:13133"
    telemetry: str = "127.0.0.1:8888"


def config_option(function: _Command) -> _Command:
    """Add `-c/--config FILE`; unlike elsewhere the file need not exist."""
    return click.option(
        "-c",
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The configuration file; theodore-otel.yaml if there is one, else defaults.",
    )(function)


def store(config_file: Path | None) -> LocalStore:
    """Return the local store, bounded as the configuration says where there is one."""
    from theodore_otel import paths
    from theodore_otel.query.local import LocalStore

    config = _config(config_file)
    bounds = {} if config is None else {"keep": config.local.keep, "size": config.local.size}
    return LocalStore(paths.home(), on_load=_Teller(), **bounds)


def health_source(config_file: Path | None, prometheus: str | None) -> HealthSource:
    """Return what holds health: the Prometheus given, else the configured one, else the local store.

    Raises:
        InputError: when the address given is none that can be asked.
    """
    from theodore_otel.query.prometheus import Prometheus

    if prometheus is not None and not re.fullmatch(r"https?://[^\s/@]+(/[^\s?#@]*)?", prometheus):
        raise InputError("--prometheus: expected a base URL such as http://127.0.0.1:9090, without credentials")
    config = None if prometheus else _config(config_file)
    url = prometheus or (config.query.prometheus if config else None)
    return Prometheus(url) if url else store(config_file)


class _Teller:
    """Says what a load left out; what stays as it is, once."""

    def __init__(self) -> None:
        self._told: set[Path] = set()

    def __call__(self, loaded: Loaded) -> None:
        if loaded.unreadable:
            note(f"{loaded.unreadable} lines or records from the collector could not be read and were left out")
        for path in sorted({*loaded.skipped} - self._told):
            note(f"{path} is no regular file and was left out")
        self._told.update(loaded.skipped)
        for each in loaded.damaged:
            where = f"it is kept as {each.kept}" if each.kept else "it is gone"
            note(f"a damaged file of the local store was left out, {each.rows} records with it; {where}")


def addresses(config_file: Path | None) -> Addresses:
    """Return where the collector listens: as the file given says, else as the running stack was rendered."""
    running = None if config_file else _running()
    if running:
        return running
    config = _config(config_file)
    if config is None:
        return Addresses()
    from theodore_otel.otelcol.ports import listener

    listen, name = config.collector.listen, str(config_file or DEFAULT_FILE)
    told = {"health": listen.health, "telemetry": listen.telemetry}
    # Where it listens on every address, it is reached on the loopback one.
    return Addresses(**{key: listener(f"collector.listen.{key}", at, name).reached_at for key, at in told.items()})


def _config(config_file: Path | None) -> Any:
    from theodore_otel.config import load

    if config_file is None and not DEFAULT_FILE.exists():
        return None
    return load(config_file or DEFAULT_FILE)


def queues(config_file: Path | None) -> Folder:
    """Return where the collector's queues are: as the file given says, else as the running stack was rendered."""
    from theodore_otel import paths
    from theodore_otel.otelcol import queues as held

    try:
        if not config_file:
            return held.of_rendered(_rendered())
    except (OSError, KeyError, TypeError, ValueError):
        pass  # no stack was ever started here, or it was configured by hand
    config = _config(config_file)
    return held.of(config) if config else held.Folder(paths.home() / "queue", ())


def _rendered() -> Any:
    """Return the configuration that the stack was started with. Raises OSError or ValueError when there is none."""
    import yaml

    from theodore_otel.otelcol import supervise

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(supervise.config_file().read_text(encoding="utf-8"), loader)  # noqa: S506 - it is safe
    except yaml.YAMLError as error:
        raise ValueError("it is no YAML") from error


def _running() -> Addresses | None:
    try:
        rendered = _rendered()
        prometheus = rendered["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
        health = rendered["extensions"]["health_check"]["endpoint"]
        return Addresses(health, f"{prometheus['host']}:{prometheus['port']}")
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None  # no stack was ever started here, or it was configured by hand


def since(text: str | None, option: str = "--since") -> int | None:
    """Return the moment (ns) so long ago, for `30m`, `1h`, `7d`.

    Raises:
        InputError: when it is no duration.
    """
    from theodore_otel.config.units import parse_duration

    if text is None:
        return None
    try:
        return max(time.time_ns() - int(parse_duration(text).total_seconds() * SECOND), 0)
    except (ValueError, OverflowError):
        raise InputError(f"{option}: expected a duration such as 30s, 15m, 1h or 7d, got {text!r}") from None


def clean(text: str | None) -> str:
    """Return text from telemetry without what could steer a terminal: it may come from a crawled page."""
    if text is None:
        return "-"
    return "".join(c if c.isprintable() else _ESCAPES.get(c, f"\\x{ord(c):02x}") for c in text)


_ESCAPES = {"\n": "\\n", "\t": " ", "\r": "\\r"}


def moment(nanoseconds: int) -> str:
    """Return a time for people: UTC, to the second."""
    return _utc(nanoseconds).strftime("%Y-%m-%d %H:%M:%S")


def iso(nanoseconds: int) -> str:
    """Return a time for programs: RFC 3339 in UTC with all nine digits."""
    return f"{_utc(nanoseconds).strftime('%Y-%m-%dT%H:%M:%S')}.{nanoseconds % SECOND:09d}Z"


def _utc(nanoseconds: int) -> datetime:
    # What a sender tells may lie outside the calendar.
    return datetime.fromtimestamp(min(max(nanoseconds // SECOND, 0), _LAST), UTC)


def duration(nanoseconds: float) -> str:
    """Return a duration for people, with three figures or so."""
    seconds = nanoseconds / SECOND
    if seconds < 0.001:
        return f"{nanoseconds / 1000:.0f} us"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} m {rest:02d} s"


def ago(nanoseconds: int | None) -> str:
    """Return how long ago a moment was, for people."""
    if nanoseconds is None:
        return "never"
    return f"{duration(max(time.time_ns() - nanoseconds, 0))} ago"


def dollars(amount: float | None) -> str:
    """Return US dollars with as many digits as a small sum needs."""
    if not amount:
        return "-"
    digits = 2 if amount >= 1 else 4 if amount >= 0.01 else 6
    return f"${amount:,.{digits}f}"


def count(number: float) -> str:
    """Return a count with thousands set apart; `-` for none."""
    return f"{number:,.0f}" if number else "-"


def export(path: Path, text: str, what: str) -> None:
    """Write a result to a file instead of the screen, whole or not at all.

    Raises:
        InputError: when the file cannot be written.
    """
    try:
        write(path, text)
    except OSError as error:
        raise InputError(f"--export: {path} cannot be written: {error.strerror}") from None
    note(f"wrote {what} to {path}")


def print_data(data: dict[str, Any], output_format: str) -> None:
    """Print as `json` or `yaml`, for programs."""
    if output_format == "json":
        print_json(data)
        return
    import yaml

    click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
