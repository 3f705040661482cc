"""What the process reads at start: one JSON file, then the standard variables, which win."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

SIGNALS: Final = ("traces", "logs", "metrics")

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_DEFAULT_FILE = Path(__file__).with_name("default.json")
_LEVELS: Final = {
    "TRACE": 5,
    "DEBUG": 10,
    "INFO": 20,
    "WARN": 30,
    "WARNING": 30,
    "ERROR": 40,
    "CRITICAL": 50,
    "FATAL": 50,
}


@dataclass(frozen=True)
class Settings:
    """How this process reports. Every field has a default, so that a missing file costs nothing but a line."""

    service_name: str = "theodore-v2"
    environment: str = "production"
    service_version: str = "2.0.0"
    endpoint: str = "http://127.0.0.1:4318"
    """Base URL of the collector's OTLP/HTTP receiver, without a signal's path."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Full URL of a signal where `OTEL_EXPORTER_OTLP_<SIGNAL>_ENDPOINT` gave one."""
    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Headers of each signal's requests: the credential, or what `OTEL_EXPORTER_OTLP_HEADERS` says."""
    correlation_header: str | None = "X-Correlation-ID"
    tenant_header: str | None = "X-Tenant-ID"
    user_header: str | None = "X-User-ID"
    propagate_to: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    """The only hosts that are told trace, baggage and correlation id; `.example.com` means every host below it."""
    health_routes: tuple[str, ...] = ("/health", "/health/*", "/healthz", "/livez", "/metrics", "/ready", "/readyz")
    """Paths of a service whose requests are not reported; `/health/*` means every path below."""
    log_level: int = 20
    """Records from this level on are exported, whatever the console shows."""
    log_components: Mapping[str, int] = field(default_factory=dict)
    """Levels of single components; a component is a logger's name or one dotted part of it."""
    redaction: Mapping[str, Any] = field(default_factory=dict)
    exit_budget: float = 1.0
    """Seconds the end of the program may take for delivering what is left."""
    watch: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    model_apis: list[dict[str, Any]] = field(default_factory=list)
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    analytics: Mapping[str, Any] = field(default_factory=dict)
    """`commands`, `requests`, `features`, and `key`, where to find the key of the hash that stands for a user."""
    audit: Mapping[str, Any] = field(default_factory=dict)
    """`dir`, `keep` in seconds, `pseudonymise_actor`, and `key`, where to find the key of the hash chain."""

    spool: Mapping[str, Any] = field(default_factory=dict)
    """`enabled`, `size` in bytes and `dir`: where what cannot be delivered waits."""
    signals: frozenset[str] = frozenset(SIGNALS)
    """What is sent at all; `OTEL_<SIGNAL>_EXPORTER=none` switches off besides."""
    instance_id: str | None = None
    """`service.instance.id`; a random one by default."""

    def url(self, signal: str) -> str:
        """Return the URL `traces`, `logs` or `metrics` are sent to."""
        return self.endpoints.get(signal) or f"{self.endpoint.rstrip('/')}/v1/{signal}"

    def export_level(self, logger_name: str) -> int:
        """Return the level from which records of a logger are exported; the most specific component wins."""
        parts = logger_name.split(".")
        for name in [logger_name, *reversed([".".join(parts[:n]) for n in range(1, len(parts))]), *parts]:
            if name in self.log_components:
                return self.log_components[name]
        return self.log_level


current: Settings | None = None
"""What this process reports by, once it is set up."""


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether `OTEL_SDK_DISABLED` switches everything off."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def load(environ: Mapping[str, str] = os.environ) -> tuple[Settings, list[str]]:
    """Return the settings and what is to be told about them. Never raises: a wrong value keeps its default."""
    complaints: list[str] = []
    document = _read(environ, complaints)
    if "redaction" not in document:
        document = {**document, "redaction": _packaged().get("redaction")}  # left out is not switched off
    settings = _from_document(document, complaints)
    return _from_environment(settings, environ, complaints), complaints


def read_levels(environ: Mapping[str, str] = os.environ) -> tuple[int, Mapping[str, int]]:
    """Read the levels alone, from the file that `THEODORE_OTEL_CONFIG` names now: of everything, and of components.

    Raises ValueError with one line for a person where they cannot be used as they stand there.
    """
    complaints: list[str] = []
    pick = _Picker(_read(environ, complaints), complaints)
    levels = pick.level("logging.level", Settings.log_level), pick.levels("logging.components")
    if complaints:
        raise ValueError("; ".join(complaint.partition("; using ")[0] for complaint in complaints))
    return levels


def _packaged() -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(_DEFAULT_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document


def _read(environ: Mapping[str, str], complaints: list[str]) -> dict[str, Any]:
    named = environ.get("THEODORE_OTEL_CONFIG")
    path = Path(named) if named else _DEFAULT_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if named or not isinstance(error, FileNotFoundError):
            complaints.append(f"cannot read THEODORE_OTEL_CONFIG={path}: {_reason(error)}; using defaults")
        return {}
    if not isinstance(document, dict) or document.get("schema") != 1:
        complaints.append(
            f'cannot use THEODORE_OTEL_CONFIG={path}: expected an object with "schema": 1; using defaults'
        )
        return {}
    return document


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"not valid JSON ({error})"


def _from_document(document: Mapping[str, Any], complaints: list[str]) -> Settings:
    pick = _Picker(document, complaints)
    default = Settings()
    return Settings(
        service_name=pick("service.name", str, default.service_name),
        environment=pick("service.environment", str, default.environment),
        service_version=pick("service.version", str, default.service_version),
        endpoint=pick("endpoint", str, default.endpoint),
        correlation_header=pick.header("correlation_header", default.correlation_header),
        tenant_header=pick.header("tenant_header", default.tenant_header),
        user_header=pick.header("user_header", default.user_header),
        propagate_to=frozenset(str(host).lower() for host in pick("propagate_to", list, sorted(default.propagate_to))),
        health_routes=tuple(str(path) for path in pick("health_routes", list, default.health_routes)),
        log_level=pick.level("logging.level", default.log_level),
        log_components=pick.levels("logging.components"),
        redaction=pick("redaction", dict, {}),
        exit_budget=max(0.0, float(pick("exit_budget", (int, float), default.exit_budget))),
        watch=pick("watch", dict, {}),
        model_apis=pick("model_apis", list, []),
        prices=pick("prices", dict, {}),
        analytics=pick("analytics", dict, {}),
        audit=pick("audit", dict, {}),
        spool=pick("spool", dict, {}),
    )


class _Picker:
    """Reads values by dotted path; one of the wrong type is told and replaced by its default."""

    def __init__(self, document: Mapping[str, Any], complaints: list[str]) -> None:
        self._document = document
        self._complaints = complaints

    def __call__(self, path: str, kind: Any, default: Any) -> Any:
        value = self._find(path)
        if value is None:
            return default
        if not isinstance(value, kind) or isinstance(value, bool):
            self._complain(path, value, default)
            return default
        return value

    def header(self, path: str, default: str | None) -> str | None:
        """Read a header's name; null switches it off."""
        return None if path in self._document and self._document[path] is None else self(path, str, default)

    def level(self, path: str, default: int) -> int:
        """Read one level by its name."""
        name = self(path, str, None)
        if name is None:
            return default
        if name.upper() not in _LEVELS:
            self._complain(path, name, default)
        return _LEVELS.get(name.upper(), default)

    def levels(self, path: str) -> dict[str, int]:
        """Read a mapping from component to level."""
        names = {name: str(level).upper() for name, level in self(path, dict, {}).items()}
        for name, level in names.items():
            if level not in _LEVELS:
                self._complain(f"{path}.{name}", level, "logging.level")
        return {name: _LEVELS[level] for name, level in names.items() if level in _LEVELS}

    def _find(self, path: str) -> Any:
        value: Any = self._document
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def _complain(self, path: str, value: object, default: object) -> None:
        self._complaints.append(f"ignoring {path}={value!r} in THEODORE_OTEL_CONFIG; using {default!r}")


def _from_environment(settings: Settings, environ: Mapping[str, str], complaints: list[str]) -> Settings:
    endpoints = {s: url for s in SIGNALS if (url := environ.get(f"OTEL_EXPORTER_OTLP_{s.upper()}_ENDPOINT"))}
    credential = _credential(environ, complaints)
    common = _headers("OTEL_EXPORTER_OTLP_HEADERS", environ, complaints)
    own = {s: _headers(f"OTEL_EXPORTER_OTLP_{s.upper()}_HEADERS", environ, complaints) for s in SIGNALS}
    return replace(
        settings,
        endpoint=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or settings.endpoint,
        endpoints=endpoints,
        # Headers that hold no authorization stand beside the credential.
        headers={s: {**credential, **(own[s] or common)} for s in SIGNALS},
    )


def _headers(variable: str, environ: Mapping[str, str], complaints: list[str]) -> Mapping[str, str]:
    """Return the headers a variable gives, without those that HTTP cannot carry; never quote a value."""
    found: dict[str, str] = {}
    for pair in environ.get(variable, "").split(","):
        key, equals, value = pair.partition("=")
        name, content = key.strip().lower(), unquote(value.strip())
        if not name:
            continue
        if equals and _HEADER_NAME.fullmatch(name) and content.isprintable() and content.isascii():
            found[name] = content
        else:
            complaints.append(f"ignoring a header of {variable}: expected NAME=VALUE of printable ASCII characters")
    return found


def _credential(environ: Mapping[str, str], complaints: list[str]) -> Mapping[str, str]:
    """Return the basic authentication header of `THEODORE_OTEL_CREDENTIAL[_FILE]`; never quote what is in it."""
    value = environ.get("THEODORE_OTEL_CREDENTIAL", "").strip()
    file = environ.get("THEODORE_OTEL_CREDENTIAL_FILE")
    if not value and file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            complaints.append(f"cannot read THEODORE_OTEL_CREDENTIAL_FILE={file}: {_reason(error)}")
    # The whole line that `tenant add` prints is as good as what stands behind the `=`.
    value = value.removeprefix("export ").strip().removeprefix("THEODORE_OTEL_CREDENTIAL=").strip("\"'")
    if not value:
        return {}
    name, colon, token = value.partition(":")
    if not (name and colon and token) or not value.isprintable():
        complaints.append(
            "ignoring THEODORE_OTEL_CREDENTIAL: expected one line NAME:TOKEN, as `theodore-otel tenant add` prints it"
        )
        return {}
    import base64

    return {"authorization": "Basic " + base64.b64encode(value.encode()).decode("ascii")}
