"""The list of checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from theodore_otel.doctor import access, collector, instrumentation, journal, theodore, watched
from theodore_otel.doctor.finding import Finding, Setup, failed
from theodore_otel.errors import TheodoreOtelError

Check = Callable[[Setup], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "configuration": collector.check_configuration,
    "collector": collector.check_binary,
    "pipelines": collector.check_pipelines,
    "rendered files": collector.check_rendered,
    "secrets": collector.check_secrets,
    "audit": access.check_audit,
    "credentials": access.check_credentials_file,
    "owners": access.check_owners,
    "distro": theodore.check_distro,
    "instrumentation": instrumentation.check_instrumentation,
    "versions": instrumentation.check_versions,
    "watched functions": watched.check_watched,
    "endpoint": theodore.check_endpoint,
    "clock": theodore.check_clock,
    "audit journal": journal.check_journal,
    "ports": collector.check_ports,
    "disk": collector.check_disk,
    "queues": collector.check_queues,
}


def examine(setup: Setup, skip: Collection[str] = ()) -> Iterator[tuple[str, Finding]]:
    """Yield every finding with the name of its check, except of those to skip."""
    for name, check in CHECKS.items():
        if name in skip:
            continue
        try:
            for finding in check(setup):
                yield name, finding
        except TheodoreOtelError as error:
            yield name, failed(str(error), "")
