"""From which duration an operation counts as slow."""

from __future__ import annotations

import re
from typing import Final

SECONDS: Final = {"ai": 30.0, "scraping": 60.0, "storage": 5.0, "research": 120.0}
"""By the type of operation."""

_WORD: Final = re.compile(r"[A-Za-z0-9]+")


def threshold(operation: str) -> float | None:
    """Return the seconds above which an operation is slow: that of the first type named in it, as in `storage.upsert`
    or `ai_analysis`. None where none is.
    """
    for word in _WORD.findall(operation.lower()):
        if word in SECONDS:
            return SECONDS[word]
    return None
