"""The presets as data, joined with what a configuration adds and takes away."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from theodore_otel.errors import InputError
from theodore_otel.redaction.matcher import DEFAULT_MASK, NEVER, key_pattern

_FOLDER = Path(__file__).parent
_SECTION = "redaction"

# What Python's re knows and RE2 does not, each with the words for the message.
_NOT_IN_RE2 = (
    (r"\(\?<?[=!]", "lookahead or lookbehind"),
    (r"\(\?P=|\\[1-9]", "a reference back to a group"),
    (r"\(\?>|[*+?}]\+", "an atomic group or possessive repeat"),
    (r"\(\?\(", "a condition on a group"),
    (r"\(\?#|\(\?[aiLmsux]*[aLux]", "a comment or one of the flags a, L, u, x"),
    (r"\\Z|\\[uUN]", r"\Z, \u, \U or \N"),
    (r"\{\d*,?\d{4,}", "a repeat of 1,000 and more"),
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*([_. -]?[A-Za-z0-9]+)*")
_LITERAL = re.compile(r"[A-Za-z0-9_/:@=~-]+")


@dataclass(frozen=True)
class Value:
    """One pattern that is masked in values.

    `hints` are literals and `gates` patterns, one of which is found in every text that matches; with neither, the
    pattern is tried on every text. `groups` says that groups 1 and 2 are context to be kept.
    """

    name: str
    pattern: str
    hints: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    groups: bool = False
    luhn: bool = False

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return patterns for RE2, one of which matches in a text of keys and values if one of these values matches."""
        return self.gates or tuple(map(_quoted, self.hints)) or (_unanchored(self.pattern),)

    @property
    def replacement(self) -> str:
        """Return what the collector puts in place of a match: the mask, and the context that is kept."""
        before, after = "$1" * self.groups, "$2" * (re.compile(self.pattern).groups > 1)
        return f"{before}{DEFAULT_MASK}{after}"

    def settings(self) -> dict[str, Any]:
        """Return what the process needs of it."""
        found: dict[str, Any] = {"name": self.name, "pattern": self.pattern, "hints": list(self.hints)}
        found.update(digits=bool(self.gates and not self.hints), groups=self.groups, luhn=self.luhn)
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class Rules:
    """What is masked: `keys` (words), except `except_keys` (whole names), and `values`."""

    keys: tuple[str, ...]
    except_keys: tuple[str, ...]
    values: tuple[Value, ...]
    mask: str = DEFAULT_MASK

    @property
    def key_pattern(self) -> str:
        """Return the pattern, for re and RE2, that is found in every key with a secret word."""
        return key_pattern(self.keys)

    @property
    def except_pattern(self) -> str:
        """Return the pattern that matches the keys that are excepted."""
        return "^(?:" + "|".join(map(_quoted, self.except_keys)) + ")$" if self.except_keys else NEVER

    @property
    def any_value(self) -> str:
        """Return one pattern, for RE2, for all values; slow, for what is rare. Each context has its own group."""
        return "|".join(f"(?:{value.pattern})" for value in self.values) or NEVER

    @property
    def any_value_uncaptured(self) -> str:
        """Return `any_value` without groups."""
        return _uncaptured(self.any_value)

    @property
    def any_replacement(self) -> str:
        """Return what stands in place of a match of `any_value`: groups that took no part are empty."""
        before, after, number = "", "", 0
        for value in self.values:
            groups = re.compile(value.pattern).groups
            before += f"${number + 1}" * (groups > 0)
            after += f"${number + 2}" * (groups > 1)
            number += groups
        return f"{before}{self.mask}{after}"

    @property
    def key_conditions(self) -> tuple[str, ...]:
        """Return short patterns for RE2, one of which matches in a text that holds a key with a secret word."""
        # A word that ends in another word needs no search of its own: `api_key` is found as `key`.
        alone = (word for word in self.keys if "_" not in word or word.rpartition("_")[2] not in self.keys)
        return _least(form for word in alone for form in _forms(word))

    @property
    def value_conditions(self) -> tuple[str, ...]:
        """Return short patterns for RE2, one of which matches in a text that holds a value to be masked."""
        return _least(condition for value in self.values for condition in value.conditions)

    def settings(self) -> dict[str, Any]:
        """Return the `redaction` section of instrument.json, which `Matcher` takes."""
        values = [value.settings() for value in self.values]
        return {"mask": self.mask, "keys": list(self.keys), "except_keys": list(self.except_keys), "values": values}


@dataclass(frozen=True)
class Preset:
    """One entry of presets.yaml: its values and examples of what is and what is not masked."""

    name: str
    description: str
    values: tuple[Value, ...]
    masked: tuple[str, ...]
    kept: tuple[str, ...]


def load(
    disable: Sequence[str] = (),
    extra_keys: Sequence[str] = (),
    except_keys: Sequence[str] = (),
    extra_values: Mapping[str, str] | None = None,
) -> Rules:
    """Return the default rules without the presets in `disable`, and with what a configuration adds.

    Raises InputError, which names the key, for an unknown preset, a key word that is none, and a pattern that does not
    compile, that RE2 lacks, or that matches the empty text.
    """
    presets = all_presets()
    _check_names(disable, [preset.name for preset in presets])
    keys = _read("keys.yaml")
    extra = [_value(name, pattern) for name, pattern in (extra_values or {}).items()]
    return Rules(
        keys=_unique([*keys["words"], *(_word(index, word) for index, word in enumerate(extra_keys))]),
        except_keys=_unique([*keys["except"], *except_keys]),
        values=(*(value for preset in presets if preset.name not in disable for value in preset.values), *extra),
    )


@cache
def all_presets() -> tuple[Preset, ...]:
    """Return every preset in the order in which they apply."""
    return tuple(_preset(entry) for entry in _read("presets.yaml"))


def open_fields() -> list[dict[str, str]]:
    """Return the OTLP fields that no stock component of the collector reaches: `field`, `why`, `instead`."""
    return list(_read("open_fields.yaml"))


def _read(name: str) -> Any:
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))


def _preset(entry: Mapping[str, Any]) -> Preset:
    values = tuple(
        Value(
            name=entry["name"],
            pattern=rule["pattern"],
            hints=tuple(rule.get("hints", ())),
            gates=tuple(rule.get("gates", ())),
            groups=re.compile(rule["pattern"]).groups > 0,
            luhn=rule.get("luhn", False),
        )
        for rule in entry["rules"]
    )
    return Preset(entry["name"], entry["description"], values, tuple(entry["masked"]), tuple(entry["kept"]))


def _check_names(disable: Sequence[str], known: Sequence[str]) -> None:
    for name in disable:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise InputError(f"{_SECTION}.disable_presets: there is no preset {name!r}{hint}")


def _word(index: int, word: str) -> str:
    if not _WORD.fullmatch(word):
        raise InputError(
            f"{_SECTION}.extra_keys[{index}]: expected a word or words of letters and digits such as 'internal_ref', "
            f"got {word!r}"
        )
    # A capital after a small letter begins a word, as in the keys themselves.
    return re.sub(r"[. -]", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)).lower()


def _value(name: str, pattern: str) -> Value:
    where = f"{_SECTION}.extra_values.{name}"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{where}: expected a regular expression, got {pattern!r}: {error}") from None
    for shape, what in _NOT_IN_RE2:
        if _outside_classes(pattern, shape):
            raise InputError(f"{where}: {pattern!r} has {what}, which the collector's engine (RE2) does not know")
    if compiled.search("") is not None:
        raise InputError(f"{where}: {pattern!r} matches the empty text, so it would mask everything")
    # Nothing of a match is kept: only presets have groups for context.
    return Value(name, _uncaptured(pattern), hints=_leading_literal(pattern))


def _outside_classes(pattern: str, shape: str) -> bool:
    return re.search(shape, re.sub(r"\\\\|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)) is not None


def _leading_literal(pattern: str) -> tuple[str, ...]:
    found = _LITERAL.match(pattern)
    if found is None or "|" in pattern:
        return ()
    literal = found.group()
    if pattern[found.end() : found.end() + 1] in {"?", "*", "{", "+"}:
        literal = literal[:-1]
    return (literal,) if len(literal) > 1 else ()


def _tokens(pattern: str) -> list[str]:
    return re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?<[A-Za-z_]\w*>|\(\?|.", pattern, re.DOTALL)


def _uncaptured(pattern: str) -> str:
    groups = {"(": "(?:"}
    tokens = _tokens(pattern)
    return "".join("(?:" if token.startswith(("(?P<", "(?<")) else groups.get(token, token) for token in tokens)


def _unanchored(pattern: str) -> str:
    """Let `^` and `$` match where a value begins and ends in the collector's text of all keys and values."""
    ends = {"^": r"(?:^|[\x1e\x1f\"])", "$": r"(?:$|[\x1e\x1f\"])"}
    return "".join(ends.get(token, token) for token in _tokens(pattern))


def _forms(word: str) -> list[str]:
    """Return the ways in which a word can stand in a key, each beginning with a literal."""
    parts = word.split("_")
    separator = "[^A-Za-z0-9]?"
    upper = separator.join(part.upper() for part in parts) + "(?:[^A-Za-z]|$)"
    rest = "".join(separator + f"[{part[0]}{part[0].upper()}]{part[1:]}" for part in parts[1:]) + "(?:[^a-z]|$)"
    first = parts[0]
    if len(word) > 5:
        return [first[1:] + (rest if len(parts) > 1 else ""), upper if len(parts) > 1 else word.upper()]
    if len(first) > 3:
        return [first[1:] + rest, upper]
    return [first + rest, first.capitalize() + rest, upper]


def _quoted(literal: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", literal)


def _least(conditions: Iterable[str]) -> tuple[str, ...]:
    """Leave out what another condition finds anyway: a literal within it, or its own end."""
    unique = _unique(conditions)
    literals = [condition for condition in unique if not re.search(r"[\\.+*?()|\[\]{}^$]", condition)]

    def superfluous(condition: str) -> bool:
        shorter = [other for other in unique if other != condition and condition.endswith(other)]
        return "|" not in condition.replace("|$", "") and bool(
            shorter or (condition in literals and any(o in condition and o != condition for o in literals))
        )

    return tuple(condition for condition in unique if not superfluous(condition))


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
