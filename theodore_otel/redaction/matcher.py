"""Mask secrets and personal data in texts, URLs and nested values. Pure standard library, and fast on what is clean.

A pattern is only tried on a text in which it can match (`candidates`). The texts of a record are looked at together, so
that a clean record of a message and eight values costs 2 us.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from theodore_otel.redaction import key_words
from theodore_otel.redaction.candidates import Candidates

MASK = "[REDACTED]"
NEVER = r"[^\s\S]"

_ONLY_DIGITS = re.compile(r"\s*[0-9][0-9 -]{11,30}[0-9]\s*")
_DIGEST = re.compile(r"\[HASH:[0-9a-f]{64}\]")
_SMALLEST_CARD = 10**12
_LEAST_CARD = -_SMALLEST_CARD
_DEEPEST = 32
_MOST_KEYS = 4096
_LONGEST_REMEMBERED = 48
# What stands around a key and within it where patterns are tried on it.
_NO_MARKS = dict.fromkeys((0x08, 0x1E, 0x1F), " ")


class Hit(NamedTuple):
    """One masked piece: the preset's name and what was masked."""

    name: str
    text: str


class _Rule(NamedTuple):
    name: str
    search: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]
    groups: bool
    luhn: bool

    def apply(self, text: str) -> str:
        if self.luhn and _ONLY_DIGITS.fullmatch(text) and not luhn(text):
            return text
        return self.search.sub(self.replacement, text)


class Matcher:
    """Applies one set of rules.

    `settings` is the `redaction` section of instrument.json: `mask`, `keys` (words), `innocent_keys` (patterns for
    words that are no secret where they stand), `except_keys` (whole names) and `values`, each with `name` and `pattern`
    and, where known, what `Candidates.add` takes, `groups` (groups 1 and 2 are kept) and `luhn`; and `hash_key`, where
    to find the key when secrets are hashed. Raises re.error for what is no pattern.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Compile the rules; about a millisecond, so once per process."""
        self.mask: str = settings.get("mask", MASK)
        self._hash_key = _hash_key(settings.get("hash_key"))
        self._except = frozenset(settings.get("except_keys", ()))
        self._keys = re.compile(key_pattern(settings.get("keys", ())))
        self._innocent = [re.compile(pattern) for pattern in settings.get("innocent_keys", ())]
        self._rules: list[_Rule] = []
        candidates = Candidates()
        for index, value in enumerate(settings.get("values", ())):
            self._add(index, value, candidates)
        self._candidates = candidates.find
        self._together = candidates.together
        self.key = lru_cache(maxsize=_MOST_KEYS)(self._is_secret_key)
        self._open_keys: set[str] = set()
        self._clean: set[str] = set()

    def text(self, text: str) -> str:
        """Return the text with every match masked; the same object when nothing matches."""
        if text in self._clean:
            return text
        wanted = self._candidates(text)
        if not wanted:
            if len(text) <= _LONGEST_REMEMBERED:
                self._remember((text,))
            return text
        for index in wanted:
            text = self._rules[index].apply(text)
        return text

    def by_every_rule(self, text: str) -> str:
        """Return the text masked as the collector masks it: by every rule, and without the Luhn check. Takes 40 us."""
        for rule in self._rules:
            if rule.search.search(text):
                text = rule.search.sub(rule.replacement, text)
        return text

    def record(self, text: str, values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return a message and what stands beside it masked; the same objects when nothing matches."""
        if self._is_clean(text, values):
            return text, values
        return self.text(text), {self._map_key(k): self._map_value(k, v, _DEEPEST) for k, v in values.items()}

    def value(self, key: str, value: Any) -> Any:
        """Return the value masked: as a whole under a secret key, else wherever it stands in it.

        Maps, lists and tuples are copied, their keys are masked too. Numbers that are card numbers and bytes that hold
        a secret become the mask. Other types come back as they are.
        """
        if value is not None and self.key(key):
            return self.hidden(value)
        return self._nested(value, _DEEPEST)

    def hidden(self, secret: Any) -> str:
        """Return what stands for a secret: the mask; its digest if there is a key and it is a text or a whole number.

        The digest is SHA-256 over the key and the secret in UTF-8, as the collector makes it.
        """
        if self._hash_key is None or isinstance(secret, bool) or not isinstance(secret, (str, int)):
            return self.mask
        if secret == self.mask or (isinstance(secret, str) and _DIGEST.fullmatch(secret)):
            return str(secret)
        return f"[HASH:{hashlib.sha256(f'{self._hash_key}{secret}'.encode('utf-8', 'replace')).hexdigest()}]"

    def url(self, url: str) -> str:
        """Return a URL without user, password, query and fragment, and with its path masked."""
        for end in "?#":
            url = url.partition(end)[0]
        scheme, mark, rest = url.partition("://")
        if mark:
            authority, slash, path = rest.partition("/")
            url = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
        return self.text(url)

    def find(self, text: str) -> list[Hit]:
        """Return what `text` would mask and by which rule, in the order in which the rules apply."""
        hits = []
        for index in self._candidates(text):
            rule = self._rules[index]
            after = rule.apply(text)
            if after != text:
                hits += [
                    Hit(rule.name, found.group()[slice(*_secret(found, rule.groups))])
                    for found in rule.search.finditer(text)
                ]
            text = after
        return hits

    def _is_secret_key(self, key: str) -> bool:
        """Say whether a key holds a secret word beside what is excepted; remembered for the 4,096 latest keys."""
        text = f"\x1f{key.translate(_NO_MARKS)}\x1e"
        if self._keys.search(text) is None:
            return False
        parts = key.split(".")
        for index in range(len(parts)):
            if ".".join(parts[index:]) in self._except:
                # What it stands in may be a secret still.
                text = f"\x1f{'.'.join([*parts[:index], '']).translate(_NO_MARKS)}\x1e"
                break
        for innocent in self._innocent:
            text = innocent.sub("\\1\x08\\2", text)
        return self._keys.search(text) is not None

    def _are_open(self, keys: Iterable[Any]) -> bool:
        """Say whether keys neither call for masking nor have to be masked themselves; note those that are new."""
        for key in keys:
            if not isinstance(key, str) or self.key(key) or self.text(key) != key:
                return False
            if len(self._open_keys) < _MOST_KEYS:
                self._open_keys.add(key)
        return True

    def _is_clean(self, text: str, values: Mapping[Any, Any]) -> bool:
        """Say whether nothing can match in a text and in values, none of which holds others."""
        if not (self._open_keys.issuperset(values) or self._are_open(values)):
            return False
        texts = [text]
        clean = self._clean
        for value in values.values():
            kind = type(value)
            if kind is str:
                if value not in clean:
                    texts.append(value)
            elif kind is float or kind is int:
                if not _LEAST_CARD < value < _SMALLEST_CARD:
                    return False
            elif kind is not bool and value is not None:
                return False
        if len(texts) == 1:
            return self._together and not self._candidates(text)
        if not self._together or self._candidates("\n".join(texts)):
            return False
        self._remember(texts[1:])
        return True

    def _remember(self, texts: Iterable[str]) -> None:
        """Note short texts in which nothing matches: most values come again."""
        if len(self._clean) > _MOST_KEYS:
            self._clean.clear()
        self._clean.update(text for text in texts if len(text) <= _LONGEST_REMEMBERED)

    def _nested(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (bool, type(None))):
            return value
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, (bytes, bytearray)):
            decoded = value.decode("utf-8", "replace")
            return value if self.text(decoded) == decoded else self.mask
        if depth == 0:
            return self.mask
        if isinstance(value, Mapping):
            if self._is_clean("", value):
                return dict(value)
            return {self._map_key(k): self._map_value(k, v, depth - 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self._nested(item, depth - 1) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def _number(self, value: float) -> Any:
        if not _SMALLEST_CARD <= value < 1e20 or value != int(value):
            return value
        text = str(int(value))
        return value if self.text(text) == text else self.hidden(int(value))

    def _map_key(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key

    def _map_value(self, key: Any, value: Any, depth: int) -> Any:
        if value is not None and isinstance(key, str) and self.key(key):
            return self.hidden(value)
        return self._nested(value, depth)

    def _add(self, index: int, value: Mapping[str, Any], candidates: Candidates) -> None:
        search = re.compile(value["pattern"], re.ASCII)
        kept = min(search.groups, 2) if value.get("groups") else 0
        before, after = r"\1" if kept else "", r"\2" if kept > 1 else ""
        replacement = self._hashed(bool(kept)) or before + self.mask.replace("\\", "\\\\") + after
        self._rules.append(_Rule(value["name"], search, replacement, bool(kept), bool(value.get("luhn"))))
        candidates.add(index, value)

    def _hashed(self, groups: bool) -> Callable[[re.Match[str]], str] | None:
        def replaced(found: re.Match[str]) -> str:
            text, (start, end) = found.group(), _secret(found, groups)
            return text[:start] + self.hidden(text[start:end]) + text[end:]

        return replaced if self._hash_key is not None else None


def key_pattern(words: Iterable[str]) -> str:
    """Return a pattern that is found in `US key RS` for every key that holds one of the words, see `key_words`."""
    return "|".join(pattern for word in words for pattern in key_words.patterns(word)) or NEVER


def luhn(digits: str) -> bool:
    """Say whether the digits of a text pass the check that card numbers pass."""
    values = [int(character) for character in digits if character.isdigit()]
    doubled = [value * 2 - 9 * (value > 4) for value in values[-2::-2]]
    return (sum(values[-1::-2]) + sum(doubled)) % 10 == 0


def _hash_key(reference: Mapping[str, str] | None) -> str | None:
    """Return the key, or None where it cannot be had: then secrets are masked."""
    if not reference:
        return None
    if "env" in reference:
        return os.environ.get(reference["env"]) or None
    try:
        return Path(reference["file"]).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _secret(found: re.Match[str], groups: bool) -> tuple[int, int]:
    """Return where in the match the secret begins and ends: between groups 1 and 2, if they are context."""
    end = len(found.group())
    if not groups:
        return 0, end
    after = len(found.group(2) or "") if found.re.groups > 1 else 0
    return len(found.group(1) or ""), end - after
