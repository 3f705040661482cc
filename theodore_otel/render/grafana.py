"""Render Grafana's data sources and dashboards; templates/grafana/dashboards says what each dashboard shows."""

from __future__ import annotations

import json
from typing import Any

import yaml

from theodore_otel import paths
from theodore_otel.config.base import Secret
from theodore_otel.config.destinations import Elasticsearch, Jaeger, Prometheus
from theodore_otel.config.model import Config
from theodore_otel.render.dashboards import dashboard
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.templates import environment


def render(config: Config, header: str) -> list[RenderedFile]:
    """Return the provisioning files, and the dashboards whose data source the configuration has."""
    made = {"header": header, "reference": _reference, **_sources(config)}
    files = []
    for name in ("datasources", "dashboards"):
        template = environment().get_template(f"grafana/{name}.yaml.j2")
        files.append(RenderedFile(f"grafana/provisioning/{name}/theodore.yaml", template.render(made)))
    for file in sorted((paths.data("templates") / "grafana/dashboards").glob("*.yaml")):
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
        if _has_source(described["source"], made):
            text = json.dumps(dashboard(file.stem, described), indent=2) + "\n"
            files.append(RenderedFile(f"grafana/dashboards/{file.stem}.json", text))
    return files


def _sources(config: Config) -> dict[str, Any]:
    """Return the servers that the configuration sends to, the first of each kind; None where it sends to none."""
    found = list(config.destinations.values())
    prometheus = next((each for each in found if isinstance(each, Prometheus)), None)
    jaeger = next((each for each in found if isinstance(each, Jaeger)), None)
    elasticsearch = next((each for each in found if isinstance(each, Elasticsearch) and "logs" in each.signals), None)
    fields = yaml.safe_load((paths.data("templates") / "grafana/fields.yaml").read_text(encoding="utf-8"))
    return {
        "prometheus": prometheus and (prometheus.endpoint or "http://prometheus:9090"),
        "jaeger": jaeger and f"http://{jaeger.endpoint.rpartition(':')[0]}:16686",
        "elasticsearch": elasticsearch,
        "fields": elasticsearch and fields[elasticsearch.mapping],
    }


def _has_source(source: str, made: dict[str, Any]) -> bool:
    """Say whether a dashboard's data source is there; that of logs knows documents in the otel mapping only."""
    return bool(made[source]) and (source != "elasticsearch" or made[source].mapping == "otel")


def _reference(secret: Secret) -> str:
    """Write a reference for Grafana to resolve when it starts; never the secret."""
    return f"$__env{{{secret.env}}}" if secret.env else f"$__file{{{secret.file}}}"
