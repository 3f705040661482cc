"""Checks of Theodore's side: what loads into it, whether it reaches the collector, and its clock."""

from __future__ import annotations

import base64
import http.client
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from theodore_otel.doctor.finding import Finding, Setup, failed, note, ok, warning
from theodore_otel.instrument import settings
from theodore_otel.instrument.sender import Sender, Tls
from theodore_otel.render import render
from theodore_otel.render.files import write

_OURS = "theodore"
_CHOOSE = "start Theodore with `theodore-otel run`, or set OTEL_PYTHON_DISTRO and OTEL_PYTHON_CONFIGURATOR to theodore"
_ANSWER_LIMIT = 5.0
_CLOCK_LIMIT = 5.0


def check_distro(setup: Setup) -> Iterator[Finding]:
    """Would `opentelemetry-instrument` load this package, here?"""
    read = setup.environment.get
    where = f"in {sys.prefix}"
    if settings.disabled(setup.environment):
        yield warning("OTEL_SDK_DISABLED=true: Theodore reports nothing", "unset OTEL_SDK_DISABLED")
    distros, configurators = (_installed(group) for group in ("opentelemetry_distro", "opentelemetry_configurator"))
    distro = read("OTEL_PYTHON_DISTRO") or next(iter(distros), "none")
    # The distro chooses its configurator unless a variable has.
    configurator = read("OTEL_PYTHON_CONFIGURATOR") or (_OURS if distro == _OURS else next(iter(configurators), "none"))
    loaded = f"distro {distro}, configurator {configurator} ({where})"
    others = {f"{name} of {package}" for name, package in {**distros, **configurators}.items() if name != _OURS}
    chosen = read("OTEL_PYTHON_DISTRO") == read("OTEL_PYTHON_CONFIGURATOR") == _OURS
    if (distro, configurator) != (_OURS, _OURS):
        yield failed(f"opentelemetry-instrument would load {loaded}", _CHOOSE)
    elif others and not chosen:
        yield warning(f"{loaded}; another one is installed as well: {', '.join(sorted(others))}", _CHOOSE)
    else:
        yield ok(loaded)


def check_endpoint(setup: Setup) -> Iterator[Finding]:
    """Does the collector answer where Theodore sends to, and take the credential?"""
    with _read_by_theodore(setup) as (read, complaints):
        for complaint in complaints:
            yield warning(complaint, "mend it where Theodore is started")
        for signal in ("traces", *(each for each in read.endpoints if each != "traces")):
            yield _asked(read.url(signal), read.headers[signal], setup)


def check_clock(setup: Setup) -> Iterator[Finding]:
    """Is the clock believable, and the same as the collector's?"""
    built = Path(__file__).stat().st_mtime
    if time.time() < built - 86400:
        yield failed("the clock is before the day this package was installed", "set the clock")
        return
    with _read_by_theodore(setup) as (read, _):
        skew = _skew(read.endpoint)
    if skew is not None and abs(skew) > _CLOCK_LIMIT:
        yield warning(
            f"the collector's clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
            "keep both with NTP: spans and records are stamped where they are made",
        )
    elif skew is None:
        yield ok(f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}; the collector did not tell its own")
    else:
        yield ok("the same as the collector's")


def _installed(group: str) -> dict[str, str]:
    """Return the names in a group of entry points in the order in which they are found, with their packages."""
    return {point.name: point.dist.name if point.dist else point.value for point in entry_points(group=group)}


@contextmanager
def _read_by_theodore(setup: Setup) -> Iterator[tuple[settings.Settings, list[str]]]:
    """Yield what Theodore would read: the file it is told, else the one beside the configuration, else a fresh one."""
    with tempfile.TemporaryDirectory(prefix="theodore-otel-") as scratch:
        file = setup.environment.get("THEODORE_OTEL_CONFIG") or setup.folder / "instrument.json"
        if not Path(file).exists() and "THEODORE_OTEL_CONFIG" not in setup.environment:
            write(render(setup.config, setup.source.name, ["instrument"]), Path(scratch))
            file = Path(scratch) / "instrument.json"
        yield settings.load({**setup.environment, "THEODORE_OTEL_CONFIG": str(file)})


def _asked(url: str, headers: Mapping[str, str], setup: Setup) -> Finding:
    """Send an empty request."""
    read = setup.environment.get
    tls = Tls(
        read("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        read("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        read("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    )
    sender = Sender(url, headers, tls=tls)
    answer = sender.send(b"", _ANSWER_LIMIT)
    sender.close()
    who, url = _credential(headers), _plain(url)
    if answer.delivered:
        if who:
            return ok(f"{url} accepts {who}")
        if setup.config.tenants.identify_by == "none":
            return ok(f"{url} answers")
        return warning(
            f"{url} accepts requests without a credential, although tenants.identify_by is "
            f"{setup.config.tenants.identify_by}",
            "start the collector with this configuration",
        )
    if answer.reason.startswith("HTTP 401"):
        if who:
            return failed(
                f"{url} does not accept {who} (HTTP 401)",
                "theodore-otel tenant list; a collector takes up new credentials when it gets SIGHUP",
            )
        # The local stack hands Theodore its credentials itself; this shell needs none.
        told = note if setup.config.profile == "local" else warning
        return told(
            f"{url} answers, and asks for a credential; none is set here (HTTP 401)",
            "set THEODORE_OTEL_CREDENTIAL to try one",
        )
    return failed(f"{url}: {answer.reason}", "theodore-otel stack up, or set instrument.endpoint")


def _plain(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _credential(headers: Mapping[str, str]) -> str | None:
    """Return the credential's name without its token; None when there is none."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return "the given Authorization header" if scheme else None
    with suppress(ValueError):
        return f"credential {base64.b64decode(given).decode().partition(':')[0]}"
    return "the given Authorization header"


def _skew(endpoint: str) -> float | None:
    """Return by how many seconds the collector's clock is ahead; None when it does not tell."""
    parts = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=_ANSWER_LIMIT)
        connection.request("GET", "/v1/traces")
        date = connection.getresponse().headers["Date"]
        connection.close()
        return parsedate_to_datetime(date).timestamp() - time.time() if date else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
