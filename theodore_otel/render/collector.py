"""Render the collector's configuration."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
import yaml

from theodore_otel import paths
from theodore_otel.config.model import Config
from theodore_otel.conventions.registry import metrics
from theodore_otel.errors import InputError
from theodore_otel.render.extra import with_extra
from theodore_otel.render.filters import FILTERS, quoted
from theodore_otel.render.rules import redaction_rules

# The id an exporter has in the collector, by type of destination; {name} and {signal} are filled in.
_EXPORTERS = {
    "otlp": "otlp/{name}",
    "jaeger": "otlp/{name}",
    "prometheus": "prometheus/{name}",
    "elasticsearch": "elasticsearch/{name}",
    "datadog": "datadog/{name}",
    "file": "file/{name}_{signal}",
    "local": "file/{name}_{signal}",
    "console": "debug/{name}",
}


def render_collector(config: Config, header: str) -> str:
    """Return collector.yaml.

    Raises:
        InputError: when `collector.extra` would change what protects tenants or secrets.
    """
    text = (
        environment()
        .get_template("collector/collector.yaml.j2")
        .render(
            header=header,
            config=config,
            rules=redaction_rules(config),
            metrics=metrics(),
            exporters=_exporters(config),
            queue_directory=_place(config.collector.queue.directory, "queue"),
            credentials_file=_place(config.tenants.credentials_file, "credentials.htpasswd"),
            **_tables(),
        )
    )
    return with_extra(_squeeze(text), config.collector.extra, header)


@cache
def environment() -> jinja2.Environment:
    """Return the template environment: a name that is not given is an error, not an empty string."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.data("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  the output is YAML, quoted by the filters
    )
    env.filters.update(FILTERS)
    return env


def _exporters(config: Config) -> dict[str, list[str]]:
    """Return the exporters of each signal, in the file's order."""
    result: dict[str, list[str]] = {"traces": [], "logs": [], "metrics": []}
    for name, destination in config.destinations.items():
        kind = _EXPORTERS[destination.type]
        if destination.type == "otlp" and destination.protocol == "http":
            kind = "otlphttp/{name}"
        for signal in destination.signals:
            result[signal].append(kind.format(name=name, signal=signal))
    return result


def _place(configured: str | None, default: str) -> str:
    return quoted(configured) if configured else f'"${{env:THEODORE_OTEL_HOME}}/{default}"'


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = yaml.safe_load((paths.data("templates") / "collector/derived.yaml").read_text("utf-8"))
    return tables


def _squeeze(text: str) -> str:
    """Drop the blank lines macros leave behind, but keep one before each top-level key."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        if lines and not line.startswith((" ", "#")):
            lines.append("")
        lines.append(line.rstrip())
    result = "\n".join(lines) + "\n"
    if not isinstance(yaml.safe_load(result), dict):
        raise InputError("the rendered collector configuration is not a mapping")
    return result
