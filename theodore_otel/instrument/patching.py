"""Wrapping one function or one HTTP client, once its module is there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry import trace

from theodore_otel.instrument import aliases, audited, proxies
from theodore_otel.instrument.cost import Prices
from theodore_otel.instrument.kinds import KINDS
from theodore_otel.instrument.model_api import ModelApis
from theodore_otel.instrument.operation import Tools
from theodore_otel.instrument.readers import Parameters
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.texts import Redact
from theodore_otel.instrument.wrapping import wrapper

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from theodore_otel.instrument.watch import WatchSettings


class Patcher:
    """Wraps functions and HTTP clients; all wrappers share one tracer and one price list."""

    def __init__(
        self, settings: WatchSettings, tracer_provider: TracerProvider | None, report: Callable[[str], None]
    ) -> None:
        """`tracer_provider` None is the global one."""
        tracer = trace.get_tracer("theodore_otel.watch", tracer_provider=tracer_provider)
        self._tools = Tools(tracer, Prices(settings.prices), _redactor(settings.redaction))
        self._settings = settings
        self._report = report

    def function(self, module: ModuleType, path: str, kind: str, entry: Mapping[str, Any]) -> None:
        """Wrap one function of a module. Raises LookupError for what is not there, no function, or no known kind."""
        if kind not in KINDS:
            raise LookupError(f"there is no kind {kind}, expected one of {', '.join(KINDS)}")
        try:
            parent, attribute, original = wrapt.resolve_path(module, path)
        except AttributeError as error:
            raise LookupError(f"there is no {path} in module {module.__name__}") from error
        name = attribute
        if callable(callback := _callback(original)):  # a click command runs this function
            parent, attribute, original = original, "callback", callback
        runs = getattr(original, "__func__", original)
        function = inspect.unwrap(runs)
        if not inspect.isroutine(function):
            raise LookupError(f"{path} in module {module.__name__} is a {type(original).__name__}, not a function")
        bound = inspect.isclass(parent) and not isinstance(original, staticmethod)
        watched = audited.watched(KINDS[kind], entry, name, Parameters.of(function, bound=bound), self._tools)
        wrapped = proxies.Function(original, wrapper(watched, runs))
        wrapt.apply_patch(parent, attribute, wrapped)
        if parent is module:
            aliases.replace(module, name, original, wrapped)

    def client(self, name: str) -> None:
        """Patch one HTTP client, so that calls of model APIs are recognised."""
        from theodore_otel.instrument import model_clients

        model_clients.PATCHES[name](self._apis)

    @cached_property
    def _apis(self) -> ModelApis:
        return ModelApis(self._settings.model_apis, self._tools, self._report)


def _callback(command: Any) -> Any:
    """Return the function of a click command; it was taken by the decorator that made the command."""
    return getattr(command, "callback", None) if hasattr(type(command), "make_context") else None


def _redactor(redaction: Mapping[str, Any]) -> Redact:
    scrubber = Scrubber(redaction)

    def redact(text: str) -> str:
        try:
            return scrubber.text(text)
        except ImportError:
            return text

    return redact
