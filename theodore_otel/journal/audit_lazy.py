"""What the start of a process needs of the audit journal: next to nothing until there is a record."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from theodore_otel import paths

if TYPE_CHECKING:
    from theodore_otel.instrument.sender import Sender
    from theodore_otel.instrument.settings import Settings
    from theodore_otel.journal.audit_delivery import Delivery


class LazyDelivery:
    """Stands in for `Delivery` at the end of the process; makes one when there is something to deliver."""

    signal = "audit"

    def __init__(self, settings: Settings, sender: Sender) -> None:
        """Remember where to send."""
        self.sender = sender
        self._settings = settings
        self._made: Delivery | None = None
        self._hurries = False
        self._making = threading.RLock()

    def begin(self) -> None:
        """Start delivering when a process left something behind."""
        opened = directory(self._settings.audit.get("dir")) / "open"
        if any(_filled(group) for group in _folders(opened)):
            self.get().begin()

    def get(self) -> Delivery:
        """Return what delivers."""
        if self._made is None:
            from theodore_otel.journal.audit_process import delivery

            with self._making:
                self._made = self._made or delivery(self._settings, self.sender)
            if self._hurries:
                self._made.hurry()
        return self._made

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self._making = threading.RLock()
        if self._made is not None:
            self._made.reset()

    def hurry(self) -> None:
        """Send soon from now on, in a process that may be killed at any moment."""
        self._hurries = True
        if self._made is not None:
            self._made.hurry()

    def pause(self) -> None:
        """End the thread, and start none until `resume`."""
        if self._made is not None:
            self._made.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._making = threading.RLock()
        if self._made is not None:
            self._made.resume()

    def close(self, deadline: float) -> None:
        """Begin the end: deliver what is left until `deadline` (monotonic seconds). Returns at once."""
        if self._made is not None:
            self._made.close(deadline)

    def join(self) -> None:
        """Wait until everything was tried or the deadline has passed."""
        if self._made is not None:
            self._made.join()

    def lost(self) -> tuple[int, str]:
        """Return how many records the collector has not taken, and why."""
        return self._made.lost() if self._made is not None else (0, "")

    def in_memory(self) -> int:
        """Return how many of them are lost with the process: no disk has them."""
        return self._made.in_memory() if self._made is not None else 0


current: LazyDelivery | None = None
"""What delivers in this process; None in one that reports nothing."""


def deliver(settings: Settings, sender: Sender) -> LazyDelivery:
    """Deliver audit records from now on; what earlier processes left under the same credential is delivered at once."""
    global current
    current = LazyDelivery(settings, sender)
    current.begin()
    return current


def directory(configured: str | None) -> Path:
    """Return the journal's folder: the configured one, or `audit` in the state folder."""
    return Path(configured).expanduser().absolute() if configured else paths.home() / "audit"


def _folders(parent: Path) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _filled(group: str) -> bool:
    try:
        with os.scandir(group) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _in_child() -> None:
    if current is not None:
        current.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
