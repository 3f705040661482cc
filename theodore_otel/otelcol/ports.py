"""The addresses a collector will listen on, checked before it starts, and who holds one that is taken."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from theodore_otel.errors import InputError
from theodore_otel.otelcol import process

_PROC = Path("/proc")
_LISTENING = "0A"


@dataclass(frozen=True)
class Listener:
    """One address the collector listens on."""

    key: str
    """The key that sets it, such as `collector.listen.grpc`."""
    host: str
    port: int

    @property
    def address(self) -> str:
        """Return `host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reached_at(self) -> str:
        """Return the address to connect to: a listener on every address is reached on the loopback one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return Listener(self.key, host, self.port).address


def listener(key: str, address: str, source: str) -> Listener:
    """Return the listener that `host:port` under `key` stands for. Raises InputError for an impossible port."""
    host, _, port = address.rpartition(":")
    if not 0 < int(port) < 65536:
        raise InputError(f"{source}: {key}: expected a port from 1 to 65535, got {port}")
    return Listener(key, host.strip("[]"), int(port))


def check_free(listeners: Sequence[Listener], source: str) -> None:
    """Make sure that every listener's address can be taken.

    Raises InputError naming the address, its key in `source`, and where it can be told who holds it.
    """
    seen: dict[tuple[str, int], str] = {}
    for wanted in listeners:
        where = (wanted.host, wanted.port)
        if where in seen:
            raise InputError(f"{source}: {seen[where]} and {wanted.key} both say {wanted.address}")
        seen[where] = wanted.key
        if reason := _cannot_bind(wanted):
            raise InputError(
                f"{source}: {wanted.key}: cannot listen on {wanted.address}: {reason}. "
                f"End what holds it, or set another address in {wanted.key}"
            )


def _cannot_bind(wanted: Listener) -> str | None:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            # As the collector does: a connection that is only timing out does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return (error.strerror or str(error)).lower()
        holder = held_by(wanted.port)
        return f"port {wanted.port} is taken" + (f" by {holder}" if holder else "")
    return None


def held_by(port: int) -> str | None:
    """Return who listens on a TCP port, such as `otelcol (pid 4711)`; None when the system does not tell."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(table, port)}
    if not inodes:
        return None
    for folder in _PROC.glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in inodes for link in folder.iterdir()):
                return process.describe(int(folder.parent.name))
    return None


def _listening(table: str, port: int) -> list[str]:
    try:
        rows = (_PROC / "net" / table).read_text().splitlines()[1:]
    except OSError:
        return []
    fields = (row.split() for row in rows)
    return [f[9] for f in fields if f[3] == _LISTENING and int(f[1].rpartition(":")[2], 16) == port]
