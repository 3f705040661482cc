"""Records as lines: JSON for programs, text for people."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry import trace

from theodore_otel.conventions import names
from theodore_otel.telemetry import redact

_LEVELS: Final = {logging.WARNING: "WARN"}
_COLOURS: Final = {5: "2", 10: "36", 20: "32", 30: "33", 40: "31", 50: "1;31"}
_SHOWN_APART: Final = frozenset(
    {names.COMPONENT, names.CATEGORY, names.EXCEPTION_TYPE, names.EXCEPTION_MESSAGE, names.EXCEPTION_STACKTRACE}
)
_PLAIN_FIELDS: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "color_message",  # uvicorn's own message once more, for terminals
}
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": "), default=str).encode


class JsonLines(logging.Formatter):
    """One JSON object a line. Its keys are those of the exported record; what always stands in it comes first."""

    def __init__(self, environment: str) -> None:
        """Remember what stands on every line."""
        super().__init__()
        self._environment = environment
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A record of a plain `logging` logger is masked here."""
        line: dict[str, Any] = {
            "timestamp": self._timestamp(record.created),
            "level": _LEVELS.get(record.levelno, record.levelname),
        }
        attributes = getattr(record, "theodore_attributes", None)
        if attributes is None:
            line["message"], attributes = _masked(record)
        else:
            line["message"] = record.msg
        line["logger"] = record.name
        line[names.ENVIRONMENT] = self._environment
        line.update(_span())
        for key, value in attributes.items():
            line[f"context.{key}" if key in line else key] = value
        try:
            return str(_encode(line))
        except (ValueError, TypeError):  # a number that JSON does not know
            return str(_encode({key: _known(value) for key, value in line.items()}))

    def _timestamp(self, moment: float) -> str:
        second = int(moment)
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int((moment - second) * 1e6):06d}Z"


class TextLines(logging.Formatter):
    """`TIME LEVEL COMPONENT MESSAGE KEY=VALUE ...`, a stack trace below it."""

    def __init__(self, coloured: Callable[[], bool]) -> None:
        """`coloured` is asked for each line: the stream may be exchanged."""
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A record of a plain `logging` logger is masked here."""
        attributes = getattr(record, "theodore_attributes", None)
        if attributes is None:
            message, attributes = _masked(record)
        else:
            message = record.msg
        level = f"{_LEVELS.get(record.levelno, record.levelname):8}"
        if self._coloured():
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        speaker = attributes.get(names.COMPONENT, record.name)
        pairs = "".join(
            f" {key}={_short(value)}" for key, value in {**attributes, **_span()}.items() if key not in _SHOWN_APART
        )
        line = f"{moment}.{int(record.created % 1 * 1000):03d} {level} {_visible(speaker)}: {_visible(message)}{pairs}"
        stack = attributes.get(names.EXCEPTION_STACKTRACE)
        return f"{line}\n{_visible(stack, kept=chr(10))}" if stack else line


def _masked(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return message and attributes of a plain record, masked."""
    attributes = {k: redact.attribute(k, v) for k, v in vars(record).items() if k not in _PLAIN_FIELDS}
    if record.exc_info and record.exc_info[1] is not None:
        from theodore_otel.telemetry.errors import describe

        attributes.update(describe(record.exc_info[1]))
    for key, value in _carried().items():
        attributes.setdefault(key, value)
    return redact.text(record.getMessage()), attributes


def _carried() -> Mapping[str, Any]:
    from opentelemetry.baggage import get_all

    from theodore_otel.instrument import context

    found = get_all() or get_all(context.root())
    return {key: redact.identity(str(value)) for key, value in found.items() if key in context.KEYS}


def _span() -> dict[str, str]:
    span = trace.get_current_span().get_span_context()
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"} if span.is_valid else {}


def _known(value: Any) -> Any:
    try:
        _encode(value)
    except (ValueError, TypeError):
        return str(value)
    return value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and _quotes(text) else text


def _quotes(text: str) -> bool:
    return not text or not text.isprintable() or any(character in text for character in ' "=')


def _visible(text: str, kept: str = "") -> str:
    """Return a text without characters that would move the cursor, or begin a line that nobody logged."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)
