"""Watched functions: the configuration names functions of the application, and each becomes a span.

A function is wrapped when its module is imported, so naming one imports nothing. What cannot be found is told in one
line and disturbs nothing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Protocol

import wrapt
from opentelemetry import trace
from opentelemetry.trace import TracerProvider

from theodore_otel.instrument import model_clients
from theodore_otel.instrument.cost import Prices
from theodore_otel.instrument.kinds import KINDS, Kind
from theodore_otel.instrument.model_api import ModelApis
from theodore_otel.instrument.operation import Tools, Watched
from theodore_otel.instrument.readers import Parameters
from theodore_otel.instrument.say import say
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.texts import Redact
from theodore_otel.instrument.wrapping import wrapper

Report = Callable[[str], None]


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


def install(settings: WatchSettings, tracer_provider: TracerProvider | None = None, report: Report = say) -> None:
    """Wrap what the settings name, now or when its module is imported. Never raises.

    Call it after the instrumentations of HTTP clients are registered: what is wrapped last is asked first, and a
    recognised model call then replaces the HTTP span instead of changing it.
    """
    tracer = trace.get_tracer("theodore_otel.watch", tracer_provider=tracer_provider)
    tools = Tools(tracer, Prices(settings.prices, report), _redactor(settings.redaction))
    for name, kind in KINDS.items():
        for entry in settings.watch.get(name) or ():
            _guarded(report, f"cannot watch {entry!r}", partial(_watch, kind, entry, tools, report))
    if settings.model_apis:
        model_clients.install(ModelApis(settings.model_apis, tools, report))


def _watch(kind: Kind, entry: Mapping[str, Any], tools: Tools, report: Report) -> None:
    target = str(entry["function"])
    module_name, _, path = target.partition(":")
    _look_for(module_name, target, report)

    def wrap(module: ModuleType) -> None:
        _guarded(report, f"cannot watch {target}", partial(_wrap, module, path, kind, entry, tools))

    wrapt.register_post_import_hook(wrap, module_name)


def _look_for(module_name: str, target: str, report: Report) -> None:
    """Tell of a module that does not exist as soon as the package it should be in is imported."""
    parts = module_name.split(".")
    for length in range(1, len(parts)):
        package, child = ".".join(parts[:length]), ".".join(parts[: length + 1])

        def check(module: ModuleType, child: str = child) -> None:
            if child not in sys.modules and PathFinder.find_spec(child, getattr(module, "__path__", None)) is None:
                report(f"cannot watch {target}: there is no module {child}")

        wrapt.register_post_import_hook(check, package)


def _wrap(module: ModuleType, path: str, kind: Kind, entry: Mapping[str, Any], tools: Tools) -> None:
    try:
        parent, attribute, original = wrapt.resolve_path(module, path)
    except AttributeError as error:
        raise LookupError(f"there is no {path} in module {module.__name__}") from error
    function = inspect.unwrap(getattr(original, "__func__", original))
    if not inspect.isroutine(function):
        raise LookupError(f"{path} in module {module.__name__} is a {type(original).__name__}, not a function")
    bound = inspect.isclass(parent) and not isinstance(original, staticmethod)
    watched = Watched(kind, entry, attribute, Parameters.of(function, bound=bound), tools)
    runs_as = getattr(original, "__func__", original)
    wrapt.apply_patch(parent, attribute, wrapt.FunctionWrapper(original, wrapper(watched, runs_as)))


def _redactor(redaction: Mapping[str, Any]) -> Redact:
    scrubber = Scrubber(redaction)

    def redact(text: str) -> str:
        try:
            return scrubber.text(text)
        except ImportError:
            return text

    return redact


def _guarded(report: Report, what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - the application starts whatever the configuration says
        report(f"{what}: {error}" if isinstance(error, LookupError) else f"{what}: {type(error).__name__}: {error}")
