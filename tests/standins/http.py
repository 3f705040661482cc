"""What the stand-ins that speak HTTP share."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Self


class WireError(Exception):
    """A request is not in the service's format; the message says what was expected and what came."""


@dataclass(frozen=True)
class Request:
    """One request, its body as it was before compression."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def expect(self, header: str, value: str) -> None:
        """Require a header."""
        expect(header, self.headers.get(header.lower()), value)


def expect(what: str, got: object, wanted: object) -> None:
    """Require a value."""
    if got != wanted:
        raise WireError(f"{what}: expected {wanted!r}, got {got!r}")


def no_constant(name: str) -> object:
    """Refuse what Python reads as a number and JSON does not know; for `json.loads(parse_constant=...)`."""
    raise WireError(f"no JSON: {name}")


class HttpStandIn:
    """A service on a port that stays the same when it is stopped and started again.

    `wrong` holds what it refused for its format; a test's fixture requires it to be empty at the end.
    """

    tls: ssl.SSLContext | None = None
    """Set before it starts, it speaks TLS."""
    headers: Mapping[str, str] = MappingProxyType({})
    """Sent with every answer."""

    def __init__(self) -> None:
        self.accepted: list[Request] = []
        self.wrong: list[str] = []
        self.refused = 0
        self.status: int | None = None
        self._let_through = threading.Event()
        self._let_through.set()
        self._server: _Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def take(self, request: Request) -> tuple[int, object]:
        """Check and keep one request; return status and JSON answer, or raise WireError."""
        raise NotImplementedError

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        if self.tls:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Be down: nothing listens, and open connections are cut."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def answer(self, status: int | None) -> None:
        """Answer every request with that status, keeping none; None ends it."""
        self.status = status

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Answer nothing for the length of a block."""
        self._let_through.clear()
        try:
            yield
        finally:
            self._let_through.set()

    def handle(self, request: Request) -> tuple[int, object]:
        self._let_through.wait()
        if self.status is not None:
            self.refused += 1
            return self.status, {}
        try:
            answer = self.take(request)
        except WireError as error:
            self.wrong.append(f"{request.method} {request.path}: {error}")
            return 400, {"error": str(error)}
        self.accepted.append(request)
        return answer

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *arguments: object) -> None:
        """A client that goes away is no news."""


def _handler(service: HttpStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = _plain(self._read(), headers.get("content-encoding", ""))
            status, answer = service.handle(Request(self.command, self.path, headers, body))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = respond  # noqa: N815

        def _read(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    return Handler


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    return body
