"""What the configuration says of each tenant and service, for a look at all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from theodore_otel.config.model import Config, Tenant
from theodore_otel.config.units import format_duration

_KEPT = ("logs", "traces", "metrics", "audit")


def described(config: Config, owners: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return tenants and services, those of the configuration first, with what holds for them.

    `owners`: the credentials of each; a service's name has the prefix `svc-`.
    """
    tenants = [*config.tenants.list, *(name for name in owners if not name.startswith("svc-"))]
    services = [f"svc-{name}" for name in config.tenants.services]
    services += [name for name in owners if name.startswith("svc-")]
    return [
        *(_tenant(config, name, owners) for name in dict.fromkeys(tenants)),
        *(_service(config, name, owners) for name in dict.fromkeys(services)),
    ]


def _tenant(config: Config, name: str, owners: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    own, general = config.tenants.list.get(name, Tenant()), config.tenants.defaults
    retention = {kind: getattr(own.retention, kind) or getattr(general.retention, kind) for kind in _KEPT}
    return {
        "name": name,
        "kind": "tenant",
        "credentials": list(owners.get(name, [])),
        "isolation": own.isolation or general.isolation,
        "destinations": list(own.destinations or config.destinations),
        "retention": {kind: format_duration(kept) for kind, kept in retention.items()},
        "reports": [],
    }


def _service(config: Config, name: str, owners: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    listed = config.tenants.services.get(name.removeprefix("svc-"))
    return {
        "name": name.removeprefix("svc-"),
        "kind": "service",
        "credentials": list(owners.get(name, [])),
        "isolation": None,
        "destinations": [],
        "retention": {},
        "reports": list(listed.may_report) if listed else [],
    }
