"""Credentials of tenants and services: an htpasswd file of salted hashes for the collector's basicauth extension.

Tenant `acme` has credentials `acme.1`, `acme.2` ...: two overlap while one is rotated out. A service for many
tenants has `svc-NAME.1`; the hyphen cannot stand in a tenant id. Tokens are 256 random bits, so a fast salted hash is
enough, and a slow one would cost more than the whole pipeline on every request.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from theodore_otel import paths
from theodore_otel.errors import InputError

SERVICE_PREFIX = "svc-"
_SCHEME = "{SSHA}"

_OWNER = re.compile(r"[a-z0-9][a-z0-9_]{0,62}|svc-[a-z0-9][a-z0-9_]{0,58}")
_NAME = re.compile(r"(?P<owner>.+)\.(?P<number>[0-9]+)")


@dataclass(frozen=True)
class Credential:
    """A credential just made; the token is not stored and cannot be shown again."""

    name: str
    """User name, such as `acme.1`."""
    token: str
    """Password."""

    @property
    def value(self) -> str:
        """What goes into THEODORE_OTEL_CREDENTIAL."""
        return f"{self.name}:{self.token}"


def default_file() -> Path:
    """Return where credentials are kept unless `tenants.credentials_file` says otherwise."""
    return paths.home() / "credentials.htpasswd"


def names(file: Path) -> list[str]:
    """Return the user names in the file, sorted by owner and number; empty when there is no file."""
    return sorted(_read(file), key=_split)


def owners(file: Path) -> dict[str, list[str]]:
    """Return the credentials of each owner: a tenant id, or `svc-NAME` of a service."""
    result: dict[str, list[str]] = {}
    for name in names(file):
        result.setdefault(_split(name)[0], []).append(name)
    return result


def valid(owner: str) -> bool:
    """Say whether there can be a tenant or service of that name."""
    return bool(_OWNER.fullmatch(owner))


def add(file: Path, owner: str) -> Credential:
    """Make the first credential of a tenant or service.

    Raises:
        InputError: when the name is not a tenant id, or it has credentials already.
    """
    if not valid(owner):
        kind = "service name" if owner.startswith(SERVICE_PREFIX) else "tenant id"
        raise InputError(
            f"expected a {kind} of small letters, digits and underscores, got {owner.removeprefix(SERVICE_PREFIX)!r}"
        )
    with _locked(file):
        existing = owners(file).get(owner, [])
        if existing:
            raise InputError(
                f"{owner} has credentials already ({', '.join(existing)}); `tenant rotate` makes a new one"
            )
        return _append(file, f"{owner}.1")


def rotate(file: Path, owner: str) -> Credential:
    """Make another credential; the old ones keep working until they are removed.

    Raises:
        InputError: when the owner has none.
    """
    with _locked(file):
        existing = owners(file).get(owner)
        if not existing:
            raise InputError(f"{owner} has no credentials; `tenant add` makes the first")
        return _append(file, f"{owner}.{_split(existing[-1])[1] + 1}")


def hand_out(file: Path, owner: str, place: Path) -> Credential | None:
    """Put a credential into `place` for the process that reads it there, unless a good one of `owner` is there already.

    Returns the one that was made. Raises InputError when a file cannot be read or written.
    """
    if _is_good(file, owner, place):
        return None
    if not os.access(place.parent, os.W_OK):
        raise InputError(f"{place}: cannot be written: expected a folder there that this user can write")
    make = rotate if owner in owners(file) else add
    made = make(file, owner)
    _replace(place, f"{made.value}\n")
    return made


def remove(file: Path, name: str) -> list[str]:
    """Remove one credential (`acme.1`) or all of an owner (`acme`), and return what was removed.

    Raises:
        InputError: when there is none of that name.
    """
    with _locked(file):
        entries = _read(file)
        gone = [entry for entry in entries if name in (entry, _split(entry)[0])]
        if not gone:
            raise InputError(f"no credential {name!r} in {file} (known: {', '.join(sorted(entries)) or 'none'})")
        _write(file, {entry: digest for entry, digest in entries.items() if entry not in gone})
        return gone


def ssha(token: str, salt: bytes | None = None) -> str:
    """Return the hash as htpasswd files have it: base64 of SHA-1(token + salt) + salt (a new one when None)."""
    salt = secrets.token_bytes(8) if salt is None else salt
    digest = hashlib.sha1(token.encode() + salt).digest()  # noqa: S324  the token has 256 bits of its own
    return _SCHEME + base64.b64encode(digest + salt).decode()


def _is_good(file: Path, owner: str, place: Path) -> bool:
    try:
        name, _, token = place.read_text(encoding="utf-8").strip().partition(":")
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{place}: cannot be read: {reason}") from None
    digest = _read(file).get(name, "")
    if _split(name)[0] != owner or not digest.startswith(_SCHEME):
        return False
    salt = base64.b64decode(digest.removeprefix(_SCHEME))[hashlib.sha1().digest_size :]  # noqa: S324  as in ssha
    return secrets.compare_digest(digest, ssha(token, salt))


def _append(file: Path, name: str) -> Credential:
    credential = Credential(name, secrets.token_urlsafe(32))
    _write(file, {**_read(file), name: ssha(credential.token)})
    return credential


def _split(name: str) -> tuple[str, int]:
    """Return owner and number; a name that somebody else has put there is its own owner."""
    match = _NAME.fullmatch(name)
    return (match["owner"], int(match["number"])) if match else (name, 0)


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{file}: cannot be read: {reason}") from None
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _write(file: Path, entries: dict[str, str]) -> None:
    _replace(file, "".join(f"{name}:{entries[name]}\n" for name in sorted(entries, key=_split)))


def _replace(file: Path, text: str) -> None:
    """Replace the file as a whole; owner, group and their rights stay, so that the collector can still read it."""
    file = file.resolve()  # a link stays a link
    temporary = None
    try:
        owner = (file if file.exists() else file.parent).stat()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            if file.exists():
                _keep_rights(stream.fileno(), owner)
            elif owner.st_uid != os.geteuid():
                os.chown(stream.fileno(), owner.st_uid, owner.st_gid)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"{file}: cannot be written: {error.strerror}") from None


def _keep_rights(descriptor: int, before: os.stat_result) -> None:
    """Give a new file the owner and group of the one it replaces, with their rights. Raises OSError."""
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
        os.chown(descriptor, -1 if made.st_uid == before.st_uid else before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o660)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (file.parent / f".{file.name}.lock").open("w")
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
