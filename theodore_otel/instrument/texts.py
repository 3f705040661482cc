"""Values made fit to stand on a span: short, of the right type, without credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from typing import Any, Final

Redact = Callable[[str], str]

_LONGEST: Final = 1024
_URL: Final = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^/\s@?#]*@)?([^\s?#\"'<>]*)(?:[?#][^\s\"'<>)]*)?")


def clean_url(text: str) -> str:
    """Return a text with the credentials, query and fragment taken out of every URL in it."""
    return _URL.sub(r"\1\2", text) if "://" in text else text


def as_text(value: Any, redact: Redact) -> str | None:
    """Return a value as text; None and the empty text are nothing."""
    if value is None:
        return None
    text = redact(clean_url(value if isinstance(value, str) else str(value)))
    return text[:_LONGEST] or None


def as_count(value: Any, redact: Redact) -> int | None:
    """Return a number, or the length of what has one; None where neither makes sense."""
    del redact
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value)
    return len(value) if isinstance(value, Sized) and not isinstance(value, str | bytes) else None
