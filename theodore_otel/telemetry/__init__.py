"""What Theodore's code may call: loggers, and the configuration of it all. Everything is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from theodore_otel.telemetry.config import AlertingConfig as AlertingConfig
    from theodore_otel.telemetry.config import IntegrationConfig as IntegrationConfig
    from theodore_otel.telemetry.config import LoggingConfig as LoggingConfig
    from theodore_otel.telemetry.config import MetricsConfig as MetricsConfig
    from theodore_otel.telemetry.config import ObservabilityConfig as ObservabilityConfig
    from theodore_otel.telemetry.config import TracingConfig as TracingConfig
    from theodore_otel.telemetry.factory import LoggerFactory as LoggerFactory
    from theodore_otel.telemetry.levels import LogCategory as LogCategory
    from theodore_otel.telemetry.levels import LogLevel as LogLevel
    from theodore_otel.telemetry.logger import TheodoreLogger as TheodoreLogger
    from theodore_otel.telemetry.process import configure as configure

PUBLIC: Final = {
    "AlertingConfig": "config",
    "IntegrationConfig": "config",
    "LogCategory": "levels",
    "LogLevel": "levels",
    "LoggerFactory": "factory",
    "LoggingConfig": "config",
    "MetricsConfig": "config",
    "ObservabilityConfig": "config",
    "TheodoreLogger": "logger",
    "TracingConfig": "config",
    "configure": "process",
}
"""Each public name, and the module it lives in."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)
