"""`configure`: what `opentelemetry-instrument` does, from within the program."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from theodore_otel.instrument import children, forks
from theodore_otel.instrument import settings as settings_module
from theodore_otel.instrument.say import say
from theodore_otel.instrument.settings import SIGNALS, Settings
from theodore_otel.telemetry import logger
from theodore_otel.telemetry.config import LoggingConfig, ObservabilityConfig, TracingConfig
from theodore_otel.telemetry.factory import LoggerFactory, context_kept
from theodore_otel.telemetry.levels import LogLevel

_lock = forks.Lock()


def configure(config: ObservabilityConfig | None = None) -> None:
    """Set this process up as `opentelemetry-instrument` does, and show its records as `config.logging` says.

    Call it early, before the libraries that are to be observed are used. What `config` leaves at its default comes
    from the settings file; the standard variables (`OTEL_*`) win over both. Where the process is set up already, one
    line says so, and `config.logging` alone takes effect. Raises TypeError for what is no configuration.
    """
    if config is None:
        config = ObservabilityConfig()
    if not isinstance(config, ObservabilityConfig):
        raise TypeError(f"expected an ObservabilityConfig, got {type(config).__name__}")
    with _lock:
        if settings_module.current is None:
            if not settings_module.disabled():
                _set_up(config)
        elif not children.spawned:  # the process that spawned this one had it set up
            say("this process is set up already; only what configure() was told about its output takes effect")
    _show(config)


def take_over(given: bytes) -> None:
    """Set this process, that multiprocessing spawned, up as the one that spawned it was."""
    config: ObservabilityConfig = pickle.loads(given)  # noqa: S301 - from our own parent, by its pipe
    _set_up(config)
    _show(config)


def adjusted(settings: Settings, config: ObservabilityConfig, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with what `config` changes."""
    logging, tracing = config.logging, config.tracing
    changed = {**_changed(logging, LoggingConfig()), **_changed(tracing, TracingConfig())}
    kept: dict[str, Any] = {name: changed[name] for name in ("environment", "service_version") if name in changed}
    if "level" in changed:
        kept["log_level"] = int(LogLevel.of(logging.level))
    if "correlation_id_header" in changed:
        kept["correlation_header"] = logging.correlation_id_header
    if tracing.otlp_endpoint and not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        kept["endpoint"] = tracing.otlp_endpoint
    headers = _headers(settings, tracing, environ)
    if tracing.jaeger_enabled and "traces" not in settings.endpoints:
        kept["endpoints"] = {**settings.endpoints, "traces": f"{tracing.jaeger_endpoint.rstrip('/')}/v1/traces"}
        headers = {**headers, "traces": {}}  # they are for the collector's eyes
    return replace(
        settings,
        **kept,
        headers=headers,
        log_components={**{c: int(LogLevel.of(v)) for c, v in logging.components.items()}, **settings.log_components},
        redaction=_redaction(settings.redaction, logging),
        signals=_signals(config),
        instance_id=tracing.instance_id,
    )


def _show(config: ObservabilityConfig) -> None:
    LoggerFactory.configure(config)
    logger.counts_business = config.metrics.business_metrics_enabled


def _set_up(config: ObservabilityConfig) -> None:
    from theodore_otel.instrument import configurator, startup

    if not children.spawned:
        _tell_what_is_the_collectors(config)
    children.given = pickle.dumps(config)
    configurator.adjust = lambda settings: adjusted(settings, config)
    with context_kept():
        startup.start()


def _tell_what_is_the_collectors(config: ObservabilityConfig) -> None:
    keys = [f"destinations ({', '.join(config.integrations.enabled())})"] if config.integrations.enabled() else []
    if config.tracing.sampling_rate != TracingConfig.sampling_rate:
        keys.append("tracing.sampling.rate")
    if _changed(config.alerting, type(config.alerting)()):
        keys.append("alerting")
    if keys:
        say(f"set in theodore-otel.yaml what the collector does, configure() cannot: {', '.join(keys)}")


def _changed(part: Any, default: Any) -> dict[str, Any]:
    pairs = ((f.name, getattr(part, f.name), getattr(default, f.name)) for f in fields(part))
    return {name: value for name, value, usual in pairs if value != usual}


def _headers(settings: Settings, tracing: TracingConfig, environ: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    if not tracing.otlp_headers or environ.get("OTEL_EXPORTER_OTLP_HEADERS"):
        return settings.headers
    given = {name.lower(): value for name, value in tracing.otlp_headers.items()}
    return {signal: {**settings.headers.get(signal, {}), **given} for signal in SIGNALS}


def _redaction(redaction: Mapping[str, Any], logging: LoggingConfig) -> Mapping[str, Any]:
    from theodore_otel.telemetry.redact import word

    return {**redaction, "keys": [*redaction.get("keys", ()), *map(word, logging.sensitive_fields)]}


def _signals(config: ObservabilityConfig) -> frozenset[str]:
    if not config.tracing.otlp_enabled:
        return frozenset()
    off = {"traces": config.tracing.enabled, "metrics": config.metrics.enabled}
    return frozenset(signal for signal in SIGNALS if off.get(signal, True))
