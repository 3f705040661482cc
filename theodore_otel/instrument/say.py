"""What the instrumentation tells a person: single lines on stderr, never an exception, never through logging."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Write one line to stderr. A closed, broken or busy stderr is no reason to disturb the program."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"theodore-otel: {' '.join(message.split())}\n")
        stream.flush()
    except Exception:  # noqa: BLE001, S110 - a stderr of the program's own may raise anything
        pass
