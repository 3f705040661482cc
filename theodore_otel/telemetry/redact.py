"""The one matcher that masks what Theodore's code hands over, before anything is made of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument.texts import shortened

if TYPE_CHECKING:
    from theodore_otel.redaction.matcher import Matcher

_PLAIN: Final = (bool, int, float, type(None))
_DEEPEST: Final = 16
_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 200

_lock = threading.Lock()
_matcher: Matcher | None = None
_clean: set[str] = set()
"""Texts in which nothing is masked, as they were seen last: messages, ids and names come again and again."""


def matcher() -> Matcher:
    """Return the matcher of this process; built from the process's settings when it is first needed."""
    return _matcher or _build()


def use(redaction: Mapping[str, Any], words: Iterable[str] = ()) -> None:
    """Mask by these settings from now on; keys that hold one of `words` are masked besides."""
    from theodore_otel.redaction.matcher import Matcher

    global _matcher
    _clean.clear()
    _matcher = Matcher({**redaction, "keys": [*redaction.get("keys", ()), *map(word, words)]})


def text(value: Any) -> str:
    """Return a value as a masked text that UTF-8 can encode; a very long one is cut."""
    known: str = value if isinstance(value, str) else _described(value)
    if known in _clean:
        return known
    if not known.isascii():
        known = known.encode("utf-8", "replace").decode("utf-8")
    masked = matcher().text(shortened(known))
    if masked == known and len(known) <= _LONGEST_REMEMBERED:
        if len(_clean) >= _MOST_REMEMBERED:
            _clean.clear()
        _clean.add(known)
    return masked


def attribute(key: str, value: Any) -> Any:
    """Return a value as it may stand under a key of a record: masked, of a type that JSON and OTLP know."""
    rules = matcher()
    if rules.key(key) and value is not None:
        return rules.hidden(value)
    kind = type(value)
    if kind is str:
        return text(value)
    if kind is bool or value is None:
        return value
    return rules.value("", _plain(value, _DEEPEST))


def _build() -> Matcher:
    from theodore_otel.instrument import settings

    with _lock:
        if _matcher is None:
            use(settings.load()[0].redaction)
    assert _matcher is not None  # noqa: S101 - for type checkers
    return _matcher


def word(word: str) -> str:
    """Return a word as the matcher wants it: small letters, `_` for any separator."""
    return "".join(c if c.isalnum() else "_" for c in word.strip().lower()).strip("_")


def _plain(value: Any, depth: int) -> Any:
    """Return a copy made of texts, numbers, maps and lists only; everything else as a text."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {_described(k): _plain(v, depth - 1) for k, v in list(value.items())}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in list(value)]
    return shortened(_described(value))


def _described(value: Any) -> str:
    try:
        return value.isoformat() if isinstance(value, date) else str(value)
    except Exception:  # noqa: BLE001 - a text of the program's own may raise anything
        return f"<{type(value).__name__} that cannot be shown>"
