"""Values made fit to stand on a span: short, of the right type, without credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from typing import Any, Final

Redact = Callable[[str], str]

_LONGEST: Final = 1024
_LARGEST: Final = 2**63
_LONGEST_SCANNED: Final = 32_768
_LONGEST_WORD: Final = 2_048
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_URL: Final = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{0,20}://)(?:[^/\s@?#]*@)?([^\s?#\"'<>]*)(?:[?#][^\s\"'<>)]*)?")


def shortened(text: str) -> str:
    """Return the beginning of a text that is longer than can be searched for secrets while the program waits.

    It ends before the word that the cut would go through: half a secret may not look like one.
    """
    if len(text) <= _LONGEST_SCANNED:
        return text
    at_least = _LONGEST_SCANNED - _LONGEST_WORD
    return text[: max(text.rfind(" ", at_least, _LONGEST_SCANNED), at_least)] + " ..."


def without_controls(text: str) -> str:
    """Return a text without control characters, as the collector leaves it: tab, newline and carriage return stay."""
    return text if text.isprintable() else _CONTROLS.sub("", text)


def clean_url(text: str) -> str:
    """Return a text with the credentials, query and fragment taken out of every URL in it."""
    return _URL.sub(r"\1\2", text) if "://" in text else text


def described(value: Any) -> str:
    """Return a value as text, also one whose own text cannot be had."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a text of the program's own may raise anything
        return unshown(value)


def unshown(value: Any) -> str:
    """Return what stands for a value whose text cannot be had."""
    return f"<{type(value).__name__} that cannot be shown>"


def as_text(value: Any, redact: Redact) -> str | None:
    """Return a value as text; None and the empty text are nothing."""
    if value is None:
        return None
    text = redact(clean_url(shortened(value if isinstance(value, str) else described(value))))
    return text[:_LONGEST] or None


def number_of(value: Any) -> int | float | None:
    """Return a number, also one that came as digits (as in a header); None for all else."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= 18:
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_count(value: Any, redact: Redact) -> int | None:
    """Return a number (also one in digits), or the length of what has one; None where neither makes sense."""
    del redact
    number = number_of(value)
    if number is not None:
        return int(number) if -_LARGEST < number < _LARGEST else None
    return len(value) if isinstance(value, Sized) and not isinstance(value, str | bytes) else None
