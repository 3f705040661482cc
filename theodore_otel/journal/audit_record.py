"""One audit record: what is hashed, how, and what it looks like in the journal."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What the first record of a writer has in place of the hash before it."""
LARGEST: Final = 2**63 - 1
"""The largest number that OTLP can carry."""

_NUMBER: Final = re.compile("[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """What was done, and its place in the chain of its writer. Texts are never empty; what is not known is None."""

    writer: str
    sequence: int
    time: str
    action: str
    outcome: str
    keyid: str
    previous: str
    actor: str | None = None
    resource: str | None = None
    context: str | None = None
    """JSON of an object."""
    hash: str = ""

    @property
    def id(self) -> str:
        """Return the audit.id: the same for the same writer and sequence number."""
        return f"{self.writer}-{self.sequence}"

    def fields(self) -> dict[str, Any]:
        """Return what is known, by the names that stand behind `audit.` in the registry."""
        return {"id": self.id} | {name: value for name in NAMES if (value := getattr(self, name)) is not None}

    def seal(self, key: bytes) -> str:
        """Return the hash of everything but the hash."""
        return seal({name: value for name, value in self.fields().items() if name != "hash"}, key)

    def line(self) -> bytes:
        """Return the one line of the journal that it has."""
        return encode(self.fields()) + b"\n"

    def details(self) -> dict[str, Any]:
        """Return the context as a mapping; empty when it is none."""
        try:
            found = json.loads(self.context or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


NAMES: Final = (
    "writer",
    "sequence",
    "time",
    "action",
    "outcome",
    "keyid",
    "previous",
    "actor",
    "resource",
    "context",
    "hash",
)
_NEEDED: Final = ("writer", "sequence", "time", "action", "outcome", "keyid", "previous")


def record(fields: Mapping[str, Any]) -> Record:
    """Return the record of a line or of a destination's attributes, whose names have lost their `audit.`.

    Raises ValueError for what is no record.
    """
    values = {name: fields[name] for name in NAMES if fields.get(name) is not None}
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise ValueError(f"no audit record: {missing[0]} is missing")
    number = values["sequence"]
    if isinstance(number, str) and _NUMBER.fullmatch(number):  # whole numbers are texts in OTLP's JSON
        number = values["sequence"] = int(number)
    if type(number) is not int or not 0 < number <= LARGEST:
        raise ValueError("no audit record: expected a sequence number")
    if not all(isinstance(text, str) for name, text in values.items() if name != "sequence"):
        raise ValueError("no audit record: expected texts")
    made = Record(**values)
    if fields.get("id", made.id) != made.id:
        raise ValueError("audit.id is not the one of writer and sequence")
    return made


def seal(fields: Mapping[str, Any], key: bytes) -> str:
    """Return the keyed hash (HMAC-SHA-256) of some fields."""
    return hmac.new(key, encode(fields), hashlib.sha256).hexdigest()


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return fields as the one JSON text they have: sorted, no spaces, ASCII."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
