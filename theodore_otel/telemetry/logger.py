"""`TheodoreLogger`: records with context, masked where they are made, handed to Python's own `logging`.

The record goes to the logger `theodore.COMPONENT`, so that every handler, filter and test fixture of the program sees
it; it is exported by `theodore_otel.instrument.logs`, or by whatever handler another set-up of OpenTelemetry added.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.baggage import get_all

from theodore_otel.conventions import names
from theodore_otel.instrument import context as process
from theodore_otel.instrument import logs
from theodore_otel.instrument.logs import is_wanted
from theodore_otel.telemetry import redact, shown
from theodore_otel.telemetry.levels import TRACE, LogCategory
from theodore_otel.telemetry.record import TelemetryRecord
from theodore_otel.telemetry.thresholds import threshold

if TYPE_CHECKING:
    from types import FrameType

_DEBUG: Final = logging.DEBUG
_INFO: Final = logging.INFO
_WARN: Final = logging.WARNING
_ERROR: Final = logging.ERROR
_CRITICAL: Final = logging.CRITICAL
_KEYS: Final = {
    "tenant_id": names.TENANT_ID,
    "user_id": names.USER_ID,
    "correlation_id": names.CORRELATION_ID,
}
"""What these are called on a record."""
counts_business = True
"""Whether business metrics become metrics besides the log record."""

_SEVERITIES: Final = {"low": _INFO, "medium": _WARN, "high": _ERROR, "critical": _CRITICAL}


class TheodoreLogger:
    """Logs for one component. Immutable: what binds context returns another logger.

    `context` is anything: texts, numbers, lists, maps; other objects as their text. `tenant_id`, `user_id` and
    `correlation_id` say whose the record is; without them it is the current context's. No method ever raises because
    of what it is given; only a handler of the program's own can.
    """

    __slots__ = ("_bound", "_category", "_component", "_logger")

    def __init__(self, component: str, category: LogCategory = LogCategory.SYSTEM) -> None:
        """`component` is the part of Theodore that speaks, such as `scraper`."""
        self._component = str(component)
        self._category = category
        self._logger = logging.getLogger(shown.logger_name(self._component))
        if shown.active is not None:
            shown.active.adopt(self._logger)
        self._bound: dict[str, Any] = {names.COMPONENT: redact.text(self._component), names.CATEGORY: str(category)}

    @property
    def component(self) -> str:
        """The part of Theodore that speaks."""
        return self._component

    @property
    def category(self) -> LogCategory:
        """What its records are about."""
        return self._category

    def trace(self, message: str, **context: Any) -> None:
        """Tell every step, when looking for a fault."""
        if is_wanted(self._logger, TRACE):
            self._write(TRACE, message, context)

    def debug(self, message: str, **context: Any) -> None:
        """Tell what helps a developer."""
        if is_wanted(self._logger, _DEBUG):
            self._write(_DEBUG, message, context)

    def info(self, message: str, **context: Any) -> None:
        """Tell what happened."""
        if is_wanted(self._logger, _INFO):
            self._write(_INFO, message, context)

    def warn(self, message: str, **context: Any) -> None:
        """Tell what is not as it should be, and was coped with."""
        if is_wanted(self._logger, _WARN):
            self._write(_WARN, message, context)

    warning = warn

    def error(self, message: str, **context: Any) -> None:
        """Tell what failed. `error=exc` records type, text and stack trace of an exception."""
        if is_wanted(self._logger, _ERROR):
            self._write(_ERROR, message, context)

    def critical(self, message: str, **context: Any) -> None:
        """Tell what somebody has to act upon now: it is marked for an alert and sent without waiting for others."""
        self._write(_CRITICAL, message, context, {names.ALERT: True}, always=True)

    def audit(self, action: str, user_id: str | None = None, resource: str | None = None, **context: Any) -> str:
        """Record who did what to which resource, durably before this returns. Returns the record's `audit.id`.

        `outcome=` says how it ended, `success` by default.
        """
        from theodore_otel.telemetry.audit import audit

        own = (names.CATEGORY, names.USER_ID, "action", "resource")
        bound = {key: value for key, value in self._bound.items() if key not in own}
        user = user_id if user_id is not None else self._bound.get(names.USER_ID)
        what = resource if resource is not None else self._bound.get("resource")
        return audit(action, user_id=user, resource=what, **{**bound, **context})

    def security(self, event: str, severity: str = "medium", **context: Any) -> None:
        """Record a security event, whatever the level. `severity` is low, medium, high or critical; high and critical
        are marked as to be investigated, critical alerts at once. Any other text counts as high.
        """
        severity = severity.lower() if isinstance(severity, str) else ""
        severity = severity if severity in _SEVERITIES else "high"
        grave = severity in ("high", "critical")
        fields = {
            names.CATEGORY: str(LogCategory.SECURITY),
            names.SECURITY_SEVERITY: severity,
            names.INVESTIGATION_REQUIRED: grave,
        }
        if severity == "critical":
            fields[names.ALERT] = True
        self._write(_SEVERITIES[severity], event, context, fields, always=True)

    def performance(self, operation: str, duration_ms: float, **context: Any) -> None:
        """Record how long an operation took: WARN above its threshold, INFO below.

        The threshold is that of the type named in `operation` (30 s for ai, 60 s scraping, 5 s storage, 120 s
        research), or `threshold_ms=`.
        """
        operation, took = redact.plain(operation), redact.plain(duration_ms)
        limit = _threshold(operation, redact.plain(context.pop("threshold_ms", None)))
        slow = isinstance(took, int | float) and limit is not None and took > limit
        level = _WARN if slow else _INFO
        if not is_wanted(self._logger, level):
            return
        fields = {
            names.CATEGORY: str(LogCategory.PERFORMANCE),
            names.PERFORMANCE_OPERATION: operation,
            names.PERFORMANCE_DURATION: took,
        }
        if limit is not None:
            fields[names.PERFORMANCE_THRESHOLD] = limit
        above = f", more than {limit:g} ms" if slow else ""
        self._write(level, f"{operation} took {took} ms{above}", context, fields)

    def business_metric(self, metric_name: str, value: float, unit: str = "count", **context: Any) -> None:
        """Record a number that the business looks at: a log record, and in the collector the metric
        `theodore.business.value` with the labels `metric` and `unit`. Sent whatever the level.
        """
        name, number, unit = redact.plain(metric_name), redact.plain(value), redact.plain(unit)
        fields = {
            names.CATEGORY: str(LogCategory.BUSINESS),
            names.BUSINESS_METRIC: name,
            names.BUSINESS_UNIT: unit,
        }
        if counts_business and isinstance(number, int | float):
            fields[names.BUSINESS_VALUE] = float(number)
        self._write(_INFO, f"{name}: {number} {unit}", context, fields, always=True)

    def with_correlation_id(self, correlation_id: str) -> TheodoreLogger:
        """Return a logger whose records carry this correlation id."""
        return self.with_context(correlation_id=correlation_id)

    def with_context(self, **context: Any) -> TheodoreLogger:
        """Return a logger whose records carry this context besides."""
        bound: dict[str, Any] = {}
        _take(bound, context)
        bound = {**self._bound, **redact.record("", bound)[1]}
        other = object.__new__(type(self))
        other._component, other._category, other._logger = self._component, self._category, self._logger
        other._bound = bound
        return other

    def __repr__(self) -> str:
        """Tell component and category; never what is bound."""
        return f"{type(self).__name__}({self._component!r}, {self._category!s})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent to another process."""
        return _restored, (type(self), self._component, self._category, self._bound)

    def _write(
        self,
        level: int,
        message: str,
        context: dict[str, Any],
        fields: Mapping[str, Any] | None = None,
        *,
        always: bool = False,
    ) -> None:
        """Make the record and hand it on; `always` exports it whatever the level."""
        logger = self._logger
        record = self._record(level, message, context, fields, sys._getframe(2))
        record.theodore_always = always
        if logger.isEnabledFor(level):
            logger.handle(record)
        elif logs.active is not None and (always or logs.active.wanted(logger, level)):
            logs.active.emit(record)

    def _record(
        self, level: int, message: str, context: dict[str, Any], fields: Mapping[str, Any] | None, frame: FrameType
    ) -> TelemetryRecord:
        attributes = self._bound.copy()
        stack = None
        try:
            for key, value in (get_all() or get_all(process.root())).items():
                if key in process.KEYS and key not in attributes:
                    attributes[key] = redact.identity(str(value))
            fresh = dict(fields) if fields else {}
            if context:
                stack = _take(fresh, context)
            message, masked = redact.record(message, fresh)
            attributes.update(masked)
        except Exception as error:  # noqa: BLE001 - the program goes on, and nothing unmasked leaves it
            message = f"a record that cannot be shown ({type(error).__name__})"
        return TelemetryRecord(self._logger.name, level, message, attributes, frame, stack)


def _take(attributes: dict[str, Any], context: Mapping[str, Any]) -> str | None:
    """Add context to attributes, not masked yet; return the stack trace of an exception in it, which is."""
    stack = None
    for key, value in context.items():
        if key in ("error", "exc_info"):
            error = sys.exc_info()[1] if value is True else value
            if isinstance(error, BaseException):
                from theodore_otel.telemetry.errors import describe

                described = describe(error)
                stack = described[names.EXCEPTION_STACKTRACE]
                attributes.update(described)
                continue
            if key == "exc_info":
                continue
        attributes[_KEYS.get(key, key)] = redact.plain(value)
    return stack


def _threshold(operation: Any, given: Any) -> float | None:
    """Return the milliseconds above which an operation is slow."""
    if isinstance(given, int | float):
        return float(given)
    seconds = threshold(operation) if isinstance(operation, str) else None
    return seconds * 1000 if seconds is not None else None


def _restored(
    kind: type[TheodoreLogger], component: str, category: LogCategory, bound: dict[str, Any]
) -> TheodoreLogger:
    logger = kind(component, category)
    logger._bound = bound
    return logger
