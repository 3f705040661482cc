"""What templates call to write values into collector configuration."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

from theodore_otel.config.base import Secret, Tls
from theodore_otel.config.units import format_duration


def quoted(value: Any) -> str:
    """Write a value as YAML (JSON is YAML); `$` is doubled because the collector expands it."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def secret(reference: Secret) -> str:
    """Write a reference for the collector to resolve when it starts; never the secret."""
    return f'"${{env:{reference.env}}}"' if reference.env else f'"${{file:{reference.file}}}"'


def duration(value: timedelta) -> str:
    """Write a duration as Go reads it: it knows no unit above hours."""
    milliseconds = round(value.total_seconds() * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def percent(share: float) -> str:
    """Return a share as the percentage a log sampler takes; it reads 0 as not set, and OTTL no exponents."""
    return f"{round(share * 100, 4) or 0.0000001:.7f}".rstrip("0").rstrip(".")


def names_pattern(names: list[str]) -> str:
    """Return the pattern that matches these names as a whole."""
    return f"^({'|'.join(re.escape(name) for name in names)})$"


def metric_pattern(names: list[str]) -> str:
    """Return the pattern of every name and unit, joined by `_`, of which Prometheus makes one of these names or more.

    Prometheus parts words by whatever is no letter, digit or colon, appends the unit, and puts `total` at the end.
    """
    between = "[^a-zA-Z0-9:]+(total[^a-zA-Z0-9:]+)*"
    words = (between.join(re.split("[._]", name)) for name in names)
    return f"^[^a-zA-Z0-9:]*(total[^a-zA-Z0-9:]+)*({'|'.join(words)})([^a-zA-Z0-9:]|$)"


def client_tls(tls: Tls) -> str:
    """Write the `tls` mapping of a connection the collector opens."""
    if not tls.enabled:
        return "{insecure: true}"
    return _mapping(tls, {"insecure_skip_verify": True} if tls.insecure_skip_verify else {})


def listener_tls(tls: Tls) -> str:
    """Write the `tls` mapping of a listener; its `ca_file` is what clients' certificates must be signed by."""
    entries = {"client_ca_file": tls.ca_file, "cert_file": tls.cert_file, "key_file": tls.key_file}
    return quoted({key: value for key, value in entries.items() if value})


def host(listen: str) -> str:
    """Return the host of `host:port`."""
    return listen.rpartition(":")[0].strip("[]")


def port(listen: str) -> str:
    """Return the port of `host:port`."""
    return listen.rpartition(":")[2]


def _mapping(tls: Tls, more: dict[str, Any]) -> str:
    files = {"ca_file": tls.ca_file, "cert_file": tls.cert_file, "key_file": tls.key_file}
    return quoted({key: value for key, value in files.items() if value} | more)


FILTERS = {
    "q": quoted,
    "secret": secret,
    "duration": duration,
    "unit": format_duration,
    "percent": percent,
    "names_pattern": names_pattern,
    "metric_pattern": metric_pattern,
    "client_tls": client_tls,
    "listener_tls": listener_tls,
    "host": host,
    "port": port,
}
