"""Patterns for keys that hold a secret word.

They are made for `US key RS`, as a key stands in the collector's text of a record; the process writes a key like that
too, so that both find the same. Pure standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RS = r"\x1e"
US = r"\x1f"
PASSED = r"\x08"
"""Stands behind a word that is no secret where it is."""

_SEPARATOR = rf"[^A-Za-z0-9{PASSED}{RS}{US}]?"
# No dot: behind it the word is a name of its own, as within a nested value.
_WITHIN = rf"[^A-Za-z0-9.{PASSED}{RS}{US}]?"
_REST = rf"[^{RS}{US}]*{RS}"
# The word is the last one of the key, or of a part of it before a dot.
_LAST = rf"[^A-Za-z.{PASSED}{RS}{US}]*(?:\.[^{RS}{US}]*)?{RS}"


def patterns(word: str) -> tuple[str, str]:
    """Return two patterns for a word: in small letters or with capitals at its parts, and in capitals.

    Group 1 ends with the word, group 2 is the rest of the key. How words are written is said in keys.yaml.
    """
    joined, last = word.startswith("*"), word.endswith("$")
    first, *rest = (_choices(part) for part in word.strip("*$").split("_"))
    mixed = "".join(_SEPARATOR + _any(_either(text) for text in part) for part in rest)
    small, capital = _any(first), _any(_capital(text) for text in first)
    capitals = _SEPARATOR.join(_any(_upper(text) for text in part) for part in (first, *rest))
    start = "" if joined else "[^A-Za-z]"
    tails = (_LAST, _LAST) if last else (_tail("a-z"), _tail("A-Za-z"))
    return (
        f"((?:{start}{small}|{capital}){mixed})({tails[0]})",
        f"({'' if joined else '[^A-Z]'}{capitals})({tails[1]})",
    )


def endings(word: str) -> tuple[str, str]:
    """Return two patterns as `patterns` does, for the end of a word that is written in one way. Each begins with a
    literal.
    """
    first, *rest = (_choices(part)[0] for part in word.strip("*$").split("_"))
    mixed = "".join(_SEPARATOR + _either(part) for part in rest)
    capitals = _SEPARATOR.join(map(_upper, (first[1:], *rest)))
    return f"{first[1:]}{mixed}[^a-z]", f"{capitals}[^A-Za-z]"


def innocent(settings: Mapping[str, Any]) -> list[str]:
    """Return patterns for words that are no secret where they stand; `PASSED` belongs between groups 1 and 2."""
    about = settings.get("about", {"words": [], "then": []})
    found = []
    if about["words"]:
        said = _any(f"{_either(text)}s?" for text in about["then"])
        found.append(f"({_any(map(_either, about['words']))}s?)((?:{_SEPARATOR}{said})+{_LAST})")
        said = _any(f"{_upper(text)}S?" for text in about["then"])
        found.append(f"({_any(map(_upper, about['words']))}S?)((?:{_SEPARATOR}{said})+{_LAST})")
    for word, kinds in settings.get("kinds", {}).items():
        small, capital = _any(kinds), _any(map(_capital, kinds))
        found.append(f"((?:[^A-Za-z]{small}|{capital}){_WITHIN}{_either(word)})({_LAST})")
        found.append(f"([^A-Z]{_any(map(_upper, kinds))}{_WITHIN}{_upper(word)})({_LAST})")
    return found


def _tail(letters: str) -> str:
    return f"(?:[^{letters}{PASSED}{RS}{US}][^{RS}{US}]*)?{RS}"


def _choices(part: str) -> list[str]:
    """Return the words of one part: `(a|b)(s)` is `a` and `b` with a plural."""
    plural = part.endswith("(s)")
    words = part.removesuffix("(s)").strip("()").split("|")
    return [f"{word}s?" if plural else word for word in words]


def _any(texts: Any) -> str:
    found: Sequence[str] = list(texts)
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _either(text: str) -> str:
    return f"[{text[0]}{text[0].upper()}]{text[1:]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _upper(text: str) -> str:
    return text.upper()
