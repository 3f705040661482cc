"""Checks of what is observed inside Theodore: which libraries are instrumented, and whether versions are tested."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions, entry_points
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from theodore_otel.doctor.finding import Finding, Setup, note, ok, warning
from theodore_otel.instrument import instrumentors, lazy

_PACKAGE: Final = "theodore-otel"
_BASE: Final = "opentelemetry-instrumentation"


def check_instrumentation(setup: Setup) -> Iterator[Finding]:
    """Which of the libraries that are installed here are observed, and which could be?"""
    observed: list[str] = []
    looked_at: set[str] = set()
    for point in sorted(entry_points(group="opentelemetry_instrumentor"), key=lambda point: point.name):
        if point.name in lazy.LEFT_OUT:
            continue
        if instrumentors.excluded(point.name, setup.environment):
            yield note(f"{point.name} is switched off by OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
            continue
        wanted = _instruments(point.dist, point.name)
        here = {each.name: version for each in wanted if (version := _version(each.name)) is not None}
        if wanted and not here:
            continue
        looked_at |= {canonicalize_name(name) for name in here}
        if instrumentors.instruments_itself(point.name):
            observed.append(f"{point.name} {here[point.name]} (its own telemetry)")
        elif wanted and not any(_fits(each) for each in wanted):
            found = ", ".join(f"{name} {version}" for name, version in here.items())
            yield warning(
                f"{found} is not observed: its instrumentation is for {' or '.join(map(_plain, wanted))}",
                "install a version that it is for",
            )
        else:
            observed.append(" ".join([point.name, *here.values()][:2]))
    yield ok(f"observed when they are imported: {', '.join(observed)}")
    missing = _missing(looked_at)
    if missing:
        yield note(
            f"not observed, though OpenTelemetry could: {', '.join(missing)}",
            f"if Theodore uses it, pip install {' '.join(missing.values())}",
        )


def check_versions(_: Setup) -> Iterator[Finding]:
    """Are the packages that this one stands on of versions it is tested with?"""
    own = [Requirement(text) for text in distribution(_PACKAGE).requires or ()]
    outside = [
        f"{each.name} {_version(each.name) or 'is not installed'} (tested: {each.specifier})"
        for each in own
        if (each.marker is None or each.marker.evaluate({"extra": ""})) and not _fits(each)
    ]
    base = _version(_BASE)
    known = {canonicalize_name(each.name) for each in own}
    odd = [
        f"{name} {each.version} (tested: {base}, as the others)"
        for each in distributions()
        if (name := canonicalize_name(each.metadata["Name"] or "")).startswith(f"{_BASE}-")
        and name not in known
        and each.version != base
    ]
    for found in (*outside, *sorted(odd)):
        yield warning(found, "install a tested version; others may report under other names, or nothing")
    if not outside and not odd:
        sdk = _version("opentelemetry-sdk")
        yield ok(f"opentelemetry-sdk {sdk}, instrumentations {base}, Python {platform.python_version()}: tested")


def _missing(looked_at: Collection[str]) -> dict[str, str]:
    """Return installed libraries that OpenTelemetry has an instrumentation for, which is not installed.

    One that is not released with the others (openai-v2 and its like) needs what these do not have: it is not advised.
    """
    from opentelemetry.instrumentation.bootstrap_gen import libraries

    ours = {canonicalize_name(Requirement(text).name) for text in distribution(_PACKAGE).requires or ()}
    found: dict[str, str] = {}
    for row in libraries:
        library, package = Requirement(row["library"]), Requirement(row["instrumentation"])
        alien = str(package.specifier) != f"=={_version(_BASE)}"
        skipped = alien or canonicalize_name(library.name) in {*ours, *looked_at} or not _fits(library)
        if not (skipped or instrumentors.instruments_itself(library.name) or _version(package.name)):
            found.setdefault(f"{library.name} {_version(library.name)}", str(package))
    return found


def _instruments(package: Distribution | None, name: str) -> list[Requirement]:
    """Return the libraries that an instrumentation is for; one of several is enough."""
    listed = [Requirement(text) for text in (package.requires if package else None) or ()]
    extras = ({"extra": "instruments"}, {"extra": "instruments-any"})
    wanted = [each for each in listed if each.marker and any(each.marker.evaluate(extra) for extra in extras)]
    wanted = [each for each in wanted if not each.marker or not each.marker.evaluate({"extra": ""})]
    return [each for each in wanted if each.name == name] or wanted


def _fits(wanted: Requirement) -> bool:
    version = _version(wanted.name)
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def _plain(wanted: Requirement) -> str:
    return f"{wanted.name} {wanted.specifier}".strip()


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None
