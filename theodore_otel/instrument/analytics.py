"""User analytics: one log record of category user_activity for each command and request, made when its span ends.

It says what was used (command or route, and the feature it belongs to), whether it worked, and who used it: a keyed
hash of the user. Without a key the user is left out. Who runs a command, when nobody said so, is the account that it
runs under.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from theodore_otel.conventions import names
from theodore_otel.instrument.say import say

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

SHORTEST_KEY: Final = 16
_CARRIED: Final = (names.TENANT_ID, names.CORRELATION_ID, names.COMPONENT)
_DIGITS: Final = 24


def wanted(settings: Mapping[str, Any]) -> bool:
    """Say whether the settings ask for any record."""
    return bool(settings.get("commands") or settings.get("requests"))


class ActivityProcessor(SpanProcessor):
    """Writes the record of an entry span as it ends."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        provider: LoggerProvider | None = None,
        report: Callable[[str], None] = say,
    ) -> None:
        """`settings` are those of `instrument.analytics`; `report` is told once of a key that cannot be used."""
        self._settings = settings
        self._provider = provider
        self._report = report

    def on_end(self, span: ReadableSpan) -> None:
        """Write the record, if this span is a command or a request; whatever goes wrong stays here."""
        with suppress(Exception):
            attributes = dict(span.attributes or {})
            used = self._use(span, attributes)
            if used is not None:
                self._emit(span, attributes, used)

    def _use(self, span: ReadableSpan, attributes: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what was used, None for a span that is no wanted command or request."""
        if attributes.get(names.OPERATION_TYPE) == "command":
            if not self._settings.get("commands"):
                return None
            command = attributes.get(names.COMMAND, "command")
            succeeded = attributes.get(names.SUCCESS, True)
            return {names.COMMAND: command, names.FEATURE: self._feature(command), names.SUCCESS: succeeded}
        route = attributes.get(names.HTTP_ROUTE)
        if span.kind is not SpanKind.SERVER or not route or not self._settings.get("requests"):
            return None
        kept = {name: attributes[name] for name in (names.HTTP_METHOD, names.HTTP_STATUS) if name in attributes}
        succeeded = attributes.get(names.SUCCESS, True) and span.status.status_code is not StatusCode.ERROR
        succeeded = succeeded and int(kept.get(names.HTTP_STATUS, 0)) < 400
        return {names.HTTP_ROUTE: route, names.FEATURE: self._feature(route), names.SUCCESS: succeeded, **kept}

    def _feature(self, used: str) -> str:
        for feature, patterns in (self._settings.get("features") or {}).items():
            if any(fnmatchcase(used, pattern) for pattern in patterns):
                return str(feature)
        return used

    def _emit(self, span: ReadableSpan, attributes: Mapping[str, Any], used: dict[str, Any]) -> None:
        from opentelemetry._logs import SeverityNumber, get_logger

        user = self._pseudonym(attributes)
        what = used.get(names.COMMAND) or f"{used.get(names.HTTP_METHOD, '')} {used.get(names.HTTP_ROUTE)}".strip()
        inside = _context(span, attributes)
        token = contexts.attach(inside)
        try:
            get_logger("theodore_otel.analytics", logger_provider=self._provider).emit(
                timestamp=span.end_time,
                context=inside,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=f"{what} {'succeeded' if used[names.SUCCESS] else 'failed'}",
                attributes={names.CATEGORY: "user_activity", **used, **({names.USER_HASH: user} if user else {})},
            )
        finally:
            contexts.detach(token)

    def _pseudonym(self, attributes: Mapping[str, Any]) -> str | None:
        """Return the keyed hash of a tenant's user: the same person is another in each tenant."""
        user = attributes.get(names.USER_ID)
        if not user and names.COMMAND in attributes:
            user = _account()
        if not user or self._key is None:
            return None
        text = f"{attributes.get(names.TENANT_ID, '')}\0{user}".encode("utf-8", "replace")
        return hmac.new(self._key, b"user\0" + text, "sha256").hexdigest()[:_DIGITS]

    @cached_property
    def _key(self) -> bytes | None:
        reference = self._settings.get("key")
        if not reference:
            return None
        try:
            key = _read(reference)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._report(f"cannot use instrument.analytics.key: {reason}; users are left out of user_activity")
            return None
        return key


def _read(reference: Mapping[str, str]) -> bytes:
    """Return a key from a variable or a file. Raises OSError or ValueError, never with the key in it."""
    if "env" in reference:
        where, text = reference["env"], os.environ.get(reference["env"], "").strip()
    else:
        where, text = reference["file"], Path(reference["file"]).read_text(encoding="utf-8").strip()
    if len(text) < SHORTEST_KEY:
        raise ValueError(f"expected at least {SHORTEST_KEY} characters in {where}, got {len(text)}")
    return text.encode()


def _account() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def _context(span: ReadableSpan, attributes: Mapping[str, Any]) -> Context:
    """Return the span's context with the baggage that its record may carry, which is not the user.

    One entry is always there: where there is none, a record takes the baggage of the process.
    """
    inside = baggage.set_baggage("theodore.activity", "1", Context())
    for name in _CARRIED:
        if name in attributes:
            inside = baggage.set_baggage(name, attributes[name], inside)
    if span.context is None:
        return inside
    return trace.set_span_in_context(trace.NonRecordingSpan(span.context), inside)
