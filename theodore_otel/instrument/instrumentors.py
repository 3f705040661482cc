"""Other people's instrumentors: which ones are loaded, when, and what they find in the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import Any, Final

from theodore_otel.instrument import lazy, tracebacks

DEFAULTS: Final = {
    "OTEL_PYTHON_DISTRO": "theodore",
    "OTEL_PYTHON_CONFIGURATOR": "theodore",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
}
_LOADER: Final = "opentelemetry.instrumentation.auto_instrumentation"

ours = False
"""Whether this process is set up by us: our distro was loaded, or `startup` runs."""


def set_defaults() -> None:
    """Set what the user may override, and keep the console Theodore's."""
    global ours
    ours = True
    _keep_quiet()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def excluded(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether the user or we leave an instrumentor out, by the name of its entry point."""
    names = {part.strip() for part in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    return name in lazy.LEFT_OUT or name in names or "*" in names


def load_with_its_library(entry_point: EntryPoint, **kwargs: Any) -> None:
    """Have an instrumentor loaded when its library is imported; `kwargs` go to its `instrument` method."""

    def load(_module: Any) -> None:
        from theodore_otel.instrument import guarded, proxies

        if instruments_itself(entry_point.name):
            return
        prepared = lazy.preparations.get(entry_point.name, dict)()
        instrumentor = entry_point.load()()
        proxies.install()
        guarded.around(entry_point.name, lambda: instrumentor.instrument(**kwargs, **prepared))
        tracebacks.tidy(entry_point.name)

    lazy.when_imported(lazy.library_of(entry_point.name), load)


def instruments_itself(name: str) -> bool:
    """Say whether a library needs no instrumentor.

    FastAPI brings its own telemetry from 0.142 on; contrib's would add old names and two more spans a request.
    """
    if name not in ("fastapi", "starlette"):
        return False
    try:
        major, minor = (int(part) for part in version("fastapi").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return (major, minor) >= (0, 142)


def _keep_quiet() -> None:
    """Have the SDK and the instrumentations print nothing: the console is Theodore's. OTEL_LOG_LEVEL shows it all."""
    if "OTEL_LOG_LEVEL" in os.environ:
        return
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    # Except that nothing could be loaded at all; what is merely passed over is no news.
    logging.getLogger(_LOADER).setLevel(logging.ERROR)
    logging.getLogger(f"{_LOADER}._load").setLevel(logging.CRITICAL + 1)
