"""What can be configured from Python: small frozen dataclasses, checked when they are made.

A wrong value raises ValueError (a wrong type TypeError) that names the field, what was expected and what came.
Secrets never show in a `repr`. Theodore sends to the collector and to nowhere else: what stands in `AlertingConfig`,
`IntegrationConfig` and `TracingConfig.sampling_rate` is the collector's to do, see `theodore_otel.configure`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from theodore_otel.telemetry.levels import LogLevel

CHANNELS: Final = ("email", "slack", "webhook", "sms", "pagerduty")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_URL: Final = re.compile(r"https?://[^\s/@]+(/\S*)?")


@dataclass(frozen=True)
class LoggingConfig:
    """What `LoggerFactory.configure` sets up: lines on stderr and, if a path is given, in a file."""

    level: str = "INFO"
    """Least severe level shown: TRACE, DEBUG, INFO, WARN, ERROR or CRITICAL."""
    components: Mapping[str, str] = field(default_factory=dict)
    """Levels of single components, such as `{"scraper": "DEBUG"}`."""
    json_output: bool = True
    """One JSON object a line; otherwise text for people, in colour on a terminal."""
    console_output: bool = True
    """Whether there are lines on stderr at all."""
    correlation_id_header: str = "X-Correlation-ID"
    sensitive_fields: Sequence[str] = (
        "password",
        "token",
        "key",
        "secret",
        "api_key",
        "authorization",
        "credential",
        "auth",
        "session_id",
    )
    """Words in keys whose values are masked; they come on top of those that are built in."""
    log_file_path: str | None = None
    max_file_size_mb: int = 100
    """Size in MiB from which the file is put aside as `PATH.1`."""
    backup_count: int = 5
    """How many files that were put aside are kept."""

    def __post_init__(self) -> None:
        """Check every field and freeze what holds others."""
        _level(self, "level", self.level)
        _freeze(self, "components")
        for component, level in self.components.items():
            _level(self, f"components[{component!r}]", level)
        _flags(self, "json_output", "console_output")
        _matches(self, "correlation_id_header", _HEADER, "a header's name")
        _texts(self, "sensitive_fields")
        _optional_texts(self, "log_file_path")
        _whole(self, "max_file_size_mb", 1)
        _whole(self, "backup_count", 1)


@dataclass(frozen=True)
class TracingConfig:
    """How this process reports, and where to."""

    enabled: bool = True
    """Whether spans are sent."""
    service_version: str = "2.0.0"
    environment: str = "production"
    instance_id: str | None = None
    """Name of this process among several; a random one by default."""
    sampling_rate: float = 0.1
    """Share of ordinary traces kept, 0 to 1. The collector samples, with `tracing.sampling.rate` in theodore-otel.yaml:
    the process sends every span, because metrics are counted from them."""
    otlp_enabled: bool = True
    """Whether anything is sent at all."""
    otlp_endpoint: str | None = None
    """Base URL of the collector's OTLP/HTTP receiver; that of the settings by default."""
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of every request, such as a credential that does not come from the environment."""
    jaeger_enabled: bool = False
    """Whether spans go straight to a Jaeger instead of the collector. Nothing is counted from them there."""
    jaeger_endpoint: str = "http://127.0.0.1:4318"
    """Base URL of Jaeger's OTLP/HTTP receiver."""
    jaeger_host: str | None = None
    """Jaeger's host; with `jaeger_port` it makes `jaeger_endpoint`."""
    jaeger_port: int = 4318
    """Port of its OTLP/HTTP receiver; the ports of Jaeger's older agent (6831, 14268) are no longer spoken to."""

    def __post_init__(self) -> None:
        """Check every field and freeze what holds others."""
        _flags(self, "enabled", "otlp_enabled", "jaeger_enabled")
        _filled(self, "service_version", "environment", "jaeger_endpoint")
        _optional_texts(self, "instance_id", "otlp_endpoint", "jaeger_host")
        _whole(self, "jaeger_port", 1, 65_535)
        if self.jaeger_host is not None:
            host = f"[{self.jaeger_host}]" if ":" in self.jaeger_host else self.jaeger_host
            object.__setattr__(self, "jaeger_endpoint", f"http://{host}:{self.jaeger_port}")
        _share(self, "sampling_rate")
        for name in ("otlp_endpoint", "jaeger_endpoint"):
            _url(self, name)
        _freeze(self, "otlp_headers")


@dataclass(frozen=True)
class MetricsConfig:
    """What is measured."""

    enabled: bool = True
    prometheus_enabled: bool = False
    """Whether long-lived services also offer their metrics to a Prometheus that fetches them."""
    prometheus_port: int = 8000
    custom_metrics_enabled: bool = True
    business_metrics_enabled: bool = True
    """Whether `TheodoreLogger.business_metric` makes a metric besides the log record."""

    def __post_init__(self) -> None:
        """Check every field."""
        _flags(self, "enabled", "prometheus_enabled", "custom_metrics_enabled", "business_metrics_enabled")
        _whole(self, "prometheus_port", 0, 65_535)


@dataclass(frozen=True)
class AlertingConfig:
    """Whom alerts are sent to. Alerts are made from what the collector counted, not in Theodore's process."""

    enabled: bool = True
    default_channels: Sequence[str] = ("slack",)
    slack_webhook_url: str | None = field(default=None, repr=False)
    email_smtp_config: Mapping[str, Any] | None = field(default=None, repr=False)
    pagerduty_integration_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check every field and freeze what holds others."""
        _flags(self, "enabled")
        _texts(self, "default_channels")
        for channel in self.default_channels:
            if channel not in CHANNELS:
                raise _wrong(self, "default_channels", f"only {', '.join(CHANNELS)}", channel)
        _optional_texts(self, "slack_webhook_url", "pagerduty_integration_key", secret=True)
        if self.email_smtp_config is not None:
            _freeze(self, "email_smtp_config")


@dataclass(frozen=True)
class IntegrationConfig:
    """Where telemetry goes from the collector: each is a destination in theodore-otel.yaml."""

    datadog_enabled: bool = False
    datadog_api_key: str | None = field(default=None, repr=False)
    datadog_site: str = "datadoghq.com"
    newrelic_enabled: bool = False
    newrelic_license_key: str | None = field(default=None, repr=False)
    elk_enabled: bool = False
    elasticsearch_hosts: Sequence[str] = ("http://127.0.0.1:9200",)
    splunk_enabled: bool = False
    splunk_endpoint: str | None = None
    splunk_token: str | None = field(default=None, repr=False)
    datadog_app_key: str | None = field(default=None, repr=False)
    """Taken for older configurations; sending needs `datadog_api_key` alone."""
    splunk_host: str | None = None
    """Splunk's host; it makes `splunk_endpoint`, with the event collector's usual port 8088."""

    def __post_init__(self) -> None:
        """Check every field and freeze what holds others."""
        _flags(self, "datadog_enabled", "newrelic_enabled", "elk_enabled", "splunk_enabled")
        _filled(self, "datadog_site")
        _optional_texts(self, "splunk_endpoint", "splunk_host")
        _optional_texts(self, "datadog_api_key", "datadog_app_key", "newrelic_license_key", "splunk_token", secret=True)
        if self.splunk_host is not None and self.splunk_endpoint is None:
            object.__setattr__(self, "splunk_endpoint", f"https://{self.splunk_host}:8088/services/collector")
        _texts(self, "elasticsearch_hosts")

    def enabled(self) -> list[str]:
        """Return the types of the destinations that are wanted."""
        wanted = {
            "datadog": self.datadog_enabled,
            "newrelic": self.newrelic_enabled,
            "elasticsearch": self.elk_enabled,
            "splunk": self.splunk_enabled,
        }
        return [name for name, on in wanted.items() if on]


@dataclass(frozen=True)
class ObservabilityConfig:
    """Everything that `theodore_otel.configure` takes."""

    logging: LoggingConfig = field(default_factory=LoggingConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    alerting: AlertingConfig = field(default_factory=AlertingConfig)
    integrations: IntegrationConfig = field(default_factory=IntegrationConfig)

    def __post_init__(self) -> None:
        """Check that each part is of its own type."""
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise _mistyped(self, name, f"a {kind.__name__}", getattr(self, name))


_PARTS: Final[Mapping[str, type]] = {
    "logging": LoggingConfig,
    "tracing": TracingConfig,
    "metrics": MetricsConfig,
    "alerting": AlertingConfig,
    "integrations": IntegrationConfig,
}


def _wrong(owner: object, name: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{type(owner).__name__}.{name}: expected {expected}, got {value!r}")


def _mistyped(owner: object, name: str, expected: str, value: object, *, secret: bool = False) -> TypeError:
    got = type(value).__name__ if secret else repr(value)
    return TypeError(f"{type(owner).__name__}.{name}: expected {expected}, got {got}")


def _level(owner: object, name: str, value: Any) -> None:
    try:
        LogLevel.of(value)
    except ValueError as error:
        raise ValueError(f"{type(owner).__name__}.{name}: {error}") from None


def _flags(owner: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(owner, name), bool):
            raise _mistyped(owner, name, "True or False", getattr(owner, name))


def _filled(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, str) or not value:
            raise _mistyped(owner, name, "a text that is not empty", value)


def _optional_texts(owner: object, *names: str, secret: bool = False) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and (not isinstance(value, str) or not value):
            raise _mistyped(owner, name, "a text that is not empty, or None", value, secret=secret)


def _texts(owner: object, name: str) -> None:
    value = getattr(owner, name)
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise _mistyped(owner, name, "a list of texts", value)
    object.__setattr__(owner, name, tuple(value))


def _matches(owner: object, name: str, pattern: re.Pattern[str], expected: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _wrong(owner, name, expected, value)


def _url(owner: object, name: str) -> None:
    value = getattr(owner, name)
    if value is not None and not _URL.fullmatch(value):
        shown = "one with a password" if "@" in value else value
        raise _wrong(owner, name, "a URL without credentials such as http://127.0.0.1:4318", shown)


def _whole(owner: object, name: str, least: int, most: int | None = None) -> None:
    value = getattr(owner, name)
    expected = f"a whole number from {least}" + (f" to {most}" if most is not None else " on")
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mistyped(owner, name, expected, value)
    if value < least or (most is not None and value > most):
        raise _wrong(owner, name, expected, value)


def _share(owner: object, name: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mistyped(owner, name, "a number from 0 to 1", value)
    if not 0 <= value <= 1:
        raise _wrong(owner, name, "a number from 0 to 1", value)


def _freeze(owner: object, name: str) -> None:
    value = getattr(owner, name)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _mistyped(owner, name, "a mapping with texts as keys", value, secret=True)
    object.__setattr__(owner, name, _Frozen(value))


class _Frozen(dict[str, Any]):
    """A mapping that cannot be changed, and can be copied and pickled all the same."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a configuration cannot be changed; make another one")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)
