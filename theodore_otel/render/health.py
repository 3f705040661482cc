"""What the collector asks whether it is well: itself, what destinations tell of, and what the configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from theodore_otel.config.base import Tls
from theodore_otel.config.destinations import AnyDestination
from theodore_otel.config.health import HealthTarget
from theodore_otel.config.model import Config
from theodore_otel.render.filters import host, port, secret
from theodore_otel.render.lanes import lanes

_TIMEOUT = timedelta(seconds=5)
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class Target:
    """An address that the collector asks."""

    name: str
    url: str
    tls: Tls = field(default_factory=Tls)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Values as YAML, references for secrets."""
    timeout: timedelta = _TIMEOUT
    status: int | None = None
    """Status of a good answer; None: any 2xx."""
    body: str | None = None
    """Pattern that a good answer's body has."""


def targets(config: Config) -> list[Target]:
    """Return what is asked, by name; nothing where no destination of everybody's would take the answers.

    What the configuration names comes instead of what a destination tells, when it has its name or its address.
    """
    if not lanes(config)[0].entries("metrics"):
        return []
    named = [_named(target) for target in config.health.targets]
    taken = {each.name for each in named} | {each.url for each in named}
    told = [each for each in _told(config) if not {each.name, each.url} & taken]
    return list({each.url: each for each in [*told, *named]}.values())


def _named(target: HealthTarget) -> Target:
    headers = {name: secret(reference) for name, reference in target.headers.items()}
    return Target(target.name, target.url, target.tls, headers, target.timeout, target.status, target.body)


def _told(config: Config) -> Iterator[Target]:
    listen = config.collector.listen.health
    address = _LOOPBACK.get(host(listen), host(listen))
    yield Target("collector", f"http://{f'[{address}]' if ':' in address else address}:{port(listen)}/")
    for name, destination in config.destinations.items():
        yield from _of(name, destination)


def _of(name: str, destination: AnyDestination) -> Iterator[Target]:
    if destination.type == "prometheus" and destination.endpoint:
        yield Target(name, f"{destination.endpoint.rstrip('/')}/-/ready", destination.tls)
    elif destination.type == "elasticsearch":
        key = destination.api_key
        headers = {"Authorization": secret(key).replace('"', '"ApiKey ', 1)} if key else {}
        several = len(destination.endpoints) > 1
        for number, endpoint in enumerate(destination.endpoints, 1):
            url = f"{endpoint.rstrip('/')}/_cluster/health?wait_for_status=yellow&timeout=1s"
            yield Target(f"{name}-{number}" if several else name, url, destination.tls, headers)
