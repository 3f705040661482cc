"""`LoggerFactory`: what is shown where, and the loggers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from opentelemetry import baggage
from opentelemetry.context import attach, get_current

from theodore_otel.conventions import names
from theodore_otel.instrument import context, forks, levels_file
from theodore_otel.instrument import settings as settings_module
from theodore_otel.instrument.say import say
from theodore_otel.telemetry import hangup, output, redact, shown
from theodore_otel.telemetry.config import LoggingConfig, ObservabilityConfig
from theodore_otel.telemetry.levels import LogCategory
from theodore_otel.telemetry.logger import TheodoreLogger


class LoggerFactory:
    """Configures output once for the process, and gives loggers that may be made before or after that."""

    _loggers: ClassVar[dict[tuple[str, LogCategory], TheodoreLogger]] = {}
    _lock: ClassVar[forks.Lock] = forks.Lock()

    @classmethod
    def configure(cls, config: LoggingConfig | ObservabilityConfig | None = None) -> None:
        """Show records on stderr and, where `config` says so, in a file. A second call takes the place of the first.

        Nothing is sent because of it: that is what `opentelemetry-instrument` or `theodore_otel.configure` set up.
        Levels follow the settings file while the program runs. Raises TypeError for what is no configuration.
        """
        environment = None
        if isinstance(config, ObservabilityConfig):
            environment, config = config.tracing.environment, config.logging
        if config is None:
            config = LoggingConfig()
        if not isinstance(config, LoggingConfig):
            raise TypeError(f"expected a LoggingConfig or ObservabilityConfig, got {type(config).__name__}")
        with cls._lock:
            _configure(config, environment)

    @classmethod
    def get_logger(cls, component: str, category: LogCategory = LogCategory.SYSTEM) -> TheodoreLogger:
        """Return the logger of a component; the same one each time."""
        logger = cls._loggers.get((component, category))
        if logger is None:
            logger = cls._loggers.setdefault((component, category), TheodoreLogger(component, category))
        return logger

    @classmethod
    def reset(cls) -> None:
        """Show nothing any more, as before the first call of `configure`."""
        with cls._lock:
            output.remove()
            if shown.active is not None:
                levels_file.leave(shown.active.follow)
                shown.active.undo()
                shown.active = None


@contextmanager
def context_kept() -> Iterator[None]:
    """Leave the context as it is, where the caller has one: a span may be open in it."""
    present = get_current()
    yield
    if present:
        attach(present)


def _configure(config: LoggingConfig, environment: str | None) -> None:
    settings = settings_module.current
    if settings is None:
        settings, complaints = settings_module.load()
        for complaint in complaints:
            say(complaint)
    default = settings_module.Settings.environment
    redact.use(settings.redaction, config.sensitive_fields)
    if baggage.get_baggage(names.CORRELATION_ID, context.root()) is None:
        with context_kept():
            context.start()
    output.install(config, settings.environment if environment in (None, default) else str(environment))
    if shown.active is not None:
        levels_file.leave(shown.active.follow)
        shown.active.undo()
    shown.active = shown.ShownLevels(config, _levels_in_file(settings))
    shown.active.apply()
    levels_file.follow(shown.active.follow)
    hangup.install()


def _levels_in_file(settings: settings_module.Settings) -> tuple[int, Mapping[str, int]] | None:
    if not os.environ.get("THEODORE_OTEL_CONFIG"):
        return None
    try:
        return settings_module.read_levels()
    except ValueError:  # told when the settings were loaded
        return settings.log_level, {}
