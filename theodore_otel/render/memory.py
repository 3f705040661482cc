"""What the collector's process is told of its memory."""

from __future__ import annotations

from theodore_otel.config.model import Config

# Go collects garbage harder from here on; the limiter refuses data at 80 %, so only where what is held needs it.
_HEAP_SHARE = 0.75


def go_environment(config: Config) -> dict[str, str]:
    """Return the variables that Go's runtime reads."""
    # Below that limit memory is there to be used: collecting less often saves a seventh of the CPU.
    return {"GOMEMLIMIT": f"{int(config.collector.memory * _HEAP_SHARE)}B", "GOGC": "200"}
