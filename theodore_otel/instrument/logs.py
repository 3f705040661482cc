"""Export log records without touching what the program prints.

No handler is added anywhere: a handler on the root logger switches `lastResort` off, makes `basicConfig` do nothing,
and is removed by `force=True`; loggers that do not propagate never reach it. Instead three methods of
`logging.Logger` are wrapped:

- `isEnabledFor` also says yes for a record that is exported though the console would not show it, but only to
  `logging` itself (`info`, `log`, ...). An application that asks gets the true answer.
- `handle` ends such a record after it was exported: no filter and no handler sees it.
- `callHandlers` exports the records the program does show, after the logger's filters changed or dropped them.

What is left alone: `logging.disable` (an order to the whole program), and loggers of classes that override `_log` or
`handle` (their code would run for records that would not exist otherwise): they export what the console shows.
An argument's `__str__` runs once more than without us, for the exported text.
Messages of the sending side itself (`opentelemetry.*`) are never exported, or one failed delivery would cause another.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Mapping
from functools import update_wrapper
from threading import local
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument import service
from theodore_otel.instrument.scrub import OF_THEIR_OWN
from theodore_otel.instrument.settings import Settings
from theodore_otel.instrument.texts import described
from theodore_otel.instrument.tracebacks import HIDDEN

if TYPE_CHECKING:
    from types import FrameType

    from opentelemetry.sdk._logs import LoggerProvider

_LOGGING_FILE: Final = logging.Logger.info.__code__.co_filename
_ADAPTER_ASKS: Final = logging.LoggerAdapter.isEnabledFor.__code__
_LOG: Final = logging.Logger._log.__code__
_OWN: Final = ("opentelemetry", "theodore_otel")
# As upstream's handler has them, which knows no TRACE.
_SEVERITIES: Final = {
    5: ("TRACE", 1),
    logging.DEBUG: ("DEBUG", 5),
    logging.INFO: ("INFO", 9),
    logging.WARNING: ("WARN", 13),
    logging.ERROR: ("ERROR", 17),
    logging.CRITICAL: ("FATAL", 21),
}

active: LogExport | None = None
"""What exports this process's records, once it is installed."""

_REMEMBERED: Final = 2_000
"""Records of which is known that they were exported, twice; each takes 300 bytes."""

_busy = local()


class LogExport:
    """The wrapped methods, and what they need to know."""

    def __init__(self, provider: LoggerProvider, level_of: Callable[[str], int]) -> None:
        """Export to `provider` from the level that `level_of` gives for a logger's name."""
        self._provider = provider
        self._level_of = level_of
        self._levels: dict[str, int] = {}
        self._translator: Any = None
        self._exported: set[tuple[Any, ...]] = set()
        self._exported_before: set[tuple[Any, ...]] = set()
        self._loggers: dict[str, Any] = {}
        self._is_enabled_for = logging.Logger.isEnabledFor
        self._handle = logging.Logger.handle
        self._call_handlers = logging.Logger.callHandlers

    def install(self) -> None:
        """Wrap the three methods."""
        global active
        active = export = self
        is_enabled_for, handle, call_handlers = self._is_enabled_for, self._handle, self._call_handlers

        def isEnabledFor(self: logging.Logger, level: int) -> bool:  # noqa: N802
            if is_enabled_for(self, level):
                return True
            return export.wanted(self, level) and _asked_by_logging(sys._getframe(1))

        def wrapped_handle(self: logging.Logger, record: logging.LogRecord) -> Any:
            if not is_enabled_for(self, record.levelno) and _made_for_export(sys._getframe(1)):
                export.emit(record)
                return None
            with HIDDEN:
                return handle(self, record)

        def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802
            if record.levelno >= export.level(self.name) or getattr(record, "theodore_always", False):
                export.emit(record)
            with HIDDEN:
                call_handlers(self, record)

        for method, original in (
            (isEnabledFor, is_enabled_for),
            (wrapped_handle, handle),
            (callHandlers, call_handlers),
        ):
            setattr(logging.Logger, original.__name__, _as_of_logging(method, original))
        _forget_levels()

    def uninstall(self) -> None:
        """Put the original methods back."""
        global active
        active = None
        logging.Logger.isEnabledFor = self._is_enabled_for  # type: ignore[method-assign]
        logging.Logger.handle = self._handle  # type: ignore[method-assign]
        logging.Logger.callHandlers = self._call_handlers  # type: ignore[method-assign]
        _forget_levels()

    def follow_levels(self, level: int, components: Mapping[str, int]) -> None:
        """Export from other levels from now on."""
        self._level_of = Settings(log_level=level, log_components=components).export_level
        self._levels = {}
        _forget_levels()

    def level(self, name: str) -> int:
        """Return the export level of a logger; far above everything for our own side's loggers."""
        known = self._levels.get(name)
        if known is None:
            known = sys.maxsize if name.partition(".")[0] in _OWN else self._level_of(name)
            self._levels[name] = known
        return known

    def wanted(self, logger: logging.Logger, level: int) -> bool:
        """Say whether a record the console does not show is exported all the same."""
        if level < self.level(logger.name) or logger.manager.disable >= level:
            return False
        kind = type(logger)
        return kind._log is logging.Logger._log and kind.handle is logging.Logger.handle

    def emit(self, record: logging.LogRecord) -> None:
        """Translate and emit one record; whatever goes wrong here stays here."""
        if getattr(_busy, "now", False):
            return  # a __str__ of an argument that logs, or the SDK complaining about an attribute
        if getattr(_busy, "structlog", False) and _came_from_structlog(sys._getframe(2)):
            _busy.structlog = False
            return
        if service.is_left_out(record.name) or self._was_exported(record):
            return
        _busy.now = True
        try:
            attributes = getattr(record, "theodore_attributes", None)
            if attributes is not None and _is_ready(record, attributes):
                self._emit(record, attributes)
            else:
                self._translate(record)
        except Exception:  # noqa: BLE001, S110 - the program's own logging goes on
            pass
        finally:
            _busy.now = False

    def _was_exported(self, record: logging.LogRecord) -> bool:
        """Say whether a record was exported before: what a queue's listener hands to a logger is it, or a copy."""
        key = (record.created, record.relativeCreated, record.thread, record.process, record.lineno, record.levelno)
        if key in self._exported or key in self._exported_before:
            return True
        if len(self._exported) >= _REMEMBERED:
            self._exported_before, self._exported = self._exported, set()
        self._exported.add(key)
        return False

    def _translate(self, record: logging.LogRecord) -> None:
        try:
            self._load().emit(record)
        except Exception:  # noqa: BLE001 - its arguments do not fit, or have no text: logging tells the console
            bare = copy.copy(record)
            bare.msg, bare.args = described(record.msg), ()
            self._load().emit(bare)

    def _emit(self, record: logging.LogRecord, attributes: dict[str, Any]) -> None:
        """Emit a record whose attributes are fit for OTLP already: the SDK would copy and check each of them again."""
        from theodore_otel.instrument.processors import whole_record

        if record.name not in self._loggers:
            self._loggers[record.name] = self._provider.get_logger(record.name)
        logger = self._loggers[record.name]
        moment = int(record.created * 1e9)
        text, number = _SEVERITIES[record.levelno]
        whole = whole_record(logger, moment, text, number, record.msg, attributes)
        if whole is not None:
            logger._multi_log_record_processor.on_emit(whole)

    def _load(self) -> Any:
        # Imported with the first record: 30 ms that a command without a log line does not pay.
        if self._translator is None:
            from opentelemetry.instrumentation.logging.handler import LoggingHandler

            handler = LoggingHandler(logger_provider=self._provider)
            # It is no handler of the program: logging.shutdown and dictConfig flush every handler they know of.
            logging._removeHandlerRef(_reference(handler))  # type: ignore[attr-defined]
            self._translator = handler
        return self._translator


def _is_ready(record: Any, attributes: dict[str, Any]) -> bool:
    """Say whether a TelemetryRecord may go as it is: no filter changed it, and all of it is masked."""
    return record.msg is record.theodore_message and OF_THEIR_OWN.isdisjoint(attributes)


def is_wanted(logger: logging.Logger, level: int) -> bool:
    """Say whether a record is shown or exported. The answer is kept where `logging` keeps its own, and forgets it when
    a level changes.
    """
    cache: dict[int, bool] = logger._cache  # type: ignore[attr-defined]
    known = cache.get(-level)
    if known is None:
        with logging._lock:  # type: ignore[attr-defined]
            shown = level >= logger.getEffectiveLevel() and logger.manager.disable < level
            known = cache[-level] = shown or (active is not None and active.wanted(logger, level))
    return known


def _as_of_logging(method: Any, original: Any) -> Any:
    """Return a method whose frame is logging's own for whoever looks for the program's: `findCaller` and the call stack
    of "--- Logging error ---" skip frames of its file, structlog's call site those of its module.
    """
    code = method.__code__.replace(co_filename=_LOGGING_FILE, co_name=original.__name__)
    known = {**globals(), "__name__": logging.__name__}
    return update_wrapper(FunctionType(code, known, original.__name__, None, method.__closure__), original)


def _forget_levels() -> None:
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]


def _asked_by_logging(frame: FrameType) -> bool:
    if frame.f_code is _ADAPTER_ASKS and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename == _LOGGING_FILE


def _made_for_export(frame: FrameType) -> bool:
    """Say whether `handle` was called by `_log`, and that by a method that asked `isEnabledFor` before."""
    caller = frame.f_back
    return frame.f_code is _LOG and caller is not None and caller.f_code.co_filename == _LOGGING_FILE


def exported_by_structlog() -> None:
    """Note that structlog exports the event this thread is working on; its rendered line is not exported again."""
    _busy.structlog = True


def _came_from_structlog(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename == _LOGGING_FILE:
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "structlog"


def _reference(handler: logging.Handler) -> Any:
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        if reference() is handler:
            return reference
    return None
