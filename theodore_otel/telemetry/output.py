"""Where lines go: stderr, and a file that is put aside when it is full."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

from theodore_otel.instrument.say import say
from theodore_otel.telemetry.config import LoggingConfig
from theodore_otel.telemetry.lines import JsonLines, TextLines

_MEBIBYTE: Final = 1024 * 1024

_installed: list[logging.Handler] = []


def install(config: LoggingConfig, environment: str) -> None:
    """Put the handlers on the root logger, in place of those of an earlier call and of the program's own for stderr:
    a line would show twice.
    """
    remove()
    root = logging.getLogger()
    if config.console_output:
        for handler in [handler for handler in root.handlers if _writes_to_stderr(handler)]:
            root.removeHandler(handler)
        _add(root, Console(), JsonLines(environment) if config.json_output else TextLines(coloured))
    if config.log_file_path is not None:
        with contextlib.suppress(OSError):
            _add(root, _file(config), JsonLines(environment) if config.json_output else TextLines(lambda: False))


def remove() -> None:
    """Take the handlers away again."""
    while _installed:
        handler = _installed.pop()
        logging.getLogger().removeHandler(handler)
        handler.close()


def coloured() -> bool:
    """Say whether stderr is a terminal that is to show colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, ValueError):
        return False


class Console(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the moment; one that is closed or broken disturbs nobody."""

    def __init__(self) -> None:
        """Nothing is remembered: the stream is looked up for each line."""
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:  # type: ignore[override]
        """The stream that lines go to."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; there may be no stderr at all."""
        if sys.stderr is not None:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nobody reads what is told about a stderr that cannot be written to."""


class File(RotatingFileHandler):
    """A file of the owner's alone; one that cannot be written to is told once."""

    _told = False

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return open(descriptor, self.mode, encoding=self.encoding, errors=self.errors)  # noqa: PTH123

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Tell it once; the program goes on."""
        if not self._told:
            self._told = True
            say(f"cannot write the log file {self.baseFilename}: {_reason(sys.exc_info()[1])}")


def _file(config: LoggingConfig) -> File:
    path = Path(str(config.log_file_path)).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return File(
            path,
            maxBytes=config.max_file_size_mb * _MEBIBYTE,
            backupCount=config.backup_count,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        say(f"cannot write the log file {path}: {_reason(error)}; records go to stderr only")
        raise


def _add(root: logging.Logger, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    root.addHandler(handler)
    _installed.append(handler)


def _writes_to_stderr(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and handler.stream in (sys.stderr, sys.__stderr__)


def _reason(error: BaseException | None) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
