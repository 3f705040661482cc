"""Render the collector's configuration."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from theodore_otel import paths
from theodore_otel.config.model import AUDIT_QUEUE, Config
from theodore_otel.config.units import format_duration
from theodore_otel.conventions.registry import attributes, metrics
from theodore_otel.errors import InputError
from theodore_otel.render.exporters import exporters
from theodore_otel.render.extra import with_extra
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.filters import quoted
from theodore_otel.render.health import targets
from theodore_otel.render.lanes import FLOWS, Lane, lanes, outlets
from theodore_otel.render.rules import redaction_rules
from theodore_otel.render.templates import environment


def render(config: Config, header: str, instance: str = "") -> list[RenderedFile]:
    """Return collector.yaml; `instance` tells what several collectors count apart, whose sums would collide else.

    Raises:
        InputError: when `collector.extra` would change what protects tenants or secrets, or a tenant drops what it
            is known by.
    """
    text = (
        environment()
        .get_template("collector/collector.yaml.j2")
        .render(
            header=header,
            instance=instance,
            config=config,
            rules=redaction_rules(config),
            metrics=metrics(),
            known=list(attributes()),
            sent=[metric for metric in metrics().values() if metric.source == "process"],
            counted=[metric.name for metric in metrics().values() if metric.source != "process"],
            health_targets=targets(config),
            exporters=exporters(config),
            audit_queue=min(config.collector.queue.size, AUDIT_QUEUE),
            queue_directory=_place(config.collector.queue.directory, "queue"),
            credentials_file=_place(config.tenants.credentials_file, "credentials.htpasswd"),
            **_ways(lanes(config)),
            **_differences(config),
            **_tables(),
        )
    )
    return [RenderedFile("collector.yaml", with_extra(_squeeze(text), config.collector.extra, header))]


def _ways(all_lanes: list[Lane]) -> dict[str, Any]:
    """Return the lanes, and what of them the pipelines need: who is set apart where, and what stands between."""
    shared = all_lanes[0]
    return {
        "lanes": all_lanes,
        "split": [lane for lane in all_lanes[1:] if lane.dedicated or lane.datadog != shared.datadog],
        "outlets": [outlet for outlet in outlets(all_lanes) if outlet.has_pipeline],
        "dropping": [outlet for outlet in outlets(all_lanes) if outlet.drops],
        "stats": list(dict.fromkeys(outlet for lane in all_lanes for outlet in lane.datadog)),
        "nowhere": any(not lane.entries(flow) for lane in all_lanes for flow in FLOWS),
    }


def _differences(config: Config) -> dict[str, Any]:
    """Return what single tenants want otherwise than the rest."""
    listed = config.tenants.list
    rates = {name: tenant.sampling.traces for name, tenant in listed.items() if tenant.sampling.traces is not None}
    dedicated = {lane.name for lane in lanes(config) if lane.dedicated}
    _check_dropped(config)
    return {
        "rates": rates,
        "shared_rates": {name: rate for name, rate in rates.items() if name not in dedicated},
        "log_rates": {name: tenant.sampling.logs for name, tenant in listed.items() if tenant.sampling.logs},
        "differing": {n: tenant for n, tenant in listed.items() if tenant.drop_attributes or tenant.keep_attributes},
        "retention_classes": {kind: _classes(config, kind) for kind in ("traces", "logs", "metrics", "audit")},
    }


def _check_dropped(config: Config) -> None:
    """Refuse to drop what says whose telemetry it is and what it is."""
    protected = _tables()["protected"]
    for name, tenant in config.tenants.list.items():
        for attribute in tenant.drop_attributes:
            if attribute in protected:
                raise InputError(
                    f"tenants.list.{name}.drop_attributes: expected names other than {', '.join(protected)}, "
                    f"which say whose it is and what it is, got {attribute!r}"
                )


def _classes(config: Config, kind: str) -> dict[str, list[str]]:
    """Return the tenants whose telemetry is kept otherwise than in general, by how long it is kept."""
    found: dict[str, list[str]] = {}
    for name, tenant in config.tenants.list.items():
        kept = getattr(tenant.retention, kind)
        if kept is not None and kept != getattr(config.tenants.defaults.retention, kind):
            found.setdefault(format_duration(kept), []).append(name)
    return found


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
