"""One audit record: what is hashed, how, and what it looks like in the journal."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What the first record of a writer has in place of the hash before it."""


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
        """Return the line of the journal."""
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


def record(fields: Mapping[str, Any]) -> Record:
    """Return the record of a line or of a destination's attributes, whose names have lost their `audit.`.

    Raises ValueError for what is no record.
    """
    try:
        made = Record(**{name: fields[name] for name in NAMES if fields.get(name) is not None})
        # Whole numbers are texts in OTLP's JSON.
        made = made if isinstance(made.sequence, int) else Record(**{**_values(made), "sequence": int(made.sequence)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"no audit record: {error}") from None
    texts = (value for name, value in _values(made).items() if name != "sequence" and value is not None)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("no audit record: expected texts")
    if fields.get("id", made.id) != made.id:
        raise ValueError(f"audit.id {fields['id']!r} is not the one of writer and sequence")
    return made


def seal(fields: Mapping[str, Any], key: bytes) -> str:
    """Return the keyed hash (HMAC-SHA-256) of some fields."""
    return hmac.new(key, encode(fields), hashlib.sha256).hexdigest()


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return fields as the one JSON text they have: sorted, no spaces, ASCII."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


def _values(made: Record) -> dict[str, Any]:
    return {name: getattr(made, name) for name in NAMES}
