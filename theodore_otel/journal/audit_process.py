"""The audit journal of this process: made with the first record, made anew in a forked child."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument import settings as settings_module
from theodore_otel.instrument.say import say
from theodore_otel.instrument.settings import Settings
from theodore_otel.journal import audit_keys, audit_lazy, places
from theodore_otel.journal.audit_keys import Key, Keys, UnusableKeyError
from theodore_otel.journal.audit_record import Record
from theodore_otel.journal.audit_trail import identity
from theodore_otel.journal.audit_writer import Files, Writer

if TYPE_CHECKING:
    from theodore_otel.instrument.sender import Sender
    from theodore_otel.journal.audit_delivery import Delivery

_DAY: Final = 86_400.0
KEEP_DAYS: Final = 30
"""How long delivered records are kept here when the configuration does not say."""

_lock = threading.RLock()
_journal: Journal | None = None
_told: set[str] = set()


class Journal:
    """Where this process writes, and with which keys."""

    def __init__(self, settings: Settings) -> None:
        """Read what is needed. Never raises: without a key or a folder records are in memory only, which is told."""
        self.settings = settings
        self._folder = audit_lazy.directory(settings.audit.get("dir"))
        self._credential = identity(settings.headers.get("logs", {}))
        self.keys = self._load_keys()
        self.pseudonymises = bool(settings.audit.get("pseudonymise_actor"))
        self.writer = Writer(self.keys, self._open, self._failed)
        self.process = process(settings)
        self._ends = False

    def append(self, **fields: str | None) -> Record:
        """Write one record; returns when the disk has it, or cannot have it."""
        try:
            return self.writer.append(**fields)
        finally:
            if self.writer.in_memory() and audit_lazy.current is None:
                with _lock:
                    if audit_lazy.current is None and not self._ends:
                        self._ends = True
                        _deliver_all_the_same(self)
            if audit_lazy.current is not None:
                audit_lazy.current.get().follow(self.writer, self.process)

    def _open(self, first: Record) -> Files:
        folder = places.folder(self._folder.name, self._folder.parent)
        return Files(folder, self._credential, first, self.process, self.keys)

    def _load_keys(self) -> Keys:
        try:
            self._folder = places.folder(self._folder.name, self._folder.parent)
        except OSError as error:
            self._failed(error)
        try:
            return audit_keys.load(self._folder, self.settings.audit.get("key"))
        except (OSError, UnusableKeyError) as error:
            tell(
                "key", f"the audit key cannot be used: {_why(error)}; records are signed with the key in {self._folder}"
            )
        try:
            return Keys(audit_keys.generated(self._folder))
        except (OSError, UnusableKeyError) as error:
            self._failed(error)
            # Nobody can check these records; better that than none.
            return Keys(os.urandom(32).hex())

    def _failed(self, error: Exception) -> None:
        tell(
            "disk",
            f"AUDIT RECORDS ARE NOT WRITTEN TO DISK in {self._folder}: {_why(error)}; "
            "they are delivered from memory and lost if this process ends before the collector takes them",
        )


def journal() -> Journal:
    """Return this process's journal."""
    global _journal
    with _lock:
        if _journal is None:
            _journal = Journal(settings_module.current or settings_module.load()[0])
        return _journal


def delivery(settings: Settings, sender: Sender) -> Delivery:
    """Return what delivers the records of these settings' journal; it does not run yet."""
    from theodore_otel.journal.audit_delivery import Delivery

    keep = float(settings.audit.get("keep", KEEP_DAYS * _DAY))
    credential = identity(settings.headers.get("logs", {}))
    folder = audit_lazy.directory(settings.audit.get("dir"))

    def keys() -> list[Key]:
        own = _journal.keys.all() if _journal is not None else []
        return list(dict.fromkeys([*own, *audit_keys.known(folder, settings.audit.get("key"))]))

    def trouble(message: str) -> None:
        tell("left", f"AUDIT RECORDS OF EARLIER RUNS ARE NOT DELIVERED: {message}; see `theodore-otel audit status`")

    return Delivery(folder, credential, sender, keep, keys, trouble)


def process(settings: Settings) -> dict[str, Any]:
    """Return what every record says of this process."""
    from theodore_otel.conventions import names

    node = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return {
        names.SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or settings.service_name,
        names.SERVICE_VERSION: settings.service_version,
        names.ENVIRONMENT: settings.environment,
        "host.name": node,
        "process.pid": os.getpid(),
    }


def _deliver_all_the_same(own: Journal) -> None:
    """Deliver in a process that reports nothing otherwise: what is in memory only would be lost with it.

    Where telemetry is switched off, only say at the end what is lost.
    """
    import atexit
    import time

    from theodore_otel.instrument.sender import sender_of

    lazy = None
    if not settings_module.disabled():
        lazy = audit_lazy.current = audit_lazy.LazyDelivery(own.settings, sender_of(own.settings, "logs"))

    process_id = os.getpid()

    def end() -> None:
        if os.getpid() != process_id:  # a forked child has a journal of its own
            return
        if lazy is not None:
            lazy.close(time.monotonic() + own.settings.exit_budget)
            lazy.join()
        own.writer.retry()
        if count := own.writer.in_memory() + own.writer.lost():
            reason = lazy.lost()[1] if lazy is not None else "telemetry is switched off"
            say(f"AUDIT RECORDS ARE LOST: {count} neither written to disk nor delivered ({reason})")

    atexit.register(end)


def tell(subject: str, message: str) -> None:
    """Say something of a subject once."""
    if subject not in _told:
        _told.add(subject)
        say(message)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _in_child() -> None:
    global _journal, _lock
    _lock = threading.RLock()
    if _journal is not None:
        _journal.writer.abandon()
        _journal = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
