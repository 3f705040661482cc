"""What the instrumentation tells a person, never with an exception and never through `logging`.

A line on stderr where Theodore is not reported as it was asked for; a log record where one fact is missing.
"""

from __future__ import annotations

import sys
from contextlib import suppress


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


def record(message: str) -> None:
    """Send one warning among Theodore's log records; its console stays as it is."""
    with suppress(Exception):
        from opentelemetry._logs import SeverityNumber, get_logger

        get_logger("theodore_otel").emit(severity_number=SeverityNumber.WARN, severity_text="WARN", body=message)
