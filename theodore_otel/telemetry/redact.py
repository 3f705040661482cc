"""The one matcher that masks what Theodore's code hands over, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument import encodable
from theodore_otel.instrument.texts import shortened, unshown, without_controls

if TYPE_CHECKING:
    from theodore_otel.redaction.matcher import Matcher

_PLAIN: Final = (bool, float, type(None))
_LARGEST: Final = 2**63  # of what OTLP can carry
_DEEPEST: Final = 16
_LONGEST_AS_IS: Final = 1024

_matcher: Matcher | None = None


def matcher() -> Matcher:
    """Return the matcher of this process; built from the process's settings when it is first needed."""
    return _matcher or _build()


def use(redaction: Mapping[str, Any], words: Iterable[str] = ()) -> None:
    """Mask by these settings from now on; keys that hold one of `words` are masked besides."""
    from theodore_otel.redaction.matcher import Matcher

    global _matcher
    identity.cache_clear()
    _matcher = Matcher({**redaction, "keys": [*redaction.get("keys", ()), *map(word, words)]})


def text(value: Any) -> str:
    """Return a value as a masked text that UTF-8 can encode; a very long one is cut."""
    return matcher().text(_text(value) if isinstance(value, str) else _text(_described(value)))


@lru_cache(maxsize=4096)
def identity(value: Any) -> str:
    """Return `text` of what comes again and again: the ids of a request."""
    return text(value)


def attribute(key: str, value: Any) -> Any:
    """Return a value as it may stand under a key of a record: masked, of a type that JSON and OTLP know."""
    return matcher().value(key, plain(value))


def record(message: Any, values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return a message and what stands beside it masked; `values` have been made `plain`."""
    return matcher().record(_text(message) if isinstance(message, str) else _text(_described(message)), values)


def plain(value: Any) -> Any:
    """Return a copy made of texts, numbers, maps and lists only; everything else as a text. Nothing is masked yet."""
    return _plain(value, _DEEPEST, [encodable.MOST_MEMBERS])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() and len(value) <= _LONGEST_AS_IS and value.isprintable() else _text(value)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else _described(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int | float):
        return _plain(int(value) if isinstance(value, int) else float(value), depth, left)
    if isinstance(value, Enum):
        return _plain(value.value, depth, left)
    if isinstance(value, bytes | bytearray):
        return _text(value.decode("utf-8", "replace"))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _copied(value, depth - 1, left) if depth else "..."
    return _text(_described(value))


def _copied(value: Any, depth: int, left: list[int]) -> Any:
    try:
        if isinstance(value, Mapping):
            pairs = encodable.bounded(value.items(), left)
            return {_text(_described(k)): _plain(v, depth, left) for k, v in pairs}
        return [_plain(item, depth, left) for item in encodable.bounded(value, left)]
    except Exception:  # noqa: BLE001 - a container of the program's own may raise anything
        return unshown(value)


def _build() -> Matcher:
    from theodore_otel.instrument import settings

    use(settings.load()[0].redaction)  # in two threads at once twice: there is no lock that a fork could leave locked
    assert _matcher is not None  # noqa: S101 - for type checkers
    return _matcher


def word(word: str) -> str:
    """Return a word as the matcher wants it: small letters, `_` for any separator."""
    return "".join(c if c.isalnum() else "_" for c in word.strip().lower()).strip("_")


def _text(value: str) -> str:
    return shortened(without_controls(encodable.text(value)))


def _described(value: Any) -> str:
    try:
        return value.isoformat() if isinstance(value, date) else str(value)
    except Exception:  # noqa: BLE001 - a text of the program's own may raise anything
        return unshown(value)
