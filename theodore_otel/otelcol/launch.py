"""From a configuration file to a collector that can be started: rendered, secrets checked, binary found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from theodore_otel import paths
from theodore_otel.config.loader import load_for_collector
from theodore_otel.config.model import Config
from theodore_otel.config.source import Source, parse, read
from theodore_otel.errors import InputError
from theodore_otel.otelcol import credentials, find, places, ports, queues, secrets
from theodore_otel.render import exporters, render
from theodore_otel.render.files import RenderedFile, write
from theodore_otel.render.memory import go_environment

LOCAL_PROFILE = "local"
_DEFAULTS = "defaults of profile local"


@dataclass(frozen=True)
class Prepared:
    """A collector that is ready to be started."""

    binary: Path
    source: Source
    text: str
    """The configuration it reads; it holds no secret."""
    environment: dict[str, str]
    listeners: tuple[ports.Listener, ...]
    queues: queues.Folder | None = None
    """Where what waits is kept; None where that is nobody's business."""

    @property
    def health(self) -> str:
        """Return the `host:port` that answers whether it is well."""
        return next(each.reached_at for each in self.listeners if each.key.endswith(".health"))

    def command(self, config_file: Path) -> list[str]:
        """Return the command line that runs it."""
        return [str(self.binary), "--config", str(config_file)]

    def write(self, config_file: Path) -> None:
        """Put the configuration where the collector reads it. Raises InputError when it cannot be written."""
        make_folder(config_file.parent)
        write([RenderedFile(config_file.name, self.text)], config_file.parent)


def prepare(config_file: Path | None, profile: str | None, note: places.Note) -> Prepared:
    """Read and render a configuration, check what it refers to, and find the binary.

    Without a file the defaults of the profile `local` are taken. Raises InputError for whatever the user has to mend:
    the file, an unset secret, a missing binary, a disk that is too small for the queues.
    """
    source = read(config_file) if config_file else parse("", _DEFAULTS)
    config = load_for_collector(source, profile or (None if config_file else LOCAL_PROFILE))
    config = queues.fitted(config, note)
    text, environment = furnish(config, source, note)
    found = find.installed(note)
    return Prepared(found, source, text, environment, listeners(config, source.name), queues.of(config))


def furnish(config: Config, source: Source, note: places.Note) -> tuple[str, dict[str, str]]:
    """Make the folder and the credentials file that a collector needs, and check what it refers to.

    Returns its configuration and its environment. Raises InputError when a secret is not usable.
    """
    environment = own_environment(config)
    (rendered,) = render(config, source.name, ["collector"])
    text, more = secrets.resolve(rendered.text, environment, source)
    make_folder(paths.home())
    _ensure_credentials(config, note)
    return text, {**environment, **more}


def own_environment(config: Config) -> dict[str, str]:
    """Return this process's environment with what every collector of ours is given."""
    return {**go_environment(config), **os.environ, "THEODORE_OTEL_HOME": str(paths.home())}


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can read. Raises InputError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be made: {error.strerror}") from error


def _ensure_credentials(config: Config, note: places.Note) -> None:
    if config.tenants.identify_by != "basic":
        return
    configured = config.tenants.credentials_file
    file = Path(configured) if configured else credentials.default_file()
    if not file.exists():
        make_folder(file.parent)
        try:
            file.touch(mode=0o600)
        except OSError as error:
            raise InputError(f"{file}: the credentials file cannot be made: {error.strerror}") from error
    if not credentials.names(file):
        note("no credentials yet, so every request is refused: theodore-otel tenant add NAME")


def listeners(config: Config, source: str) -> tuple[ports.Listener, ...]:
    """Return where a collector with this configuration listens."""
    used = exporters.listeners(config)
    return tuple(ports.listener(f"collector.listen.{name}", address, source) for name, address in used.items())
