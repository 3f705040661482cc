"""Delivers journals through the collector's audit pipeline: this process's own, and what earlier ones left behind.

What the collector has taken is remembered for each writer. Between its answer and that note a process may be killed;
the records are then sent once more, with the same audit.id.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from theodore_otel.instrument.sender import Answer, Sender
from theodore_otel.journal import audit_register, places
from theodore_otel.journal.audit_record import Record, record
from theodore_otel.journal.audit_trail import HEAD, KEPT, OPEN, Position, Trail, keep, parse, trails
from theodore_otel.journal.audit_writer import Writer

_BATCH: Final = 512
_BATCH_BYTES: Final = 1_000_000
_REQUEST_SECONDS: Final = 10.0
_DELAY: Final = 1.0
_HURRY: Final = 0.1
_LAST_PAUSE: Final = 30.0
_DAY: Final = 86_400.0


@dataclass
class Outcome:
    """What came of delivering."""

    delivered: int = 0
    waiting: int = 0
    """Records that are in the journal and could not be delivered."""
    reason: str = ""


def deliver(trail: Trail, sender: Sender, deadline: float, outcome: Outcome) -> bool:
    """Send what a trail holds and the collector has not taken, until `deadline` (monotonic seconds).

    Returns whether nothing is left. Raises OSError where the trail cannot be read.
    """
    from theodore_otel.journal.audit_otlp import request

    process = trail.resource()
    for records, position in batches(trail, trail.sent()):
        left = min(_REQUEST_SECONDS, deadline - time.monotonic())
        answer = sender.send(request(process, records), left) if left > 0 else Answer(False, "no answer in time")
        if not answer.delivered:
            outcome.waiting += max(len(records), trail.waiting())
            outcome.reason = answer.reason
            return False
        outcome.delivered += len(records)
        outcome.reason = _rejected(answer) or outcome.reason
        trail.note_sent(position)
    return True


def batches(trail: Trail, start: Position) -> Iterator[tuple[list[Record], Position]]:
    """Give the records from a position on, some at a time, with the position behind them."""
    records: list[Record] = []
    size, position = 0, start
    for line, behind in trail.lines(start):
        fields = parse(line)
        size += len(line)
        # A line that is no record, such as a segment's first, is not sent; `audit verify` tells of a damaged one.
        with contextlib.suppress(ValueError):
            records.append(record(fields))
        position = replace(behind, sequence=records[-1].sequence if records else position.sequence)
        if len(records) >= _BATCH or size >= _BATCH_BYTES:
            yield records, position
            records, size = [], 0
    if records:
        yield records, position


def deliver_left(folder: Path, credential: str, sender: Sender, deadline: float) -> Outcome:
    """Deliver what processes that are gone left behind under a credential."""
    outcome = Outcome()
    for trail in trails(folder, credential, (OPEN,)):
        claimed = places.claim(trail.path / HEAD)
        if claimed is None:
            continue  # its writer lives, or somebody else delivers it
        with claimed:
            if deliver(trail, sender, deadline, outcome):
                keep(trail, folder)
    return outcome


def remove_old(folder: Path, seconds: float) -> int:
    """Remove delivered trails that were written longer ago than that. Returns how many. Raises OSError."""
    old = []
    for trail in trails(folder, states=(KEPT,)):
        newest = max((path.stat().st_mtime for _, path in trail.segments()), default=0.0)
        if newest < time.time() - seconds:
            old.append(trail)
    if old:
        audit_register.remove(folder, {trail.writer for trail in old})
    for trail in old:
        for path in trail.path.iterdir():
            path.unlink(missing_ok=True)
        trail.path.rmdir()
    return len(old)


class Delivery:
    """Delivers in a thread of its own, which starts when there is something to deliver.

    It has the methods of a `Pipeline` that the end of the process calls.
    """

    signal = "audit"

    def __init__(self, folder: Path, credential: str, sender: Sender, keep_seconds: float) -> None:
        """Remember where to read and where to send; nothing is read yet."""
        self.sender = sender
        self._folder = folder
        self._credential = credential
        self._keep_seconds = keep_seconds
        self._delay = _DELAY
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._writer: Writer | None = None
        self._unsent: list[Record] = []
        self._process: Mapping[str, Any] = {}
        self._closing = False
        self._paused = False
        self._deadline = 0.0
        self._retry_at = 0.0
        self._pause = _DELAY
        self._last = Outcome()
        self._left_behind = True
        self.sender.forget()

    def follow(self, writer: Writer, process: Mapping[str, Any]) -> None:
        """Deliver what a writer of this process writes from now on; called for each record, so it is cheap."""
        if self._writer is not writer:
            self._writer, self._process = writer, process
        if self._thread is None:
            self.start()

    def begin(self) -> None:
        """Start when an earlier process left something behind; what is delivered is only put away."""
        open_trails = trails(self._folder, self._credential, (OPEN,))
        left = [trail for trail in open_trails if not _put_away(trail, self._folder)]
        if left:
            self.start()

    def start(self) -> None:
        """Start the thread; where that is impossible, the end of the process delivers."""
        with self._starting:
            if self._thread is None and not (self._closing or self._paused):
                thread = threading.Thread(target=self._work, name="theodore-otel-audit", daemon=True)
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def hurry(self) -> None:
        """Send soon from now on, in a process that may be killed at any moment."""
        self._delay = _HURRY

    def pause(self) -> None:
        """End the thread, and start none until `resume`: gevent is about to change what a thread is."""
        self._paused = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_DELAY)

    def resume(self) -> None:
        """Go on after `pause`, with a thread and locks of the kind that `threading` makes now."""
        ran, self._thread, self._paused = self._thread is not None, None, False
        self._starting, self._wake = threading.Lock(), threading.Event()
        if ran:
            self.start()

    def close(self, deadline: float) -> None:
        """Begin the end: deliver what is left until `deadline` (monotonic seconds). Returns at once."""
        self._deadline = deadline
        self._closing = True
        self._wake.set()

    def join(self) -> None:
        """Wait until everything was tried or the deadline has passed."""
        if self._thread is not None:
            self._thread.join(max(0.0, self._deadline - time.monotonic()))
        elif self._writer is not None:
            self._round()

    def flush(self, timeout: float) -> bool:
        """Deliver what is written until now; returns whether that is done in time."""
        deadline = time.monotonic() + timeout
        while self._thread is not None and time.monotonic() < deadline and not self._is_done():
            self._retry_at = 0.0
            self._wake.set()
            time.sleep(0.01)
        return self._is_done()

    def undelivered(self) -> list[Any]:
        """Return nothing: what is not delivered is in the journal."""
        return []

    def lost(self) -> tuple[int, str]:
        """Return how many records the collector has not taken, whether they are in the journal or not, and why."""
        count = self.in_memory() + sum(trail.waiting() for trail in self._trails())
        return count, self._last.reason or "no answer in time"

    def in_memory(self) -> int:
        """Return how many records no disk has and the collector has not taken."""
        return len(self._unsent) + (len(self._writer.unwritten) if self._writer else 0)

    def _is_done(self) -> bool:
        return not self.in_memory() and all(next(self._left(trail), None) is None for trail in self._trails())

    def _trails(self) -> list[Trail]:
        return self._writer.trails() if self._writer else []

    def _left(self, trail: Trail) -> Iterator[tuple[list[Record], Position]]:
        return batches(trail, trail.sent())

    def _work(self) -> None:
        from theodore_otel.instrument.forks import importing

        with contextlib.suppress(Exception), importing():
            import_module("theodore_otel.journal.audit_otlp")
            self.sender.prepare()
        while not self._closing and not self._paused:
            self._round()
            self._wake.wait(self._delay)
            self._wake.clear()
        self._round()
        self.sender.close()

    def _round(self) -> None:
        if time.monotonic() < self._retry_at and not self._closing:
            return
        deadline = self._deadline if self._closing else time.monotonic() + 3600
        outcome = Outcome()
        try:
            if self._writer is not None:
                for trail in self._trails():
                    deliver(trail, self.sender, deadline, outcome)
                self._send_unwritten(deadline, outcome)
            if self._left_behind and not outcome.waiting:
                left = deliver_left(self._folder, self._credential, self.sender, deadline)
                outcome.waiting, outcome.reason = left.waiting, outcome.reason or left.reason
                self._left_behind = bool(left.waiting)
                self._remove_old()
        except Exception as error:  # noqa: BLE001 - a bug here must not end the thread, and never the program
            outcome.reason = f"{type(error).__name__}: {error}"
        self._last = outcome
        self._pause = min(_LAST_PAUSE, self._pause * 2) if outcome.waiting else _DELAY
        self._retry_at = time.monotonic() + self._pause if outcome.waiting else 0.0

    def _send_unwritten(self, deadline: float, outcome: Outcome) -> None:
        from theodore_otel.journal.audit_otlp import request

        while self._writer is not None and (self._unsent or self._writer.unwritten):
            self._unsent = self._unsent or self._writer.take_unwritten()
            left = min(_REQUEST_SECONDS, deadline - time.monotonic())
            answer = self.sender.send(request(self._process, self._unsent), left) if left > 0 else Answer(False)
            if not answer.delivered:
                outcome.waiting += len(self._unsent)
                outcome.reason = answer.reason or outcome.reason
                return
            self._unsent = []

    def _remove_old(self) -> None:
        stamp = self._folder / ".removed"
        if not self._folder.is_dir() or (stamp.exists() and stamp.stat().st_mtime > time.time() - _DAY):
            return
        stamp.touch(mode=0o600)
        remove_old(self._folder, self._keep_seconds)
        if self._writer is not None:
            for trail in self._trails()[:1]:
                self._writer.trim(trail.sent(), self._keep_seconds)


def _put_away(trail: Trail, folder: Path) -> bool:
    """Keep a trail of which nothing is left to deliver. Returns False where something may be."""
    if next(batches(trail, trail.sent()), None) is not None:
        return trail.lives()
    claimed = places.claim(trail.path / HEAD)
    if claimed is not None:
        with claimed:
            if next(batches(trail, trail.sent()), None) is None:
                keep(trail, folder)
    return True


def _rejected(answer: Answer) -> str:
    if not answer.body:
        return ""
    from theodore_otel.instrument.encode import rejected

    count, reason = rejected("logs", answer.body)
    return f"{count} refused by the collector: {reason}" if count else ""
