"""Start the instrumentation of this process, for `theodore-otel run` and for workers that multiprocessing spawns.

It does what `opentelemetry-instrument` does once our distro and configurator are chosen. The stock way imports argparse
and packaging and looks for distros before it comes to that, which takes as long as all the rest.
"""

from __future__ import annotations

from typing import Final

from theodore_otel.instrument import variables

_GROUPS: Final = ("opentelemetry_pre_instrument", "opentelemetry_instrumentor", "opentelemetry_post_instrument")


def start() -> None:
    """Set up this process. Never raises; what fails is told in one line."""
    variables.prepare()  # before anything of OpenTelemetry is imported
    from theodore_otel.instrument import instrumentors
    from theodore_otel.instrument.configurator import attempt, configure
    from theodore_otel.instrument.settings import disabled

    attempt(instrumentors.set_defaults)
    attempt(configure)
    if not disabled():
        attempt(_load_instrumentors)


def _load_instrumentors() -> None:
    from opentelemetry.util._importlib_metadata import entry_points

    from theodore_otel.instrument import instrumentors

    before, waiting, after = (entry_points(group=group) for group in _GROUPS)
    for hook in before:
        if hook.name != "theodore":  # ours tells that another distro was loaded
            hook.load()()
    for entry_point in waiting:
        if not instrumentors.excluded(entry_point.name):
            instrumentors.load_with_its_library(entry_point)
    for hook in after:
        hook.load()()
