"""The presets as data, joined with what a configuration adds and takes away."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from theodore_otel.errors import InputError
from theodore_otel.redaction import key_words, record
from theodore_otel.redaction.matcher import MASK

_FOLDER = Path(__file__).parent

# What Python's re knows and RE2 does not, or what means something else there, each with the words for the message.
_NOT_IN_RE2 = (
    (r"\(\?<?[=!]", "lookahead or lookbehind"),
    (r"\(\?P=|\\[1-9]", "a reference back to a group"),
    (r"\(\?>|[*+?}]\+", "an atomic group or possessive repeat"),
    (r"\(\?\(", "a condition on a group"),
    (r"\(\?#|\(\?[aiLmsux]*[aLmux]", "a comment or one of the flags a, L, m, u, x"),
    (r"\\[AZz]|\\[uUN]", r"\A, \Z, \u, \U or \N"),
    (r"\{\d*,?\d{4,}", "a repeat of 1,000 and more"),
    (r"(?<!^)\^|\$(?!$)", "`^` elsewhere than at its beginning or `$` elsewhere than at its end"),
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*([_. -]?[A-Za-z0-9]+)*")
_LITERAL = re.compile(r"[A-Za-z0-9_/:@=~-]+")


@dataclass(frozen=True)
class Value:
    """One pattern that is masked in values.

    `hints` are literals, one of which is in every text that matches; `gates` are cheap patterns, one of which matches
    in every text that matches. `groups` says that groups 1 and 2 are context to be kept.
    """

    name: str
    pattern: str
    hints: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    groups: bool = False
    luhn: bool = False
    word: bool = False
    """Whether every match holds a long word, see `theodore_otel.redaction.candidates`."""
    tenant: str | None = None
    """The only tenant to which it applies."""

    @property
    def record(self) -> record.Rule:
        """Return it as a rule for the collector's text of a record."""
        return record.value_rule(self.pattern, self.groups, self.gates, self.hints)

    def settings(self) -> dict[str, Any]:
        """Return what the process needs of it."""
        gates = self.gates if self.hints and not self.word else ()
        found: dict[str, Any] = {"name": self.name, "pattern": self.pattern}
        found.update(hints=list(self.hints), gates=list(gates), word=self.word)
        found.update(digits=bool(self.gates and not self.hints), groups=self.groups, luhn=self.luhn)
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class Key:
    """One word; the value of a key that holds it is masked."""

    word: str
    """As it is written in keys.yaml."""
    gates: tuple[str, ...] = ()
    """Cheap patterns, one of which is in every key that holds the word in small letters."""
    tenant: str | None = None
    """The only tenant to which it applies."""

    @property
    def records(self) -> tuple[record.Rule, record.Rule]:
        """Return it as rules for the collector's text of a record."""
        return record.key_rules(self.word, self.gates)


@dataclass(frozen=True)
class Rules:
    """What is masked: the values of `keys`, except of those named in `except_keys`, and `values`, and how."""

    keys: tuple[Key, ...]
    except_keys: tuple[str, ...]
    values: tuple[Value, ...]
    tenant_keys: tuple[Key, ...] = ()
    tenant_values: tuple[Value, ...] = ()
    innocent_keys: tuple[str, ...] = ()
    """Patterns for words of keys that are no secret where they stand, see `key_words.innocent`."""
    allowed: tuple[str, ...] = ()
    """The only attributes that survive; all of them when empty."""
    hash_key: Mapping[str, str] | None = None
    """Where the key is, {env: NAME} or {file: PATH}, when secrets are hashed and not masked."""

    @property
    def key_gates(self) -> tuple[str, ...]:
        """Return cheap patterns for a text of keys, one of which matches where there is a secret one."""
        rules = [rule for key in self.keys + self.tenant_keys for rule in key.records]
        return record.without_superfluous(gate for rule in rules for gate in rule.gates)

    @property
    def spared_keys(self) -> str | None:
        """Return the pattern for the excepted keys in the collector's text of a record."""
        return record.spared_keys(self.except_keys) if self.except_keys else None

    def settings(self) -> dict[str, Any]:
        """Return the `redaction` section of instrument.json, which `Matcher` takes."""
        settings = {
            "mask": MASK,
            "keys": [key.word for key in self.keys],
            "innocent_keys": list(self.innocent_keys),
            "except_keys": list(self.except_keys),
            "values": [value.settings() for value in self.values],
        }
        return {**settings, "hash_key": dict(self.hash_key)} if self.hash_key else settings


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
    return Rules(
        keys=(*map(_key, keys["words"]), *map(Key, _unique(_words(extra_keys, "redaction")))),
        innocent_keys=tuple(key_words.innocent(keys["innocent"])),
        except_keys=_unique([*keys["except"], *except_keys]),
        values=(
            *(value for preset in presets if preset.name not in disable for value in preset.values),
            *_values(extra_values or {}, "redaction"),
        ),
    )


def add_tenant(rules: Rules, tenant: str, extra_keys: Sequence[str], extra_values: Mapping[str, str]) -> Rules:
    """Return the rules with what is secret for one tenant besides. Raises InputError as `load` does."""
    section = f"tenants.list.{tenant}.redaction"
    keys = (Key(word, tenant=tenant) for word in _words(extra_keys, section))
    values = (replace(value, tenant=tenant) for value in _values(extra_values, section))
    return replace(rules, tenant_keys=(*rules.tenant_keys, *keys), tenant_values=(*rules.tenant_values, *values))


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
            word=rule.get("word", False),
        )
        for rule in entry["rules"]
    )
    return Preset(entry["name"], entry["description"], values, tuple(entry["masked"]), tuple(entry["kept"]))


def _key(entry: str | Mapping[str, Any]) -> Key:
    return Key(entry) if isinstance(entry, str) else Key(entry["word"], tuple(entry["gates"]))


def _check_names(disable: Sequence[str], known: Sequence[str]) -> None:
    for name in disable:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise InputError(f"redaction.disable_presets: there is no preset {name!r}{hint}")


def _words(words: Sequence[str], section: str) -> list[str]:
    for index, word in enumerate(words):
        if not _WORD.fullmatch(word):
            raise InputError(
                f"{section}.extra_keys[{index}]: expected a word or words of letters and digits such as "
                f"'internal_ref', got {word!r}"
            )
    # A capital after a small letter begins a word, as in the keys themselves.
    return [re.sub(r"[. -]", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)).lower() for word in words]


def _values(patterns: Mapping[str, str], section: str) -> list[Value]:
    return [_value(name, pattern, f"{section}.extra_values.{name}") for name, pattern in patterns.items()]


def _value(name: str, pattern: str, where: str) -> Value:
    try:
        compiled = re.compile(pattern, re.ASCII)
    except re.error as error:
        raise InputError(f"{where}: expected a regular expression, got {pattern!r}: {error}") from None
    outside = _outside_classes(pattern)
    if what := not_in_re2(pattern):
        raise InputError(f"{where}: {pattern!r} has {what}, which cannot be used in the collector")
    if any(re.search(r"\\[SDW]", token) for token in record.tokens(pattern) if token.startswith("[")):
        raise InputError(
            rf"{where}: {pattern!r} has \S, \D or \W within brackets, which cannot be used in the collector"
        )
    if {"^", "$"} & {outside[:1], outside[-1:]} and record.has_alternatives(record.tokens(pattern)):
        raise InputError(f"{where}: expected (?: ) around the alternatives between `^` and `$`, got {pattern!r}")
    if compiled.search("") is not None:
        raise InputError(f"{where}: {pattern!r} matches the empty text, so it would mask everything")
    return Value(name, pattern, hints=_leading_literal(pattern))


def not_in_re2(pattern: str) -> str | None:
    """Return what a pattern has that the collector's engine lacks or reads otherwise, in words; None when nothing."""
    outside = _outside_classes(pattern)
    return next((what for shape, what in _NOT_IN_RE2 if re.search(shape, outside)), None)


def _outside_classes(pattern: str) -> str:
    """Return the pattern with `x` for every class and every escaped character."""
    return "".join(
        "x" if token.startswith("[") or re.fullmatch(r"\\[^A-Za-z0-9]", token) else token
        for token in record.tokens(pattern)
    )


def _leading_literal(pattern: str) -> tuple[str, ...]:
    found = _LITERAL.match(pattern)
    if found is None or "|" in pattern:
        return ()
    literal = found.group()
    if pattern[found.end() : found.end() + 1] in {"?", "*", "{", "+"}:
        literal = literal[:-1]
    return (literal,) if len(literal) > 1 else ()


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
