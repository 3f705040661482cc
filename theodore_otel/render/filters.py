"""What templates call to write values into collector configuration."""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta
from typing import Any

from theodore_otel.config.base import Secret, Tls
from theodore_otel.config.units import format_duration

_RELOADED = "1m"
# What ends a line in YAML though not in JSON, and what YAML does not know at all.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def quoted(value: Any) -> str:
    """Write a value as YAML (JSON is YAML); `$` is doubled because the collector expands it."""
    return escaped(plain(value))


def plain(value: Any) -> str:
    """Write a value as YAML for a program that expands nothing."""
    return _BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def escaped(text: str) -> str:
    """Return a text that the collector expands to what it is now."""
    return text.replace("$", "$$")


def secret(reference: Secret) -> str:
    """Write a reference for the collector to resolve when it starts; never the secret."""
    return plain(f"${{env:{reference.env}}}" if reference.env else f"${{file:{reference.file}}}")


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


def names_below(names: list[str]) -> str:
    """Return the pattern of these names; one that ends in a dot stands for all that begin so, `(?i)` for any case.

    It is a tree, in which the next character decides: only such a pattern is matched in one pass by Go's engine, which
    is six times faster than trying one name after the other.
    """
    tree: dict[str, Any] = {}
    for name in names:
        plain = name.removeprefix("(?i)")
        cases = [(c,) if plain == name else (c.lower(), c.upper()) for c in plain]
        for spelling in map("".join, itertools.product(*cases)):
            node = tree
            for character in spelling:
                node = node.setdefault(character, {})
            node["all" if name.endswith(".") else ""] = {}
    return f"^{_branch(tree)}$"


def _branch(node: dict[str, Any]) -> str:
    if "all" in node:
        return "(?s:.*)"
    alike: dict[str, str] = {}
    for character, child in sorted(node.items()):
        if character:
            rest = _branch(child)
            alike[rest] = alike.get(rest, "") + character
    parts = [(re.escape(c) if len(c) == 1 else f"[{c}]") + rest for rest, c in alike.items()]
    joined = parts[0] if len(parts) == 1 and "" not in node else f"(?:{'|'.join(parts)})" if parts else ""
    return joined + "?" * bool(parts and "" in node)


def client_tls(tls: Tls) -> str:
    """Write the `tls` mapping of a connection the collector opens."""
    if not tls.enabled:
        return "{insecure: true}"
    return _mapping(tls, {"insecure_skip_verify": True} if tls.insecure_skip_verify else {})


def listener_tls(tls: Tls) -> str:
    """Write the `tls` mapping of a listener; its `ca_file` is what clients' certificates must be signed by."""
    entries = {"client_ca_file": tls.ca_file, "client_ca_file_reload": bool(tls.ca_file), **_certificate(tls)}
    return quoted({key: value for key, value in entries.items() if value})


def for_chart(text: str) -> str:
    """Write a text as a Helm chart takes it that reads templates in what it is given."""
    return text.replace("{{", "{{`{{`}}")


def host(listen: str) -> str:
    """Return the host of `host:port`."""
    return listen.rpartition(":")[0].strip("[]")


def port(listen: str) -> str:
    """Return the port of `host:port`."""
    return listen.rpartition(":")[2]


def _mapping(tls: Tls, more: dict[str, Any]) -> str:
    entries = {"ca_file": tls.ca_file, **_certificate(tls)}
    return quoted({key: value for key, value in entries.items() if value} | more)


def _certificate(tls: Tls) -> dict[str, Any]:
    """Return the collector's own certificate, which is read again: it is renewed while the collector runs."""
    reload = _RELOADED if tls.cert_file else None
    return {"cert_file": tls.cert_file, "key_file": tls.key_file, "reload_interval": reload}


FILTERS = {
    "q": quoted,
    "yaml": plain,
    "escaped": escaped,
    "secret": secret,
    "duration": duration,
    "unit": format_duration,
    "percent": percent,
    "names_pattern": names_pattern,
    "names_below": names_below,
    "metric_pattern": metric_pattern,
    "client_tls": client_tls,
    "listener_tls": listener_tls,
    "for_chart": for_chart,
    "host": host,
    "port": port,
}
