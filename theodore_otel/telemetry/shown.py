"""Which levels are shown. They are set on loggers of `logging`, so that the program's own loggers follow too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from theodore_otel.instrument.settings import Settings
from theodore_otel.telemetry.config import LoggingConfig
from theodore_otel.telemetry.levels import LogLevel

ROOT: Final = "theodore"
"""Above the loggers of all components."""

active: ShownLevels | None = None
"""What decides, once logging is configured."""


def logger_name(component: str) -> str:
    """Return the name of a component's logger in `logging`."""
    return component if component == ROOT or component.startswith(f"{ROOT}.") else f"{ROOT}.{component}"


class ShownLevels:
    """Levels from the configuration, and on top those of the settings file: all of its levels of components, and its
    level of everything once that was changed.
    """

    def __init__(self, config: LoggingConfig, file: tuple[int, Mapping[str, int]] | None) -> None:
        """`file` is what the settings file says at the beginning, if there is one."""
        self._level = int(LogLevel.of(config.level))
        self._components = {name: int(LogLevel.of(level)) for name, level in config.components.items()}
        self._begun_with = file[0] if file else None
        self._file = dict(file[1]) if file else {}
        self._set: dict[str, int] = {}

    def apply(self) -> None:
        """Set the levels of every logger that is known, and put back those that no longer have one of their own."""
        components = {**self._components, **self._file}
        self._wanted = Settings(log_level=self._level, log_components=components)
        known = [name for name in list(logging.root.manager.loggerDict) if name.startswith(f"{ROOT}.")]
        wanted = {name: level for name in known if (level := self._own_level(name)) is not None}
        for name, level in components.items():
            wanted.setdefault(name, level)
        wanted[ROOT] = self._wanted.export_level(ROOT)
        before, self._set = self._set, wanted
        for name in before.keys() - wanted.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in wanted.items():
            if before.get(name) != level:
                logging.getLogger(name).setLevel(level)

    def adopt(self, logger: logging.Logger) -> None:
        """Set the level of a logger that is new."""
        level = self._own_level(logger.name)
        if level is not None and logger.name not in self._set:
            self._set[logger.name] = level
            logger.setLevel(level)

    def follow(self, level: int, components: Mapping[str, int]) -> None:
        """Take over what the settings file says now."""
        if level != self._begun_with:
            self._level, self._begun_with = level, None
        self._file = dict(components)
        self.apply()

    def undo(self) -> None:
        """Put every logger back."""
        for name in self._set:
            logging.getLogger(name).setLevel(logging.NOTSET)
        self._set = {}

    def _own_level(self, name: str) -> int | None:
        level = self._wanted.export_level(name)
        return level if level != self._wanted.log_level or name in self._wanted.log_components else None
