"""Which rules can match in a text at all, told from what every match contains. A clean text is told in about 1 us.

One pass over the text leaves its rare characters and its digits. A literal that a match contains (a hint) is looked for
only where a rare character of it is there. Hints may stand behind a gate, a cheap pattern that many rules share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

# From rare to less rare in log texts; a hint is filed under the first of these that it holds.
_RARE: Final = "@~+%=\"'\\QZXJKzqxjG_"
_DIGITS: Final = b"0123456789"
_LEAST_DIGITS: Final = 7
# What is left of a text: its rare characters, and a 0 for each digit.
_CLASSES: Final = bytes(ord("0") if byte in _DIGITS else byte for byte in range(256))
_COMMON: Final = bytes(byte for byte in range(256) if chr(byte) not in _RARE and byte not in _DIGITS)
# For numbers: a 0 for each digit, a space for what may separate groups of them.
_GROUPS: Final = bytes(ord("0") if byte in _DIGITS else 32 if chr(byte) in " -" else ord("x") for byte in range(256))
# Keys of vendors are long words, and most texts have none.
_IN_WORD: Final = bytes(
    ord("a") if (chr(byte).isalnum() and byte < 128) or chr(byte) in "_-" else 32 for byte in range(256)
)
_LONG_WORD: Final = b"a" * 20

_LITERAL: Final = re.compile(r"[A-Za-z0-9=%@:/_-]+")
_LAST_CLASS: Final = re.compile(r".*\[((?:\\\W|[^\]\\^-])+)\]")

Hint = tuple[str, int]
"""A literal, and the number of a rule whose matches may contain it."""


class _Place(NamedTuple):
    """Tests that are made together. Where one passes, its hints are looked for."""

    literals: list[tuple[str, list[Hint]]]
    patterns: list[tuple[Callable[[str], object], list[Hint]]]

    def find(self, text: str) -> list[int]:
        found: list[int] = []
        for literal, hints in self.literals:
            if literal in text:
                found += _present(hints, text)
        for search, hints in self.patterns:
            if search(text):
                found += _present(hints, text)
        return found


def _has_number(encoded: bytes) -> bool:
    """Say whether there are digits as in cards, accounts and telephone numbers, and unlike dates, times, addresses."""
    groups = encoded.translate(_GROUPS)
    return groups.find(b"0000") >= 0 and (b"0 0000" in groups or b"0000000" in groups)


def _present(hints: Iterable[Hint], text: str) -> list[int]:
    return [index for hint, index in hints if hint in text]


class Candidates:
    """The rules by what their matches contain."""

    def __init__(self) -> None:
        """Begin without any rule."""
        self._always: list[int] = []
        self._digits: list[int] = []
        self._words: list[Hint] = []
        self._everywhere = _Place([], [])
        self._rare: dict[int, _Place] = {}
        self._gated: dict[tuple[str, ...], list[Hint]] = {}

    @property
    def together(self) -> bool:
        """Say whether texts can be looked at together: no rule has to be tried on every single one."""
        return not self._always

    def add(self, index: int, value: Mapping[str, Any]) -> None:
        """File one rule by what its matches contain: `hints`, and with them a long `word` or one of `gates`; `digits`.

        A rule of which nothing is known is tried always.
        """
        hints = [(hint, index) for hint in value.get("hints", ())]
        if not hints:
            (self._digits if value.get("digits") else self._always).append(index)
        elif value.get("word"):
            self._words += hints
        elif value.get("gates"):
            self._file_behind(tuple(value["gates"]), hints)
        else:
            for hint in hints:
                self._file_literal(hint[0], [hint])

    def find(self, text: str) -> Iterable[int]:
        """Return the numbers of the rules that can match, in order; nothing for a text that is clean."""
        literals, patterns = self._everywhere
        found: list[int] = []
        for literal, hints in literals:
            if literal in text:
                found += _present(hints, text)
        if patterns:
            for search, hints in patterns:
                if search(text):
                    found += _present(hints, text)
        encoded = text.encode("utf-8", "replace")
        # `find` takes half the time of `in` here.
        if encoded.translate(_IN_WORD).find(_LONG_WORD) >= 0:
            found += _present(self._words, text)
        left = encoded.translate(_CLASSES, _COMMON)
        if left:
            digits = left.count(b"0")
            if digits >= _LEAST_DIGITS and _has_number(encoded):
                found += self._digits
            if digits < len(left):
                for character in self._rare.keys() & set(left):
                    found += self._rare[character].find(text)
        return sorted({*found, *self._always}) if found or self._always else ()

    def _file_behind(self, gates: tuple[str, ...], hints: list[Hint]) -> None:
        if gates not in self._gated:
            self._gated[gates] = []
            for gate in gates:
                file = self._file_literal if _LITERAL.fullmatch(gate) else self._file_pattern
                file(gate, self._gated[gates])
        self._gated[gates] += hints

    def _file_literal(self, literal: str, hints: list[Hint]) -> None:
        for place in self._places(_rarest(literal)):
            place.literals.append((literal, hints))

    def _file_pattern(self, pattern: str, hints: list[Hint]) -> None:
        for place in self._places(_needed(pattern)):
            place.patterns.append((re.compile(pattern, re.ASCII).search, hints))

    def _places(self, needed: str) -> list[_Place]:
        """Return where that is looked for of which every match holds one of these characters; of none: everywhere."""
        return [self._rare.setdefault(ord(character), _Place([], [])) for character in needed] or [self._everywhere]


def _rarest(literal: str) -> str:
    """Return the rarest character of a literal, nothing where none of them is rare."""
    return min((character for character in literal if character in _RARE), key=_RARE.index, default="")


def _needed(pattern: str) -> str:
    """Return rare characters, one of which is in every match: the first of the pattern, or a class at its end."""
    last = _LAST_CLASS.fullmatch(pattern)
    characters = re.sub(r"\\(\W)", r"\1", last[1] if last else pattern.lstrip("\\")[:1])
    return characters if all(character in _RARE for character in characters) else ""
