"""A log record that carries its context: `logging`'s own class, so that every handler and formatter can take it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

_OWN: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime"}


class TelemetryRecord(logging.LogRecord):
    """A record whose `theodore_message` and `theodore_attributes` are masked already, and of types that OTLP knows.

    They are attributes of the record too, as `extra` makes them, unless one has the name of a field of its own.
    """

    __slots__ = ("theodore_always", "theodore_attributes", "theodore_message")

    def __init__(
        self, name: str, level: int, message: str, attributes: dict[str, Any], frame: FrameType, stack: str | None
    ) -> None:
        """`frame` is where the program logged; `stack` a stack trace that is safe to show."""
        code = frame.f_code
        super().__init__(name, level, code.co_filename, frame.f_lineno, message, None, None, code.co_name)
        self.theodore_always = False  # exported whatever the level
        self.theodore_attributes = attributes
        self.theodore_message = message
        self.exc_text = stack
        if _OWN.isdisjoint(attributes):
            self.__dict__.update(attributes)
        else:
            self.__dict__.update({k: v for k, v in attributes.items() if k not in _OWN})

    def getMessage(self) -> str:  # noqa: N802
        """Return the message; it has no arguments to be filled in."""
        return self.msg
