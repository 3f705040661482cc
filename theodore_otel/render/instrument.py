"""Render the small JSON file that Theodore's process reads."""

from __future__ import annotations

import json
from typing import Any

from theodore_otel.config.instrument import Watch
from theodore_otel.config.model import Config
from theodore_otel.render.files import RenderedFile
from theodore_otel.render.rules import redaction_rules


def render(config: Config, header: str) -> list[RenderedFile]:  # noqa: ARG001
    """Return instrument.json; JSON has no place for a header."""
    return [RenderedFile("instrument.json", render_instrument(config))]


def render_instrument(config: Config) -> str:
    """Return the settings as JSON. They hold no secret: the credential comes from the environment."""
    own = config.instrument
    scheme = "https" if config.collector.tls and config.collector.tls.enabled else "http"
    settings: dict[str, Any] = {
        "schema": 1,
        "service": config.service.model_dump(),
        "endpoint": own.endpoint or f"{scheme}://{config.collector.listen.http}",
        "correlation_header": config.logging.correlation_header,
        "tenant_header": own.tenant_header,
        "user_header": own.user_header,
        "propagate_to": own.propagate_to,
        "health_routes": own.health_routes,
        "logging": {"level": config.logging.level, "components": config.logging.components},
        "redaction": redaction_rules(config).settings(),
        "exit_budget": own.exit_budget.total_seconds(),
        "watch": _watch(own.watch),
        "analytics": own.analytics.model_dump(exclude_none=True),
        "model_apis": [api.model_dump() for api in own.model_apis],
        "audit": {
            **own.audit.model_dump(exclude={"keep", "key"}),
            "key": own.audit.key.model_dump(exclude_none=True) if own.audit.key else None,
            "keep": own.audit.keep.total_seconds(),
        },
        "spool": {"enabled": own.spool.enabled, "size": own.spool.size, "dir": own.spool.dir},
        "prices": {model: price.model_dump(exclude_none=True) for model, price in own.prices.items()},
    }
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def _watch(watch: Watch) -> dict[str, list[dict[str, Any]]]:
    """Return the watched functions of each kind, without what is not set."""
    return {
        kind: [entry.model_dump(exclude_unset=True, exclude_none=True) for entry in getattr(watch, kind)]
        for kind in type(watch).model_fields
    }
