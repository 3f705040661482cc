"""What the OpenTelemetry specification's environment variables do here: used, or told to be without effect.

One table for all of them, so that none ends telemetry, or is passed over, without a word. It is checked before anything
of OpenTelemetry is imported, because some of it reads the environment as it is imported, and raises.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Final, NamedTuple

from theodore_otel.instrument.say import say


class Variable(NamedTuple):
    """One variable of the specification, or a group of them."""

    name: str
    """`*` stands for any part of the name."""
    use: str
    """What becomes of it here, for the documentation."""
    quiet: str | None = None
    """Values that need no word, one after the other; None: all do not."""
    told: str = ""
    """What is told of any other value; nothing where the variable is used."""
    number: bool = False
    """Whether it has to be a whole number, not below zero: upstream raises for anything else."""


_OTHER_EXPORTERS: Final = "only OTLP is sent, to the collector, which sends on"
_BOUNDED: Final = "a request takes 10 s at most, and instrument.exit_budget bounds the end of the program"

TABLE: Final = (
    Variable("OTEL_SDK_DISABLED", "used: `true` switches everything off"),
    Variable("OTEL_SERVICE_NAME", "used"),
    Variable("OTEL_RESOURCE_ATTRIBUTES", "used, over the configuration's"),
    Variable("OTEL_LOG_LEVEL", "used: what OpenTelemetry says of itself is shown"),
    Variable("OTEL_PROPAGATORS", "used; unknown ones are told and left out"),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "used, and told: the collector decides what is kept, and counts what it gets",
        "parentbased_always_on always_on",
        "traces are left out in this process; errors, slow operations and what is counted from spans go missing",
    ),
    Variable("OTEL_TRACES_SAMPLER_ARG", "used with `OTEL_TRACES_SAMPLER`"),
    Variable("OTEL_TRACES_EXPORTER", "`otlp` or `none`; others are told, and traces stay off"),
    Variable("OTEL_METRICS_EXPORTER", "`otlp` or `none`; others are told, and metrics stay off"),
    Variable("OTEL_LOGS_EXPORTER", "`otlp` or `none`; others are told, and logs stay off"),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", "used"),
    Variable("OTEL_EXPORTER_OTLP_*_ENDPOINT", "used"),
    Variable("OTEL_EXPORTER_OTLP_HEADERS", "used"),
    Variable("OTEL_EXPORTER_OTLP_*_HEADERS", "used"),
    Variable("OTEL_EXPORTER_OTLP_COMPRESSION", "`none` or `gzip`; others are told", "none gzip", "gzip is used"),
    Variable("OTEL_EXPORTER_OTLP_CERTIFICATE", "used"),
    Variable("OTEL_EXPORTER_OTLP_CLIENT_KEY", "used"),
    Variable("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "used"),
    Variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "`http/protobuf` only; others are told",
        "http/protobuf",
        "expected http/protobuf, which is sent; its port is 4318",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_*_PROTOCOL",
        "`http/protobuf` only; others are told",
        "http/protobuf",
        "expected http/protobuf, which is sent; its port is 4318",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "`cumulative` only; others are told",
        "cumulative",
        "metrics are sent as cumulative",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "`explicit_bucket_histogram` only; others are told",
        "explicit_bucket_histogram",
        "histograms are sent with explicit buckets",
    ),
    Variable("OTEL_EXPORTER_OTLP_TIMEOUT", "told", "", _BOUNDED),
    Variable("OTEL_EXPORTER_OTLP_*_TIMEOUT", "told", "", _BOUNDED),
    Variable("OTEL_EXPORTER_OTLP_*_COMPRESSION", "told", "", "OTEL_EXPORTER_OTLP_COMPRESSION is for all signals"),
    Variable("OTEL_EXPORTER_OTLP_*_CERTIFICATE", "told", "", "OTEL_EXPORTER_OTLP_CERTIFICATE is for all signals"),
    Variable("OTEL_EXPORTER_OTLP_*_CLIENT_KEY", "told", "", "OTEL_EXPORTER_OTLP_CLIENT_KEY is for all signals"),
    Variable("OTEL_EXPORTER_OTLP_INSECURE", "told", "", "the endpoint says http:// or https://"),
    Variable("OTEL_EXPORTER_OTLP_*_INSECURE", "told", "", "the endpoint says http:// or https://"),
    Variable("OTEL_METRIC_EXPORT_INTERVAL", "used, milliseconds", number=True),
    Variable("OTEL_METRIC_EXPORT_TIMEOUT", "told", "", "a request takes 10 s at most"),
    Variable("OTEL_METRICS_EXEMPLAR_FILTER", "`always_off` only", "always_off", "exemplars are off: nobody masks them"),
    Variable("OTEL_BSP_*", "told", "", "spans are sent by instrument.* of the configuration"),
    Variable("OTEL_BLRP_*", "told", "", "log records are sent by instrument.* of the configuration"),
    Variable("OTEL_ATTRIBUTE_*_LIMIT", "used", number=True),
    Variable("OTEL_SPAN_*_LIMIT", "used", number=True),
    Variable("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "used", number=True),
    Variable("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "used", number=True),
    Variable("OTEL_LOGRECORD_*_LIMIT", "used", number=True),
    Variable("OTEL_EXPORTER_ZIPKIN_*", "told", "", _OTHER_EXPORTERS),
    Variable("OTEL_EXPORTER_JAEGER_*", "told", "", _OTHER_EXPORTERS),
    Variable("OTEL_EXPORTER_PROMETHEUS_*", "told", "", _OTHER_EXPORTERS),
    Variable("OTEL_CONFIG_FILE", "told", "", "the configuration is THEODORE_OTEL_CONFIG"),
    Variable("OTEL_EXPERIMENTAL_CONFIG_FILE", "told", "", "the configuration is THEODORE_OTEL_CONFIG"),
    Variable("OTEL_ENTITIES", "told", "", "set OTEL_RESOURCE_ATTRIBUTES"),
)
"""Order does not matter: no name matches two rows but for `OTEL_EXPORTER_OTLP_*_...`, whose exact name wins."""

_PROPAGATORS: Final = "OTEL_PROPAGATORS"
_SAMPLERS: Final = frozenset(
    f"{parent}{name}" for parent in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")
)


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell what has no effect, and take out of the environment what would raise in OpenTelemetry; never raises."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    for name, complaint in complaints(environ):
        say(complaint)
        if name == _PROPAGATORS:
            environ[name] = ",".join(sorted(set(_named(environ[name])) - set(_unknown(environ[name])))) or "none"
        elif _row(name).number:
            del environ[name]


def complaints(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names of variables with an odd value, with what is told of each."""
    return [
        (name, f"{_shown(name, environ[name])}: {why}") for name in sorted(environ) for why in _odd(name, environ[name])
    ]


def _shown(name: str, value: str) -> str:
    """Return a variable with its value, but for those whose value could hold a password or be of any length."""
    row = _row(name)
    shown = "".join(c if c.isprintable() else "?" for c in value[:80])
    return f"{name}={shown}" if row.number or row.quiet or name == _PROPAGATORS else name


def _odd(name: str, value: str) -> Iterator[str]:
    if not value.strip() or not name.startswith("OTEL_"):
        return
    row = _row(name)
    word = value.strip().lower()
    if name == _PROPAGATORS:
        if unknown := _unknown(value):
            yield f"there is no propagator {', '.join(unknown)}; it is left out"
    elif row.number and not value.strip().isdecimal():
        yield "expected a whole number; it is left out"
    elif name == "OTEL_TRACES_SAMPLER" and word not in _SAMPLERS:
        yield "there is no such sampler; parentbased_always_on is used"
    elif row.quiet is not None and word not in row.quiet.split():
        yield row.told


def _row(name: str) -> Variable:
    exact = [row for row in TABLE if row.name == name]
    return next(iter([*exact, *(row for row in TABLE if _fits(row.name, name))]), _UNKNOWN)


_UNKNOWN: Final = Variable("", "not one of the specification: left to whom it is for")


def _fits(pattern: str, name: str) -> bool:
    before, star, after = pattern.partition("*")
    return bool(star) and len(name) > len(before) + len(after) and name.startswith(before) and name.endswith(after)


def _named(value: str) -> list[str]:
    return [word for word in (part.strip() for part in value.split(",")) if word]


def _unknown(value: str) -> list[str]:
    from importlib.metadata import entry_points

    known = {entry_point.name for entry_point in entry_points(group="opentelemetry_propagator")} | {"none"}
    return [word for word in _named(value) if word not in known]
