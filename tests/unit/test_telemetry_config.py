"""Configuration from Python: the defaults that are promised, frozen, and errors that say what is wrong."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from theodore_otel import (
    AlertingConfig,
    IntegrationConfig,
    LogCategory,
    LoggingConfig,
    LogLevel,
    MetricsConfig,
    ObservabilityConfig,
    TracingConfig,
)
from theodore_otel.instrument.settings import Settings
from theodore_otel.telemetry.process import adjusted


def test_the_defaults_are_those_that_are_promised():
    config = ObservabilityConfig()
    assert (config.logging.level, config.logging.json_output) == ("INFO", True)
    assert (config.logging.max_file_size_mb, config.logging.backup_count) == (100, 5)
    assert config.logging.correlation_id_header == "X-Correlation-ID"
    assert (config.tracing.service_version, config.tracing.environment) == ("2.0.0", "production")
    assert config.tracing.sampling_rate == 0.1
    assert (config.metrics.prometheus_enabled, config.metrics.prometheus_port) == (False, 8000)
    assert config.alerting.default_channels == ("slack",)
    assert config.integrations.enabled() == []


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: LoggingConfig(level="LOUD"), ValueError, "LoggingConfig.level: expected one of TRACE, DEBUG"),
        (lambda: LoggingConfig(components={"a": "x"}), ValueError, "components['a']: expected one of"),
        (lambda: LoggingConfig(json_output="no"), TypeError, "json_output: expected True or False, got 'no'"),
        (lambda: LoggingConfig(max_file_size_mb=0), ValueError, "max_file_size_mb: expected a whole number from 1"),
        (lambda: LoggingConfig(sensitive_fields="pin"), TypeError, "sensitive_fields: expected a list of texts"),
        (lambda: LoggingConfig(correlation_id_header="a b"), ValueError, "correlation_id_header: expected a header"),
        (lambda: TracingConfig(sampling_rate=2), ValueError, "sampling_rate: expected a number from 0 to 1, got 2"),
        (lambda: TracingConfig(otlp_endpoint="host:4317"), ValueError, "otlp_endpoint: expected a URL"),
        (lambda: TracingConfig(environment=""), TypeError, "environment: expected a text that is not empty"),
        (lambda: MetricsConfig(prometheus_port=70_000), ValueError, "expected a whole number from 0 to 65535"),
        (lambda: AlertingConfig(default_channels=["pager"]), ValueError, "expected only email, slack"),
        (lambda: ObservabilityConfig(logging=TracingConfig()), TypeError, "logging: expected a LoggingConfig"),
    ],
)
def test_a_wrong_value_is_told_with_its_field(make, error, said):
    with pytest.raises(error) as caught:
        make()
    assert said in str(caught.value)


def test_secrets_show_neither_in_a_repr_nor_in_an_error():
    secret = "hunter2-hunter2"
    shown = repr(
        ObservabilityConfig(
            tracing=TracingConfig(otlp_headers={"authorization": secret}),
            alerting=AlertingConfig(slack_webhook_url=secret, pagerduty_integration_key=secret),
            integrations=IntegrationConfig(datadog_api_key=secret, splunk_token=secret, newrelic_license_key=secret),
        )
    )
    assert secret not in shown
    with pytest.raises(ValueError, match="without credentials") as caught:
        TracingConfig(otlp_endpoint=f"http://user:{secret}@host")
    assert secret not in str(caught.value)
    with pytest.raises(TypeError) as mistyped:
        IntegrationConfig(datadog_api_key=[secret])
    assert secret not in str(mistyped.value)


def test_a_configuration_cannot_be_changed_afterwards():
    given = {"scraper": "DEBUG"}
    config = LoggingConfig(components=given)
    given["crawler"] = "TRACE"
    assert dict(config.components) == {"scraper": "DEBUG"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.level = "DEBUG"
    with pytest.raises(TypeError):
        config.components["scraper"] = "INFO"


def test_a_configuration_can_be_copied_pickled_and_taken_apart():
    config = ObservabilityConfig(
        logging=LoggingConfig(components={"scraper": "DEBUG"}), tracing=TracingConfig(otlp_headers={"a": "b"})
    )
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert dataclasses.asdict(config)["logging"]["components"] == {"scraper": "DEBUG"}
    assert dataclasses.replace(config.logging, level="DEBUG").components == {"scraper": "DEBUG"}


def test_levels_are_known_by_their_other_names_too():
    assert LogLevel.of("warning") is LogLevel.WARN
    assert LogLevel.of("FATAL") is LogLevel.CRITICAL
    assert LogLevel.of(5) is LogLevel.TRACE
    assert [str(category) for category in LogCategory][:3] == ["system", "security", "audit"]


def test_what_is_left_at_its_default_comes_from_the_settings():
    settings = Settings(environment="staging", endpoint="http://collector:4318", log_level=30)
    kept = adjusted(settings, ObservabilityConfig(), {})
    assert (kept.environment, kept.endpoint, kept.log_level) == ("staging", "http://collector:4318", 30)
    assert kept.signals == {"traces", "logs", "metrics"}


def test_what_is_given_wins_over_the_settings_and_the_environment_over_both():
    config = ObservabilityConfig(
        logging=LoggingConfig(level="DEBUG", components={"scraper": "TRACE"}, sensitive_fields=["Internal Ref"]),
        tracing=TracingConfig(
            environment="test", otlp_endpoint="http://other:1", otlp_headers={"X-A": "b"}, instance_id="one"
        ),
        metrics=MetricsConfig(enabled=False),
    )
    settings = Settings(headers={"logs": {"authorization": "Basic x"}})
    changed = adjusted(settings, config, {})
    assert (changed.environment, changed.endpoint, changed.log_level) == ("test", "http://other:1", 10)
    assert changed.log_components == {"scraper": 5}
    assert changed.headers["logs"] == {"authorization": "Basic x", "x-a": "b"}
    assert changed.redaction["keys"] == ["internal_ref"]
    assert changed.signals == {"traces", "logs"}
    assert changed.instance_id == "one"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://env:2", "OTEL_EXPORTER_OTLP_HEADERS": "x-a=c"}
    ruled = adjusted(settings, config, environment)
    assert ruled.endpoint == settings.endpoint
    assert ruled.headers == settings.headers


def test_a_jaeger_gets_spans_straight_away_and_nothing_is_sent_where_that_is_switched_off():
    jaeger = TracingConfig(jaeger_enabled=True, jaeger_endpoint="http://jaeger:4318/")
    settings = Settings(headers={"traces": {"authorization": "Basic x"}, "logs": {"authorization": "Basic x"}})
    sent = adjusted(settings, ObservabilityConfig(tracing=jaeger), {})
    assert sent.url("traces") == "http://jaeger:4318/v1/traces"
    assert sent.headers == {"traces": {}, "logs": {"authorization": "Basic x"}}
    silent = ObservabilityConfig(tracing=TracingConfig(otlp_enabled=False))
    assert adjusted(Settings(), silent, {}).signals == frozenset()


def test_hosts_of_older_configurations_make_endpoints():
    assert TracingConfig(jaeger_host="jaeger").jaeger_endpoint == "http://jaeger:4318"
    assert TracingConfig(jaeger_host="::1", jaeger_port=14318).jaeger_endpoint == "http://[::1]:14318"
    given = IntegrationConfig(splunk_host="splunk", datadog_app_key="abcdef")
    assert given.splunk_endpoint == "https://splunk:8088/services/collector"
    assert IntegrationConfig(splunk_host="a", splunk_endpoint="https://b/c").splunk_endpoint == "https://b/c"
    assert "abcdef" not in repr(given)
    with pytest.raises(ValueError, match="jaeger_port"):
        TracingConfig(jaeger_port=0)
