"""Which child processes report as Theodore.

`opentelemetry-instrument` works through PYTHONPATH, which every child inherits: a `pip` that Theodore starts would
report as Theodore. So once this process is set up, its own environment is put back to what the program would see
without the wrapper: the wrapper's folder leaves PYTHONPATH, for `os.environ` and for children alike. (The working
directory, which the wrapper also adds, stays: nobody can tell it from one the user set.)

Children that are Theodore itself still report: a forked one inherits everything, and one that multiprocessing spawns
(uvicorn workers and reload too) is told to start the instrumentation in the data it unpickles first.
"""

from __future__ import annotations

import os
from typing import Any, Final

from theodore_otel.instrument.lazy import when_imported

_WRAPPER: Final = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")  # noqa: PTH118
_START: Final = """
try:
    from theodore_otel.instrument import children
    children.start({carrier!r})
except Exception:
    pass
"""


spawned = False
"""Whether this process is one that multiprocessing spawned."""


def keep_to_ourselves() -> None:
    """Take the wrapper out of the environment for good, and follow multiprocessing."""
    from opentelemetry.instrumentation import auto_instrumentation

    _clean_python_path()
    # The wrapper puts its folder back when it is done with us; from here on it does so in a copy nobody reads.
    auto_instrumentation.environ = dict(os.environ)  # type: ignore[attr-defined,assignment]
    when_imported("multiprocessing.spawn", _follow)


def start(carrier: dict[str, str]) -> None:
    """Set up a spawned process, under the trace and correlation id of the one that spawned it."""
    global spawned
    spawned = True
    os.environ.update(carrier)
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    try:
        initialize()
    finally:
        for name in carrier:
            os.environ.pop(name, None)


def _clean_python_path() -> None:
    kept = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and not p.endswith(_WRAPPER)]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)


def _follow(spawn: Any) -> None:
    original = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        data["theodore_otel"] = _Starter(_START.format(carrier=_carrier()))
        return data

    spawn.get_preparation_data = get_preparation_data


class _Starter:
    """Something that runs code when it is unpickled."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, tuple[str, dict[str, Any]]]:
        return exec, (self._code, {})


def _carrier() -> dict[str, str]:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators._envcarrier import EnvironmentSetter
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    for propagator in (TraceContextTextMapPropagator(), W3CBaggagePropagator()):
        propagator.inject(carrier, setter=EnvironmentSetter())
    return carrier
