"""The keys of the hash chain: by reference, or a generated one that only its owner can read.

A reference gives one or more keys, separated by white space. The first one signs, the others verify what was signed
before a rotation. A file is read again when it changes, so that a process that runs takes up a new key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.journal import places
from theodore_otel.journal.audit_record import seal

if TYPE_CHECKING:
    from theodore_otel.journal.audit_record import Record

VARIABLE: Final = "THEODORE_OTEL_AUDIT_KEY"
FILE: Final = "key"
_SHORTEST: Final = 16
_TRIES: Final = 100


class UnusableKeyError(ValueError):
    """A key that cannot be used; the message never holds it."""


@dataclass(frozen=True)
class Key:
    """One key and the name that stands in records."""

    id: str
    secret: bytes

    @classmethod
    def of(cls, text: str) -> Key:
        """Return the key of a text. Raises UnusableKeyError for one that is too short to be one."""
        if len(text) < _SHORTEST:
            raise UnusableKeyError(f"expected keys of at least {_SHORTEST} characters, got one of {len(text)}")
        secret = text.encode("utf-8", "surrogateescape")
        return cls("k" + hashlib.sha256(b"theodore-otel audit key\0" + secret).hexdigest()[:12], secret)

    def signed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a note with the key's id and the seal that nobody can make without the key."""
        content = {**fields, "keyid": self.id}
        return {**content, "seal": seal(content, self.secret)}

    def pseudonym(self, actor: str) -> str:
        """Return what stands for an actor: the same for the same actor and key, and not to be guessed without it."""
        return (
            "actor-" + hmac.new(self.secret, b"actor\0" + actor.encode("utf-8", "replace"), "sha256").hexdigest()[:24]
        )


class Keys:
    """The key that signs and those that verify."""

    def __init__(self, source: Path | str) -> None:
        """`source` is a file, or the text of a variable. Raises UnusableKeyError or OSError."""
        self._file = source if isinstance(source, Path) else None
        self._seen: tuple[int, ...] = ()
        self._keys = _parse(source) if isinstance(source, str) else self._read(source)

    def current(self) -> Key:
        """Return the key that signs now."""
        return self.all()[0]

    def all(self) -> list[Key]:
        """Return every key, the one that signs first. A file that has become unusable changes nothing."""
        if self._file is not None:
            try:
                if _state(self._file) != self._seen:
                    self._keys = self._read(self._file)
            except (OSError, UnusableKeyError):
                pass
        return self._keys

    def _read(self, file: Path) -> list[Key]:
        seen = _state(file)
        keys = _parse(file.read_text(encoding="utf-8", errors="surrogateescape"))
        self._seen = seen
        return keys


class Keyring:
    """Keys by their ids, to verify with."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """Remember the keys."""
        self._keys = {key.id: key.secret for key in keys}

    def judge(self, made: Record) -> str | None:
        """Return what is wrong with a record by itself: `unknown key`, `changed` or nothing."""
        secret = self._keys.get(made.keyid)
        if secret is None:
            return "unknown key"
        return None if made.seal(secret) == made.hash else "changed"

    def sealed(self, fields: Mapping[str, Any], **more: Any) -> str | None:
        """Return what is wrong with a sealed note: `unknown key`, `changed` or nothing; `more` is sealed with it."""
        keyid = fields.get("keyid")
        secret = self._keys.get(keyid) if isinstance(keyid, str) else None
        if secret is None:
            return "changed" if keyid is None else "unknown key"
        content = {name: value for name, value in fields.items() if name != "seal"}
        try:
            return None if seal({**content, **more}, secret) == fields.get("seal") else "changed"
        except (RecursionError, ValueError):  # nested too deep
            return "changed"


def load(
    folder: Path, reference: Mapping[str, str] | None, environ: Mapping[str, str] = os.environ, *, make: bool = True
) -> Keys:
    """Return the keys: of THEODORE_OTEL_AUDIT_KEY or THEODORE_OTEL_AUDIT_KEY_FILE, of the configuration's reference, or
    of the file in the journal's folder, which is generated when it is missing and `make` is set.

    Raises UnusableKeyError for a reference that cannot be used and OSError for a file that cannot be read or made.
    """
    given = {"env": VARIABLE} if environ.get(VARIABLE) else {}
    if not given and environ.get(f"{VARIABLE}_FILE"):
        given = {"file": environ[f"{VARIABLE}_FILE"]}
    given = given or dict(reference or {})
    if "env" in given:
        text = environ.get(given["env"], "")
        if not text.strip():
            raise UnusableKeyError(f"expected the audit key in the variable {given['env']}, which is not set")
        return Keys(text)
    if "file" in given:
        return Keys(Path(given["file"]))
    if make:
        return Keys(generated(folder))
    os.close(places.opened(folder / FILE))  # raises for what would be waited for
    return Keys(folder / FILE)


def known(folder: Path, reference: Mapping[str, str] | None, environ: Mapping[str, str] = os.environ) -> list[Key]:
    """Return every key that may have signed here: those that are configured, and the generated one. Never raises."""
    found: list[Key] = []
    for given, variables in ((reference, environ), (None, {})):
        with suppress(OSError, UnusableKeyError):
            found += load(folder, given, variables, make=False).all()
    return list(dict.fromkeys(found))


def generated(folder: Path) -> Path:
    """Return the journal's own key file, made when it is missing. Raises OSError."""
    path = folder / FILE
    for _ in range(_TRIES):
        if path.exists() and path.stat().st_size:
            return path
        claimed = places.claim(path, make=True)
        if claimed is not None:
            with claimed:
                if not os.fstat(claimed.descriptor).st_size:
                    os.write(claimed.descriptor, secrets.token_hex(32).encode() + b"\n")
                    os.fsync(claimed.descriptor)
                    places.settle(folder)
            return path
        time.sleep(0.01)
    raise TimeoutError(110, "another process keeps the key file to itself", str(path))


def _parse(text: str) -> list[Key]:
    keys = [Key.of(each) for each in text.split()]
    if not keys:
        raise UnusableKeyError("expected an audit key, got nothing")
    return keys


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return (found.st_mtime_ns, found.st_ino, found.st_size)
