"""Observability for Theodore: rendered OpenTelemetry Collector pipelines and the Python glue around them.

`from theodore_otel import LoggerFactory` and the like: everything in `theodore_otel.telemetry`, imported when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theodore_otel.telemetry import *  # noqa: F403

__version__ = "0.1.0"

if not TYPE_CHECKING:  # type checkers know the names, and which there are not

    def __getattr__(name: str) -> Any:
        if not name.startswith("_"):
            telemetry = import_module("theodore_otel.telemetry")
            if name in telemetry.PUBLIC:
                return telemetry.public(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
