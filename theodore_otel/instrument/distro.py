"""The distro `opentelemetry-instrument` loads: defaults for the environment, and instrumentors that wait."""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from opentelemetry.instrumentation.auto_instrumentation import _load
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.util._importlib_metadata import EntryPoint, entry_points

from theodore_otel.instrument import lazy, tracebacks
from theodore_otel.instrument.say import say
from theodore_otel.instrument.settings import disabled

DEFAULTS: Final = {
    "OTEL_PYTHON_DISTRO": "theodore",
    "OTEL_PYTHON_CONFIGURATOR": "theodore",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
}


class TheodoreDistro(BaseDistro):  # type: ignore[misc]
    """Sets defaults the user can override, and loads an instrumentor when its library is imported."""

    active = False
    """Whether this is the distro that was loaded."""

    def _configure(self, **kwargs: Any) -> None:  # noqa: ARG002
        TheodoreDistro.active = True
        _say_who_was_chosen()
        _keep_quiet()
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Have the instrumentor loaded with its library; `kwargs` go to its `instrument` method."""
        if disabled() or entry_point.name in lazy.LEFT_OUT:
            return

        def load(_module: Any) -> None:
            if _instruments_itself(entry_point.name):
                return
            prepared = lazy.preparations.get(entry_point.name, dict)()
            entry_point.load()().instrument(**kwargs, **prepared)
            tracebacks.tidy(entry_point.name)

        lazy.when_imported(lazy.library_of(entry_point.name), load)


def _instruments_itself(name: str) -> bool:
    """FastAPI brings its own telemetry from 0.142 on; contrib's would add old names and two more spans a request."""
    if name not in ("fastapi", "starlette"):
        return False
    from importlib.metadata import PackageNotFoundError, version

    try:
        major, minor = (int(part) for part in version("fastapi").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return (major, minor) >= (0, 142)


def say_when_left_out() -> None:
    """Tell that another distro was loaded; the entry point `opentelemetry_pre_instrument` runs whichever is."""
    if not TheodoreDistro.active and "OTEL_PYTHON_DISTRO" not in os.environ and not disabled():
        say(
            "not active, because another distro was loaded; "
            "set OTEL_PYTHON_DISTRO=theodore and OTEL_PYTHON_CONFIGURATOR=theodore to use it"
        )


def _keep_quiet() -> None:
    """Have the SDK and the instrumentations print nothing: the console is Theodore's. OTEL_LOG_LEVEL shows it all."""
    if "OTEL_LOG_LEVEL" in os.environ:
        return
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    # Except that nothing could be loaded at all; what is merely passed over is no news.
    logging.getLogger(_load.__package__).setLevel(logging.ERROR)
    logging.getLogger(_load.__name__).setLevel(logging.CRITICAL + 1)


def _say_who_was_chosen() -> None:
    chosen = "OTEL_PYTHON_DISTRO" in os.environ and "OTEL_PYTHON_CONFIGURATOR" in os.environ
    if chosen or disabled():
        return
    others = {
        entry_point.name
        for group in ("opentelemetry_distro", "opentelemetry_configurator")
        for entry_point in entry_points(group=group)
        if entry_point.name != "theodore"
    }
    if others:
        say(
            f"another distro is installed ({', '.join(sorted(others))}); theodore is used. "
            "Set OTEL_PYTHON_DISTRO and OTEL_PYTHON_CONFIGURATOR to choose without this line."
        )
