"""The distro `opentelemetry-instrument` loads: defaults for the environment, and instrumentors that wait."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.util._importlib_metadata import EntryPoint, entry_points

from theodore_otel.instrument import instrumentors, variables
from theodore_otel.instrument.say import say
from theodore_otel.instrument.settings import disabled


class TheodoreDistro(BaseDistro):  # type: ignore[misc]
    """Sets defaults the user can override, and loads an instrumentor when its library is imported."""

    def _configure(self, **kwargs: Any) -> None:  # noqa: ARG002
        _say_who_was_chosen()
        variables.prepare()
        instrumentors.set_defaults()

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Have the instrumentor loaded with its library; `kwargs` go to its `instrument` method."""
        if not disabled() and not instrumentors.excluded(entry_point.name):
            instrumentors.load_with_its_library(entry_point, **kwargs)


def say_when_left_out() -> None:
    """Tell that another distro was loaded; the entry point `opentelemetry_pre_instrument` runs whichever is."""
    if not instrumentors.ours and "OTEL_PYTHON_DISTRO" not in os.environ and not disabled():
        say(
            "not active, because another distro was loaded; "
            "set OTEL_PYTHON_DISTRO=theodore and OTEL_PYTHON_CONFIGURATOR=theodore to use it"
        )


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
