"""What is recorded of an exception: type, text and stack trace, without values of variables and without secrets."""

from __future__ import annotations

import traceback
from typing import Final

from theodore_otel.conventions import names
from theodore_otel.telemetry import redact

_FRAMES: Final = 64


def describe(error: BaseException) -> dict[str, str]:
    """Return the attributes of an exception."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {
        names.EXCEPTION_TYPE: name,
        names.EXCEPTION_MESSAGE: redact.text(error),
        names.EXCEPTION_STACKTRACE: redact.text(_trace(error)),
    }


def _trace(error: BaseException) -> str:
    try:
        whole = traceback.TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
        return "".join(whole.format()).rstrip("\n")
    except Exception:  # noqa: BLE001 - a text of the program's own may raise anything
        return "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
