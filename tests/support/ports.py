"""Ports for programs that are started a little later."""

from __future__ import annotations

import random
import socket

# Below the range from which the system gives ports to clients: nobody takes one by connecting somewhere meanwhile.
_RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            break
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
    return found
