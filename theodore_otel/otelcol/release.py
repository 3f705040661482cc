"""The official release: downloaded, checked against its SHA-256, and only then put into the cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from theodore_otel import paths
from theodore_otel.errors import DownError, InputError
from theodore_otel.otelcol import places

ANSWER_LIMIT = 10.0
"""Seconds after which a server that sends nothing is given up."""

_CHUNK = 1 << 18
_PROGRESS_EVERY = 5.0
_CHECKSUMS_LIMIT = 1 << 20


@dataclass(frozen=True)
class Release:
    """Where one version of the official binary is published, and the checksums known beforehand."""

    version: str
    base_url: str
    archive: str
    member: str
    sha256: dict[str, str]
    checksums: str


def release(base_url: str | None = None) -> Release:
    """Return the pinned release; `base_url`, else THEODORE_OTEL_RELEASES_URL, replaces its address.

    Raises InputError when the address is not an http or https one.
    """
    said = places.read_yaml(paths.data("collector") / "releases.yaml")
    address = base_url or os.environ.get("THEODORE_OTEL_RELEASES_URL") or said["base_url"]
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise InputError(f"release address: expected http://... or https://..., got {address!r}")
    return Release(**{**said, "base_url": address.rstrip("/")})


def download(
    wanted: Release, target: Path, note: places.Note, *, system: str | None = None, limit: float = ANSWER_LIMIT
) -> None:
    """Put the release's binary for `system` (default: this machine) at `target`, or leave nothing behind.

    Raises DownError naming the address when the server does not answer for `limit` seconds, does not have the file,
    ends early, or sends something else than the checksum says.
    """
    system = system or places.platform_name()
    operating_system, _, architecture = system.partition("_")
    name = wanted.archive.format(os=operating_system, arch=architecture)
    expected = wanted.sha256.get(system) or _published_checksum(wanted, name, limit)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        archive = Path(folder) / name
        _fetch(f"{wanted.base_url}/{name}", archive, expected, note, limit)
        binary = Path(folder) / "binary"
        _extract(archive, wanted.member, binary)
        binary.chmod(0o755)
        binary.replace(target)


def _published_checksum(wanted: Release, name: str, limit: float) -> str:
    url = f"{wanted.base_url}/{wanted.checksums}"
    with _open(url, limit) as answer:
        text = b"".join(_blocks(answer, url, limit))[:_CHECKSUMS_LIMIT].decode("utf-8", "replace")
    for line in text.splitlines():
        checksum, _, file = line.partition(" ")
        if file.strip().lstrip("*") == name:
            return checksum.lower()
    raise DownError(f"{url}: no checksum for {name}: the release has no file for this platform")


def _fetch(url: str, file: Path, expected: str, note: places.Note, limit: float) -> None:
    note(f"downloading {url}")
    digest = hashlib.sha256()
    with _open(url, limit) as answer, file.open("wb") as out:
        total = int(answer.headers.get("Content-Length") or 0)
        got, told = 0, time.monotonic()
        for block in _blocks(answer, url, limit):
            out.write(block)
            digest.update(block)
            got += len(block)
            if time.monotonic() - told > _PROGRESS_EVERY:
                told = time.monotonic()
                note(f"  {_megabytes(got)}" + (f" of {_megabytes(total)}" if total else ""))
    if got < total:
        raise DownError(f"{url}: truncated: the connection ended after {got} of {total} bytes")
    if digest.hexdigest() != expected:
        raise DownError(f"{url}: wrong checksum: expected sha256 {expected}, got {digest.hexdigest()}")


def _blocks(answer: Any, url: str, limit: float) -> Iterator[bytes]:
    try:
        while block := answer.read(_CHUNK):
            yield block
    except TimeoutError as error:
        raise DownError(f"{url}: the server stopped sending for {limit:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownError(f"{url}: the connection broke: {error}") from error


def _open(url: str, limit: float) -> Any:
    """Open `url` within `limit` seconds in all: a socket's timeout covers neither name lookup nor several addresses."""
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.append(urllib.request.urlopen(url, timeout=limit))  # noqa: S310 - `release` lets only http(s) pass
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.append(error)

    # A daemon, because a name lookup that hangs cannot be interrupted and must not hold up the end of the program.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(limit)
    if not outcome or isinstance(outcome[0], TimeoutError):
        raise DownError(f"{url}: no answer within {limit:g} s")
    if isinstance(outcome[0], urllib.error.HTTPError):
        raise DownError(f"{url}: the server answered {outcome[0].code} {outcome[0].reason}")
    if isinstance(outcome[0], urllib.error.URLError):
        if isinstance(outcome[0].reason, TimeoutError):
            raise DownError(f"{url}: no answer within {limit:g} s")
        raise DownError(f"{url}: cannot be reached: {outcome[0].reason}")
    if isinstance(outcome[0], (OSError, http.client.HTTPException)):
        raise DownError(f"{url}: cannot be reached: {outcome[0]}")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _extract(archive: Path, member: str, target: Path) -> None:
    """Copy one regular file out of the archive; no other path in it is ever written."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            source: IO[bytes] | None = None
            if (entry := tar.getmember(member)).isfile():
                source = tar.extractfile(entry)
            if source is None:
                raise DownError(f"{archive.name}: {member} in it is not a regular file")
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
    except KeyError as error:
        raise DownError(f"{archive.name}: holds no file {member}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownError(f"{archive.name}: not a readable archive: {error}") from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
