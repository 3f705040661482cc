"""What Theodore's code may call: loggers, tracers, metrics, and their configuration, each imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from theodore_otel.telemetry.audit import audit as audit
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
    from theodore_otel.telemetry.metrics import MetricsManager as MetricsManager
    from theodore_otel.telemetry.operations import Helper as Helper
    from theodore_otel.telemetry.operations import Operation as Operation
    from theodore_otel.telemetry.performance import PerformanceMonitor as PerformanceMonitor
    from theodore_otel.telemetry.process import configure as configure
    from theodore_otel.telemetry.tracing import TheodoreTracer as TheodoreTracer
    from theodore_otel.telemetry.tracing import TracingManager as TracingManager

PUBLIC: Final = {
    "AlertingConfig": "config",
    "Helper": "operations",
    "IntegrationConfig": "config",
    "LogCategory": "levels",
    "LogLevel": "levels",
    "LoggerFactory": "factory",
    "LoggingConfig": "config",
    "MetricsConfig": "config",
    "MetricsManager": "metrics",
    "ObservabilityConfig": "config",
    "Operation": "operations",
    "PerformanceMonitor": "performance",
    "TheodoreLogger": "logger",
    "TheodoreTracer": "tracing",
    "TracingConfig": "config",
    "TracingManager": "tracing",
    "audit": "audit",
    "configure": "process",
}
"""Each public name, and the module it lives in."""


def public(name: str) -> Any:
    """Return what a public name stands for; the module it lives in may have the same name."""
    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # `theodore_otel.audit` is the function, `theodore_otel.telemetry.audit` the module that it lives in.
        return import_module(f"{__name__}.{name}") if PUBLIC[name] == name else public(name)
