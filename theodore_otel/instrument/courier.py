"""What is left on disk of telemetry that could not be delivered, and its delivery by a later process.

Delivery goes on in a thread of its own while the program works, in order, by one process at a time for each credential.
A request is deleted once the collector has taken it: one that is cut in flight is sent again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from theodore_otel.instrument.forks import importing
from theodore_otel.instrument.sender import Answer, Sender
from theodore_otel.instrument.threads import Thread
from theodore_otel.journal import spool as files
from theodore_otel.journal.spool import DamagedError, Entry, Item, Spool

if TYPE_CHECKING:
    from theodore_otel.instrument.settings import Settings

_REQUEST_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 60.0


@dataclass
class Report:
    """What came of delivering, in records by signal."""

    delivered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Deleted, because the collector will never take them."""
    old: Counter[str] = field(default_factory=Counter)
    """Metrics that were deleted, because backends refuse points of that age."""
    damaged: int = 0
    """Files that were set aside."""
    refusal: str = ""
    stopped: Answer | None = None
    """The answer after which nothing more was tried."""
    busy: bool = False
    """Whether another process delivers already."""


class Courier:
    """Keeps what this process cannot deliver, and delivers what earlier ones left under its credentials."""

    def __init__(self, spool: Spool, senders: Mapping[str, Sender]) -> None:
        """`senders` are of the courier's own, by signal; each connection is used by one thread."""
        self._spool = spool
        self._senders = senders
        self._thread: threading.Thread | None = None
        self.trouble: str = ""
        """Why something could not be kept or delivered."""
        self._reset()

    def keep(self, items: Sequence[Item]) -> int:
        """Write items to disk, all of one signal. Returns how many records could not be."""
        if not items:
            return 0
        with self._lock:
            sender = self._senders[items[0].signal]
            kept = self._spool.keep(files.identity(sender.url, sender.headers), items)
            self.kept += kept.counts
            self.evicted += kept.evicted
            self.trouble = kept.reason or self.trouble
            self._look_at = 0.0  # this process can deliver it itself, once the collector is back
            return sum(item.count for item in items) - kept.counts.total()

    def begin(self) -> None:
        """Deliver what is there in the background; costs one look at a folder when there is nothing."""
        self._look_at = time.monotonic() + _LOOK_AGAIN_SECONDS
        if self._thread is not None or self._closing or not self._spool.waiting():
            return
        thread = Thread("spool", self._work)
        with suppress(RuntimeError):  # the interpreter is ending
            self._thread = thread
            thread.start()

    def collector_answers(self) -> None:
        """Go on with what had to be left, or came since."""
        if self._thread is None and time.monotonic() >= self._look_at:
            self.begin()

    def close(self, deadline: float) -> None:
        """Stop after the request that is under way, for which `join` waits until the deadline (monotonic seconds)."""
        self._closing = True
        self._deadline = deadline

    def join(self) -> None:
        """Wait for what is under way."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(max(0.0, self._deadline - time.monotonic()))

    def forget(self) -> None:
        """Begin anew in a forked child: the parent's thread and its connections are not here."""
        for sender in self._senders.values():
            sender.forget()
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._thread = None
        self._closing = False
        self._deadline = 0.0
        self._look_at = 0.0
        self.kept: Counter[str] = Counter()
        self.evicted: Counter[str] = Counter()
        self.trouble = ""
        self.report = Report()

    def _work(self) -> None:
        try:
            if not self._any_of_ours():
                return
            with importing():
                next(iter(self._senders.values())).prepare()
            deliver(self._spool, self._senders, self.report, stop=lambda: self._closing)
        except Exception as error:  # noqa: BLE001 - a bug here must never reach the program
            self.trouble = f"{type(error).__name__}: {error}"
        finally:
            for sender in self._senders.values():
                sender.close()
            self._thread = None

    def _any_of_ours(self) -> bool:
        own = {files.identity(sender.url, sender.headers) for sender in self._senders.values()}
        return any(entry.credential in own and not entry.damaged for entry in self._spool.entries())


def courier(settings: Settings, senders: Mapping[str, Sender]) -> Courier | None:
    """Return what keeps and delivers as the settings say; None where the spool is switched off."""
    return Courier(spool(settings), senders) if settings.spool.get("enabled", True) and senders else None


def spool(settings: Settings) -> Spool:
    """Return the spool of the settings."""
    directory, size = settings.spool.get("dir"), settings.spool.get("size")
    return Spool(
        Path(directory).expanduser() if isinstance(directory, str) and directory else None,
        size if isinstance(size, int) else files.SIZE,
    )


def deliver(
    spool: Spool,
    senders: Mapping[str, Sender],
    report: Report,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Entry], None] = lambda _: None,
    timeout: float = _REQUEST_SECONDS,
) -> None:
    """Send what waits under the senders' credentials, oldest first, until nothing is left, `stop` says so, or the
    collector does not take it.
    """
    for credential in dict.fromkeys(files.identity(sender.url, sender.headers) for sender in senders.values()):
        entries = [each for each in spool.entries(credential) if not each.damaged]
        if not entries:
            continue
        claim = spool.claim(credential)
        if claim is None:
            report.busy = True
            continue
        with claim:
            for entry in entries:
                if stop() or not _handle(entry, senders.get(entry.signal), report, timeout):
                    break
                progress(entry)


def _handle(entry: Entry, sender: Sender | None, report: Report, timeout: float) -> bool:
    """Deliver or delete one entry. Returns whether to go on."""
    if files.too_old(entry):
        report.old[entry.signal] += entry.count if files.remove(entry) else 0
        return True
    try:
        body = files.read(entry)
    except FileNotFoundError:  # another process delivered it, or made room
        return True
    except (DamagedError, OSError):
        files.set_aside(entry)
        report.damaged += 1
        return True
    if sender is None:
        return True  # this process does not send the signal
    answer = sender.send(body, timeout)
    if not (answer.delivered or answer.permanent):
        report.stopped = answer
        return False
    if files.remove(entry):
        _note(entry, answer, report)
    return True


def _note(entry: Entry, answer: Answer, report: Report) -> None:
    if not answer.delivered:
        report.refused[entry.signal] += entry.count
        report.refusal = answer.reason
        return
    count, reason = 0, ""
    if answer.body:
        from theodore_otel.instrument.encode import rejected

        count, reason = rejected(entry.signal, answer.body)
    report.delivered[entry.signal] += max(0, entry.count - count)  # of metrics, points are refused
    if count:
        report.refused[entry.signal] += count
        report.refusal = reason
