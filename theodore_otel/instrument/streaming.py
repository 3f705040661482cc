"""Answers that the program reads piece by piece: what passes is listened to, and the usage taken from it.

Nothing is read that the program does not read. A stream of events (SSE) says its usage in its last events: OpenAI's
with `stream_options: {include_usage: true}`, OpenRouter's and Gemini's always, Anthropic's in the first and the last.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from theodore_otel.instrument.operation import quietly

_LONGEST: Final = 8 * 1024 * 1024
"""Bytes that are kept: of an answer that is no stream of events, or of one event."""
_TELLING: Final = (b'"usage', b'"error"')


class Call(Protocol):
    """What is told how the answer was."""

    def answered(self, status: int, body: Any) -> None:
        """End the call with the answer's JSON, None where it is not known."""


class Listener:
    """Hears the bytes of one answer and ends its call once, when the answer does or is given up."""

    def __init__(self, call: Call, status: int, headers: Mapping[str, str]) -> None:
        """`headers` tell whether the answer is a stream of events, and how it is compressed when bytes come raw."""
        self._call = call
        self._status = status
        self._events = "event-stream" in (headers.get("content-type") or "").lower()
        encoding = (headers.get("content-encoding") or "").strip().lower()
        self._unpack = zlib.decompressobj(47) if encoding in ("gzip", "deflate", "x-gzip") else None
        self._kept = bytearray()
        self._answer: dict[str, Any] = {}
        self._ended = False

    def raw(self, data: bytes) -> None:
        """Hear a piece as it came over the wire."""
        try:
            self.feed(self._unpack.decompress(data) if self._unpack else data)
        except zlib.error:
            self._kept.clear()

    @quietly
    def feed(self, data: bytes) -> None:
        """Hear a piece."""
        if len(self._kept) + len(data) > _LONGEST:
            self._kept.clear()
            return
        self._kept += data
        # A line that came in many pieces is looked at once, when its end is there.
        if not self._events or b"\n" not in data:
            return
        *lines, rest = bytes(self._kept).split(b"\n")
        for line in lines:
            self._line(line)
        self._kept = bytearray(rest)

    @quietly
    def end(self) -> None:
        """End the call with what was heard."""
        if self._ended:
            return
        self._ended = True
        if self._events:
            self._line(bytes(self._kept))
            self._call.answered(self._status, self._answer)
        else:
            self._call.answered(self._status, bytes(self._kept) or None)

    def answered(self, status: int, body: Any) -> None:  # noqa: ARG002 - what was heard counts
        """End the call; takes the place of a call whose answer is read at once."""
        self.end()

    def _line(self, line: bytes) -> None:
        field, _, value = line.strip().partition(b":")
        if field != b"data" or not (any(word in value for word in _TELLING) or not self._answer):
            return  # one of the many pieces of text; the first event names the model
        try:
            event = json.loads(value)
        except ValueError:
            return
        # Anthropic wraps the first in `message`, OpenAI's responses the last in `response`.
        for told in (event, event.get("message"), event.get("response")) if isinstance(event, dict) else ():
            if isinstance(told, dict):
                self._note(told)

    def _note(self, told: Mapping[str, Any]) -> None:
        for key in ("model", "modelVersion", "error"):
            if told.get(key):
                self._answer[key] = told[key]
        for key in ("usage", "usageMetadata"):
            if isinstance(told.get(key), dict):
                self._answer[key] = {**self._answer.get(key, {}), **told[key]}
