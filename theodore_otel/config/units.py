"""Durations and sizes as people write them: `30s`, `7d`, `100MB`, `2GiB`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = timedelta(days=36_500)
_LARGEST = 2**62
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_duration(value: Any) -> timedelta:
    """Return the duration written as a number and one unit of ms, s, m, h, d, w.

    Raises:
        ValueError: when it is not of that form, or longer than a century.
    """
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhdw])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 7d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"expected a duration of {_LONGEST.days}d at most")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Return the duration in the largest unit that holds it whole."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % (_SECONDS[unit] * 1000) == 0:
            return f"{int(milliseconds / (_SECONDS[unit] * 1000))}{unit}"
    return f"{milliseconds}ms"


def parse_size(value: Any) -> int:
    """Return the bytes of a size written as a number and one unit of B, KB, MB, GB, KiB, MiB, GiB.

    Raises:
        ValueError: when it is not of that form.
    """
    count = value if isinstance(value, int) and not isinstance(value, bool) else None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]i?B|B)", value) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * _BYTES[match[2]]
        count = int(number) if number <= _LARGEST else _LARGEST + 1
    if count is None or count < 0:
        raise ValueError("expected a size such as 512MiB, 2GiB or 100MB")
    if count > _LARGEST:
        raise ValueError(f"expected a size of {format_size(_LARGEST)} at most")
    return count


def format_size(value: int) -> str:
    """Return the size in the largest binary unit that holds it whole, else in bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _BYTES[unit] == 0:
            return f"{value // _BYTES[unit]}{unit}"
    return f"{value}B"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d|w)$", "examples": ["30s", "7d"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?([KMG]i?B|B)$", "examples": ["512MiB", "2GiB"]}),
]
