"""Checks of who may send, and of where audit records go."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from theodore_otel.config.guarantees import guarantee, guarantees
from theodore_otel.config.model import Config
from theodore_otel.doctor.finding import Finding, Setup, failed, note, ok, warning
from theodore_otel.otelcol import credentials
from theodore_otel.render.lanes import Lane, lanes

_NEVER_LOST = ("audit", "security")


def check_audit(setup: Setup) -> Iterator[Finding]:
    """Does every tenant's audit and security trail have a destination that loses none of it?"""
    strong = ", ".join(kind for kind, rows in guarantees().items() if any(row.audit == "strong" for row in rows))
    said: dict[tuple[str, str], list[str]] = {}
    for lane in lanes(setup.config):
        for category in _NEVER_LOST:
            weak = _weak(setup.config, lane, category)
            if weak is not None:
                said.setdefault((_who(lane), weak), []).append(category)
    for (who, weak), categories in said.items():
        # On a newcomer's own machine the one destination is the local store, and nobody's compliance hangs on it.
        told = note if setup.config.profile == "local" else warning
        yield told(
            f"{' and '.join(categories)} records of {who} go {weak}",
            f"send them to a destination of a strong type too: {strong}",
        )
    if not said:
        yield ok("audit and security records have a destination that loses none")


def check_credentials_file(setup: Setup) -> Iterator[Finding]:
    """Is the credentials file there, and nobody else's business?"""
    if setup.config.tenants.identify_by != "basic":
        yield ok(f"not asked for (tenants.identify_by: {setup.config.tenants.identify_by})")
        return
    file = _file(setup.config)
    if not credentials.names(file):
        yield failed(f"{file}: no credentials, so every request is refused", "theodore-otel tenant add NAME")
        return
    if not file.is_absolute():
        yield warning(f"{file} is found from whatever folder the collector is started in", "write an absolute path")
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IRWXO:
        yield warning(f"{file}: others may use it (mode {mode:04o})", f"chmod 600 {file}")
    else:
        yield ok(f"{file}: {len(credentials.names(file))} credentials, mode {mode:04o}")


def check_owners(setup: Setup) -> Iterator[Finding]:
    """Has everybody in the configuration a credential, and is every credential somebody's?"""
    tenants = setup.config.tenants
    if tenants.identify_by != "basic":
        return
    owners = credentials.owners(_file(setup.config))
    prefix = credentials.SERVICE_PREFIX
    reported = {
        tenant for name, service in tenants.services.items() if prefix + name in owners for tenant in service.may_report
    }
    silent = [name for name in tenants.list if name not in owners and name not in reported]
    mute = [name for name in tenants.services if prefix + name not in owners]
    nobody = [
        owner
        for owner in owners
        if not credentials.valid(owner)
        or owner in owners[owner]  # without a number, so that it stands for no tenant
        or (owner.startswith(prefix) and owner.removeprefix(prefix) not in tenants.services)
    ]
    if silent:
        yield warning(f"tenants that nobody can report: {', '.join(silent)}", f"theodore-otel tenant add {silent[0]}")
    if mute:
        yield warning(
            f"services without credentials: {', '.join(mute)}", f"theodore-otel tenant add --service {mute[0]}"
        )
    if nobody:
        names = [name for owner in nobody for name in owners[owner]]
        yield warning(
            f"credentials of nobody, whose records are refused: {', '.join(names)}",
            f"theodore-otel tenant remove {names[0]}, or list the service in tenants.services",
        )
    if not (silent or mute or nobody):
        yield ok("everybody in the configuration has credentials, and nobody else")


def _weak(config: Config, lane: Lane, category: str) -> str | None:
    """Return where records of a category go when that is no destination to trust them to."""
    outlets = [
        outlet
        for outlet in lane.outlets
        if outlet.flow == "audit" and (outlet.categories is None or category in outlet.categories)
    ]
    names = [outlet.name.partition(".")[0] for outlet in outlets]
    kept = [guarantee(config.destinations[name], "logs") for name in names]
    if any(each.audit == "strong" for each in kept):
        return None
    if not names:
        return "nowhere"
    reasons = [f"{name} ({(each.why or '').removesuffix('.')})" for name, each in zip(names, kept, strict=True)]
    return f"to weak destinations only: {', '.join(reasons)}"


def _who(lane: Lane) -> str:
    if not lane.tenants:
        return "tenants without a choice of their own"
    shown = ", ".join(lane.tenants[:3])
    return f"{shown} and {len(lane.tenants) - 3} more" if len(lane.tenants) > 3 else shown


def _file(config: Config) -> Path:
    named = config.tenants.credentials_file
    return Path(named) if named else credentials.default_file()
