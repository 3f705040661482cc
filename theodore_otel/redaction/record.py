"""The presets as rules for the text the collector makes of a record: `US key RS value US key RS value US`.

In that text a value must not be left at its end, and a key is known by the `RS` behind it. A rule's pattern has up to
three groups: what stands before the secret and is kept, the secret, and what follows it and is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from theodore_otel.redaction import key_words
from theodore_otel.redaction.key_words import RS, US
from theodore_otel.redaction.matcher import MASK

MARK = "\x02"
"""Stands in a mask that was made."""
START, END = "\x04", "\x0e"
"""Stand around a secret that is to be hashed."""

# What no match holds: names of fields, what stands for a mask or a digest that was there, the separators. The mark in a
# mask may be in one, because the mask is a text to the rules that follow.
_CONTROLS = r"\x03\x07\x10\x1e\x1f"
_NEGATED = {r"\S": rf"[^\s{_CONTROLS}]", r"\D": rf"[^\d{_CONTROLS}]", r"\W": rf"[^\w{_CONTROLS}]"}
_NO_LITERAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True)
class Rule:
    """A pattern for RE2. `gates` are cheap patterns, one of which matches where it does; without any it is cheap."""

    pattern: str
    gates: tuple[str, ...]
    before: bool
    after: bool
    times: int = 1
    """How often it is applied: twice where two neighbours may want one separator."""

    @property
    def masked(self) -> str:
        """Return what replaces a match: the context around the mask."""
        return self._around(f"{MASK[:-1]}{MARK}{MASK[-1]}")

    @property
    def marked(self) -> str:
        """Return what replaces a match: the context around the secret, marked to be hashed."""
        return self._around(f"{START}${1 + self.before}{END}")

    def _around(self, text: str) -> str:
        return "$1" * self.before + text + f"${2 + self.before}" * self.after


def value_rule(pattern: str, groups: bool, gates: Sequence[str] = (), hints: Sequence[str] = ()) -> Rule:
    """Return the rule for a preset's pattern, whose `groups` are context, or for a pattern of the configuration's."""
    before, secret, after = _parts(tokens(pattern)) if groups else _anchored(tokens(pattern))
    secret = [_within_value(part, "(?s" in pattern) for part in secret]
    found = [f"({''.join(part)})" for part in (before, secret, after) if part]
    begins = _literal_begin([*before, *secret])
    cheap = () if len(begins) > 1 else tuple(map(quoted, hints))
    at_both_ends = not groups and bool(before and after)
    return Rule("".join(found), tuple(gates) or cheap, bool(before), bool(after), 1 + at_both_ends)


def key_rules(word: str, gates: Sequence[str] = ()) -> tuple[Rule, Rule]:
    """Return the rules that find a word of a key: in small letters or with capitals, and in capitals.

    Group 2 is the rest of the key with the `RS` behind it: no match in a value takes the separator that the next key
    begins with. The gates are good for a text of keys as well.
    """
    mixed, upper = key_words.patterns(word)
    small, capitals = key_words.endings(word)
    return (
        Rule(mixed, tuple(gates) or (small,), before=True, after=True),
        Rule(upper, tuple(dict.fromkeys(gate.upper() for gate in gates)) or (capitals,), before=True, after=True),
    )


def spared_keys(names: Sequence[str]) -> str:
    """Return a pattern of such a name before its `RS`, alone or as the last part of a nested one: group 2.

    Group 1 is what stands before it, which may be a secret still.
    """
    return rf"({US}(?:[^{RS}{US}]*?\.)?)({'|'.join(map(quoted, names))}){RS}"


def tokens(pattern: str) -> list[str]:
    """Return the pattern's escapes, classes, beginnings of groups and single characters."""
    return re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?<[A-Za-z_]\w*>|\(\?|.", pattern, re.DOTALL)


def quoted(literal: str) -> str:
    """Return a pattern for the literal, for re and RE2."""
    return _NO_LITERAL.sub(lambda found: "\\" + found.group(), literal)


def _parts(found: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return a preset's pattern in three: group 1, what is outside of the groups, group 2."""
    end = _closing(found, 0)
    # A value's beginning is the RS, which a class that excludes other characters matches.
    before = found[3:end] if found[1:3] == ["^", "|"] else found[1:end]
    rest = found[end + 1 :]
    if "(" not in rest:
        return before, rest, []
    start = rest.index("(")
    return before, rest[:start], rest[start + 1 : _closing(rest, start)]


def _anchored(found: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return a pattern in three: its `^`, itself without groups, its `$`."""
    flags: list[str] = []
    if found[:1] == ["(?"] and ")" in found and ":" not in found[: found.index(")")]:
        flags, found = found[: found.index(")") + 1], found[found.index(")") + 1 :]
    edge = [f"[{RS}{US}]"]
    before = edge if found[:1] == ["^"] else []
    after = edge if found[-1:] == ["$"] else []
    inner = found[len(before) : len(found) - len(after)]
    plain = ["(?:" if part == "(" or part.startswith(("(?P<", "(?<")) else part for part in inner]
    return before, [*flags, *plain], after


def _closing(found: Sequence[str], start: int) -> int:
    depth = 0
    for index in range(start, len(found)):
        depth += found[index].startswith("(") - (found[index] == ")")
        if depth == 0:
            return index
    raise ValueError(f"no end of the group in {''.join(found)}")


def _within_value(part: str, dot_is_all: bool) -> str:
    """Return a part of a pattern that matches no control character of the text."""
    if part == ".":
        return f"[^{_CONTROLS}]" if dot_is_all else rf"[^\n{_CONTROLS}]"
    if part.startswith("[^"):
        return f"{part[:-1]}{_CONTROLS}]"
    return _NEGATED.get(part, part)


def _literal_begin(found: Sequence[str]) -> str:
    """Return the literal every match begins with, which is what makes a pattern cheap."""
    text = ""
    for part in found:
        if part in {"?", "*", "{"}:
            return text[:-1]
        if not (re.fullmatch(r"\\[^A-Za-z0-9]", part) or (len(part) == 1 and part not in ".()|+")):
            break
        text += part[-1]
    return "" if has_alternatives(found) else text


def has_alternatives(found: Sequence[str]) -> bool:
    """Say whether there is a `|` outside of every group."""
    depth = 0
    for part in found:
        depth += part.startswith("(") - (part == ")")
        if part == "|" and depth == 0:
            return True
    return False


def without_superfluous(gates: Iterable[str]) -> tuple[str, ...]:
    """Leave out what another gate finds anyway, because it is its end."""
    unique = tuple(dict.fromkeys(gates))
    return tuple(gate for gate in unique if not any(gate != other and gate.endswith(other) for other in unique))
