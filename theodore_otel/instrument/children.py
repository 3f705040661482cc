"""Which child processes report as Theodore.

`opentelemetry-instrument` works through PYTHONPATH, which every child inherits: a `pip` that Theodore starts would
report as Theodore. So once this process is set up, its own environment is put back to what the program would see
without the wrapper: the wrapper's folder leaves PYTHONPATH, for `os.environ` and for children alike. (The working
directory, which the wrapper also adds, stays: nobody can tell it from one the user set.)

Children that are Theodore itself still report: a forked one inherits everything, and one that multiprocessing spawns
(uvicorn workers and reload too) is told to start the instrumentation in the data it unpickles first. Theodore as a
program of its own is in `relatives`.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from opentelemetry import baggage

from theodore_otel.conventions import names
from theodore_otel.instrument.context import clean_id
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.replacing import replace

_WRAPPERS: Final = (
    os.path.join("opentelemetry", "instrumentation", "auto_instrumentation"),  # noqa: PTH118
    os.path.join("theodore_otel", "instrument", "bootstrap"),  # noqa: PTH118
)
_START: Final = """
try:
    from theodore_otel.instrument import children
    children.start({carrier!r}, {given!r})
except Exception:
    pass
"""


given: bytes | None = None
"""What `theodore_otel.configure` was given, for children that multiprocessing spawns. It reaches them by a pipe."""

spawned = False
"""Whether this process is one that multiprocessing spawned."""


def keep_to_ourselves() -> None:
    """Take the wrapper out of the environment for good, and follow multiprocessing."""
    _clean_python_path()
    # The wrapper puts its folder back when it is done with us; from here on it does so in a copy nobody reads.
    wrapper: Any = sys.modules.get("opentelemetry.instrumentation.auto_instrumentation")
    if wrapper is not None:
        wrapper.environ = dict(os.environ)
    when_imported("multiprocessing.spawn", _follow)


def start(carrier: dict[str, str], configuration: bytes | None = None) -> None:
    """Set up a spawned process, under the trace and correlation id of the one that spawned it, and with what that one
    gave to `theodore_otel.configure`.
    """
    global spawned
    spawned = True
    before = {name: os.environ.get(name) for name in carrier}
    os.environ.update(carrier)
    from theodore_otel.instrument import startup

    try:
        if configuration is None:
            startup.start()
        else:
            from theodore_otel.telemetry.process import take_over

            take_over(configuration)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _clean_python_path() -> None:
    kept = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and not p.endswith(_WRAPPERS)]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)


def _follow(spawn: Any) -> None:
    original = spawn.get_preparation_data

    def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
        data: dict[str, Any] = original(*args, **kwargs)
        data["theodore_otel"] = _Starter(_START.format(carrier=carrier(), given=given))
        return data

    replace(spawn, "get_preparation_data", get_preparation_data)


class _Starter:
    """Something that runs code when it is unpickled."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, tuple[str, dict[str, Any]]]:
        return exec, (self._code, {})


def carrier() -> dict[str, str]:
    """Return the variables that hand the current trace, baggage and correlation id to another process."""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators._envcarrier import EnvironmentSetter
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    written: dict[str, str] = {}
    for propagator in (TraceContextTextMapPropagator(), W3CBaggagePropagator()):
        propagator.inject(written, setter=EnvironmentSetter())
    correlation = clean_id(baggage.get_baggage(names.CORRELATION_ID))
    if correlation is not None:
        written["CORRELATION_ID"] = correlation
    return written
