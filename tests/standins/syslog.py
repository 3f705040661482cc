"""A syslog receiver: RFC 5424 messages over TCP with octet counting (RFC 6587), or one a datagram."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_NAME = r"[!#-<>-\\^-~]{1,32}"
_PARAMETER = re.compile(rf' ({_NAME})="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_ELEMENT = re.compile(rf'\[({_NAME})((?: {_NAME}="(?:[^"\\\]]|\\.)*")*)\]', re.DOTALL)
_HEADER = re.compile(
    r"<(0|[1-9]\d{0,2})>1 "
    r"(-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    r"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
)


class FormatError(Exception):
    """A message is not RFC 5424."""


@dataclass(frozen=True)
class Message:
    """One message, taken apart."""

    facility: int
    severity: int
    timestamp: str
    hostname: str
    app_name: str
    process_id: str
    message_id: str
    data: dict[str, dict[str, str]]
    text: str


def parse(message: str) -> Message:
    """Return a message; raise FormatError when any part is not as RFC 5424 has it."""
    header = _HEADER.match(message)
    if not header or int(header[1]) > 191:
        raise FormatError(f"header: {message!r}")
    data, rest = _structured_data(message[header.end() :])
    if rest and not rest.startswith(" "):
        raise FormatError(f"a space is wanted before the text: {rest!r}")
    priority = int(header[1])
    text = rest[1:].removesuffix("\n")
    return Message(priority // 8, priority % 8, *header.groups()[1:], data, text)


def _structured_data(rest: str) -> tuple[dict[str, dict[str, str]], str]:
    if rest.startswith("-"):
        return {}, rest[1:]
    found: dict[str, dict[str, str]] = {}
    while element := _ELEMENT.match(rest):
        if element[1] in found:
            raise FormatError(f"element {element[1]} stands twice")
        found[element[1]] = {
            name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in _PARAMETER.findall(element[2])
        }
        rest = rest[element.end() :]
    if not found or rest.startswith("["):
        raise FormatError(f"structured data: {rest!r}")
    return found, rest


class Syslog:
    """Keeps messages; `wrong` holds what was no message."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.messages: list[Message] = []
        self.wrong: list[str] = []
        self.port = 0
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def start(self) -> None:
        self._listener = self._listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Be down: nothing listens, and open connections are cut."""
        if self._listener:
            for opened in (self._listener, *self._open):
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()
        self._listener = None
        self._open.clear()

    def _listen(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", self.port))

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._open.add(connection)
                threading.Thread(target=self._receive, args=(connection,), daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection.makefile("rb") as stream:
                while frame := _frame(stream):
                    self._keep(frame)

    def _keep(self, frame: bytes) -> None:
        try:
            self.messages.append(parse(frame.decode()))
        except (FormatError, UnicodeDecodeError) as error:
            self.wrong.append(str(error))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class SyslogDatagrams(Syslog):
    """The same over UDP: a datagram is a message."""

    def _listen(self) -> socket.socket:
        listener = socket.socket(type=socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", self.port))
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while message := listener.recv(65536):
                self._keep(message)


def _frame(stream) -> bytes:
    """Return the next message: its length in decimal, a space, and that many octets."""
    digits = b""
    while (octet := stream.read(1)).isdigit():
        digits += octet
    if not digits or octet != b" " or digits.startswith(b"0"):
        return b"" if not octet else b"not counted: " + digits + octet + stream.readline()
    return stream.read(int(digits))
