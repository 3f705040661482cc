"""The client's connection, bounded in time and size whatever it is that answers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from elastic_transport import NodeConfig, Urllib3HttpNode
from urllib3.exceptions import HTTPError

_LARGEST = 64 * 2**20
_LONGEST = 60.0
_PIECE = 65536


class BoundedNode(Urllib3HttpNode):
    """A node that gives up on answers without an end."""

    def __init__(self, config: NodeConfig) -> None:
        """Take the pool of connections that the client's own node makes."""
        super().__init__(config)
        self.pool: Any = _Bounded(self.pool)


class _Bounded:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def urlopen(self, method: str, target: str, **options: Any) -> SimpleNamespace:
        answer = self._pool.urlopen(method, target, preload_content=False, **options)
        try:
            data = _read(answer)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return SimpleNamespace(status=answer.status, headers=answer.headers, data=data)

    def close(self) -> None:
        self._pool.close()


def _read(answer: Any) -> bytes:
    end = time.monotonic() + _LONGEST
    data = bytearray()
    # Piece by piece: a timeout of the socket begins anew with every byte.
    while piece := answer.read1(_PIECE, decode_content=True):
        data += piece
        if len(data) > _LARGEST:
            raise HTTPError(f"its answer is longer than {_LARGEST >> 20} MiB")
        if time.monotonic() > end:
            raise HTTPError(f"its answer has no end after {_LONGEST:g} s")
    return bytes(data)
