"""Render the development stack: docker-compose.yaml, what can be set, and the configuration of Prometheus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from theodore_otel import __version__
from theodore_otel.config.model import Config
from theodore_otel.errors import InputError
from theodore_otel.otelcol import COLLECTOR_VERSION
from theodore_otel.render.exporters import listeners
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.filters import host
from theodore_otel.render.memory import go_environment
from theodore_otel.render.references import references
from theodore_otel.render.templates import environment

SERVERS = ("jaeger", "prometheus", "elasticsearch")
"""Servers that are part of the stack when a destination has their name as its host."""

_ELASTICSEARCH_VERSION = "8.19.21"
_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def render(config: Config, header: str) -> list[RenderedFile]:
    """Return docker-compose.yaml, .env.example and prometheus/prometheus.yml.

    Raises:
        InputError: when the collector would not be reached in its container, or would look for files there.
    """
    others = _others(config)
    _check_listeners(config)
    present = servers(config)
    service = next(iter(config.tenants.services), None) if config.tenants.identify_by == "basic" else None
    names = {
        "header": header,
        "config": config,
        "servers": present,
        "service": service,
        "secrets": _secrets(config, others),
        "channel_secrets": _channel_secrets(config, present),
        "channel_variables": _AWS if any(c.type == "sms" for c in config.alerting.channels.values()) else (),
        "volumes": _volumes(present, sample=service is not None),
        "digests": {name: _digest(files) for name, files in others.items()},
        "go": go_environment(config),
        "scraped": "metrics" in listeners(config),
        "own_version": __version__,
        "collector_version": COLLECTOR_VERSION,
        "elasticsearch_version": _ELASTICSEARCH_VERSION,
    }
    files = {"docker-compose.yaml": "docker-compose.yaml", "env.example": ".env.example"}
    if "prometheus" in present:
        files["prometheus.yml"] = "prometheus/prometheus.yml"
    return [
        RenderedFile(path, environment().get_template(f"compose/{name}.j2").render(names))
        for name, path in files.items()
    ]


def servers(config: Config) -> list[str]:
    """Return the servers that the stack brings, because a destination goes there."""
    hosts = {each for destination in config.destinations.values() for each in _hosts(destination)}
    return [name for name in SERVERS if name in hosts]


def _hosts(destination: Any) -> Iterator[str | None]:
    addresses = [getattr(destination, "endpoint", None), *getattr(destination, "endpoints", [])]
    for address in addresses:
        if address:
            yield urlsplit(address).hostname if "://" in address else host(address)


def _others(config: Config) -> dict[str, list[RenderedFile]]:
    """Return what is rendered with it and mounted, by target."""
    from theodore_otel.render import TARGETS, render_one

    included = [name for name in TARGETS["compose"].includes if name in TARGETS]
    return {"prometheus": [], "alertmanager": []} | {name: render_one(config, "", name) for name in included}


def _digest(files: list[RenderedFile]) -> str:
    text = "\0".join(part for file in files for part in (file.path, file.text))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check_listeners(config: Config) -> None:
    """Refuse listeners that nobody outside of the collector's container would reach."""
    for name, listen in listeners(config).items():
        if host(listen) != "0.0.0.0":  # noqa: S104  published on loopback only
            port = listen.rpartition(":")[2]
            raise InputError(
                f"collector.listen.{name}: expected 0.0.0.0:{port}, because the stack's collector listens in a "
                f"container (its ports are published on 127.0.0.1 only), got {listen}"
            )


def _secrets(config: Config, others: dict[str, list[RenderedFile]]) -> list[str]:
    """Return the variables that the collector needs."""
    found = dict.fromkeys(_AWS if any(each.type == "s3" for each in config.destinations.values()) else ())
    for file in others["collector"]:
        for reference in references(file.text):
            if reference.kind == "file":
                raise InputError(
                    f"file {reference.name}: expected secrets such as {{env: NAME}} in a configuration for compose, "
                    "which hands over variables, got {file: ...}"
                )
            found[reference.name] = None
    found.pop("THEODORE_OTEL_HOME", None)
    return list(found)


def _channel_secrets(config: Config, present: list[str]) -> dict[str, str]:
    """Return the variables that alert channels need, and what each is when it is not set.

    A webhook then leads into an index of the stack's own, so that it can be seen what would have been told.
    """
    if "prometheus" not in present:
        return {}
    webhooks = {channel.url.env for channel in config.alerting.channels.values() if channel.type == "webhook"}
    shown = "http://elasticsearch:9200/theodore-alerts/_doc"
    return {
        name: shown if name in webhooks and "elasticsearch" in present else "http://127.0.0.1:9/unset"
        for name in config.alerting.secret_names()
    }


def _volumes(present: list[str], *, sample: bool) -> list[str]:
    names = ["state"]
    names += ["prometheus", "alertmanager"] if "prometheus" in present else []
    names += ["elasticsearch", "kibana"] if "elasticsearch" in present else []
    names += ["grafana"] if present else []
    return names + (["demo", "theodore"] if sample else [])
