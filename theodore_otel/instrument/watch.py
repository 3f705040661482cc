"""Watched functions: the configuration names functions of the application, and each becomes a span.

A function is wrapped when its module is imported, so naming one imports nothing, neither of the application nor, until
then, of ours. What cannot be found is told in one line and disturbs nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from theodore_otel.instrument import again
from theodore_otel.instrument.say import say

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from theodore_otel.instrument.patching import Patcher

Report = Callable[[str], None]

CLIENTS: Final = ("requests", "httpx", "aiohttp", "urllib3")
"""HTTP clients whose model calls are recognised."""


class WatchSettings(Protocol):
    """What is needed of the process's settings."""

    @property
    def watch(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Watched functions by kind."""

    @property
    def model_apis(self) -> Sequence[Mapping[str, Any]]:
        """Model APIs recognised by URL."""

    @property
    def prices(self) -> Mapping[str, Mapping[str, float]]:
        """Prices by model, in US dollars per million tokens."""

    @property
    def redaction(self) -> Mapping[str, Any]:
        """What is a secret."""


def install(
    settings: WatchSettings, tracer_provider: TracerProvider | None = None, report: Report = say
) -> Callable[[], None]:
    """Wrap what the settings name, now or when its module is imported. Never raises; `report` is told one line for
    each function that cannot be watched. The instrumentations of HTTP clients may come before or after.

    Returns what to call when the program ends: it tells of packages that do not exist. No import tells of these, and
    at the start the folder of a script is not on the path yet.
    """
    installation = Installation(settings, tracer_provider, report)
    installation.run()
    return installation.tell_of_missing


class Installation:
    """One application of the settings to this process."""

    def __init__(self, settings: WatchSettings, tracer_provider: TracerProvider | None, report: Report) -> None:
        """Nothing is wrapped before `run`."""
        self._settings = settings
        self._tracer_provider = tracer_provider
        self._report = report
        self._packages: Counter[str] = Counter()

    def run(self) -> None:
        """Wrap everything, or register it to be wrapped on import."""
        for kind, entries in self._settings.watch.items():
            if not isinstance(entries, list):
                self._report(f"cannot watch {kind}: expected a list of functions, got {entries!r}")
                continue
            for entry in entries:
                self._guarded(f"cannot watch {entry!r}", partial(self._watch, kind, entry))
        if self._settings.model_apis:
            for client in CLIENTS:
                _on_import(
                    client, lambda module: self._guarded(f"cannot watch {module.__name__}", self._client(module))
                )

    def tell_of_missing(self) -> None:
        """Tell of packages that could not have been imported."""
        from importlib.util import find_spec

        for package, number in self._packages.items():
            with suppress(Exception):
                if package not in sys.modules and find_spec(package) is None:
                    self._report(
                        f"cannot watch {number} function{'s' * (number > 1)} of {package}: there is no such package"
                    )

    @cached_property
    def _patcher(self) -> Patcher:
        from theodore_otel.instrument.patching import Patcher

        return Patcher(self._settings, self._tracer_provider, self._report)

    def _watch(self, kind: str, entry: Mapping[str, Any]) -> None:
        target = str(entry["function"])
        module_name, _, path = target.partition(":")
        optional = bool(entry.get("optional"))
        if not optional:
            self._packages[module_name.partition(".")[0]] += 1

        def wrap(module: ModuleType) -> None:
            self._guarded(
                f"cannot watch {target}", lambda: self._patcher.function(module, path, kind, entry), optional=optional
            )

        for package, child in () if optional else _steps(module_name):
            _on_import(package, partial(self._look_for, child, target))
        _on_import(module_name, wrap)
        again.follow(module_name, path, wrap)

    def _look_for(self, child: str, target: str, package: ModuleType) -> None:
        """Tell of a module that does not exist as soon as the package it should be in is imported."""
        from importlib.machinery import PathFinder

        path = getattr(package, "__path__", None)
        if child not in sys.modules and (path is None or PathFinder.find_spec(child, path) is None):
            self._report(f"cannot watch {target}: there is no module {child}")

    def _client(self, module: ModuleType) -> Callable[[], None]:
        return lambda: self._patcher.client(module.__name__)

    def _guarded(self, what: str, action: Callable[[], None], *, optional: bool = False) -> None:
        try:
            action()
        except LookupError as error:
            if not optional:
                self._report(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 - the application starts whatever the configuration says
            self._report(f"{what}: {type(error).__name__}: {error}")


def _steps(module_name: str) -> Iterator[tuple[str, str]]:
    """Give every package on the way to a module with what should be in it."""
    parts = module_name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length]), ".".join(parts[: length + 1])


def _on_import(module_name: str, action: Callable[[ModuleType], None]) -> None:
    import wrapt

    wrapt.register_post_import_hook(action, module_name)
