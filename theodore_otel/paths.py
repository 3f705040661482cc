"""Where files live: state under `THEODORE_OTEL_HOME`, downloads and builds under the cache, data in the package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """Return the folder that holds what a running stack writes: credentials, queues, telemetry, logs, pid files."""
    configured = os.environ.get("THEODORE_OTEL_HOME")
    if configured:
        return Path(configured).expanduser().absolute()
    return _xdg("XDG_STATE_HOME", ".local/state") / "theodore-otel"


def cache() -> Path:
    """Return the folder for what can be fetched or built again, such as the collector binary."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "theodore-otel"


def data(name: str) -> Path:
    """Return the folder `templates` or `collector`: inside the installed wheel, or beside the package in a checkout."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def _xdg(variable: str, default: str) -> Path:
    configured = os.environ.get(variable)
    return Path(configured) if configured else Path.home() / default
