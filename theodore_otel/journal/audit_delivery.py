"""Delivers journals through the collector's audit pipeline: this process's own, and what earlier ones left behind.

What the collector has taken is remembered for each writer. Between its answer and that note a process may be killed;
the records are then sent once more, with the same audit.id. Records that the collector will never take, and lines that
are not what was written, are passed by: they stay where they are, counted, and hold nothing else up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from theodore_otel.instrument.sender import Answer, Sender
from theodore_otel.instrument.threads import Thread
from theodore_otel.journal import audit_register, places
from theodore_otel.journal.audit_keys import Key, Keyring
from theodore_otel.journal.audit_record import Record, record
from theodore_otel.journal.audit_trail import HEAD, KEPT, OPEN, Position, Trail, UnfitError, keep, parse, trails
from theodore_otel.journal.audit_writer import Writer

_BATCH: Final = 512
_BATCH_BYTES: Final = 1_000_000
_MOST_REFUSED: Final = 1000
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
    """Records that are in the journal and could not be delivered yet."""
    refused: int = 0
    """Records that the collector will never take, or that are not what was written; they stay in the journal."""
    reason: str = ""
    troubles: list[str] = field(default_factory=list)
    """Journals that could not be delivered for a reason of their own, and the reasons."""
    stopped: bool = False
    """Whether nothing more can be delivered for now."""

    def trouble(self, trail: Trail, error: Exception) -> None:
        """Note why one journal could not be delivered."""
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self.troubles.append(f"{trail.waiting()} of writer {trail.writer[:32]}: {reason.lower()}")


@dataclass
class Batch:
    """Some records that follow each other in a trail, each with the place behind it."""

    records: list[tuple[Record, Position]]
    unfit: list[int]
    """The numbers of records between them that are not what was written."""
    behind: Position


class _StoppedError(Exception):
    """The collector takes nothing for now."""


class _Shipment:
    """Sends the records of one trail and notes how far it came."""

    def __init__(self, process: Mapping[str, Any], sender: Sender, deadline: float, outcome: Outcome) -> None:
        self._process = process
        self._sender = sender
        self._deadline = deadline
        self._outcome = outcome

    def send(self, records: Sequence[Record], passed: Callable[[Sequence[Record], bool], None]) -> None:
        """Send records; those that are refused for good are looked for by halves, so that they hold up no others.

        `passed` is told of records that were taken, and of each that never will be. Raises _StoppedError.
        """
        answer = self._try(records)
        if answer.delivered:
            self._outcome.delivered += len(records)
            self._count_rejected(answer)
            passed(records, False)
        elif answer.permanent and len(records) > 1:
            half = len(records) // 2
            self.send(records[:half], passed)
            self.send(records[half:], passed)
        elif answer.permanent and self._try(()).delivered:  # the collector is there, and this record is what it refuses
            self._outcome.refused += 1
            self._outcome.reason = answer.reason
            passed(records, True)
        else:
            self._outcome.reason = answer.reason
            raise _StoppedError

    def _try(self, records: Sequence[Record]) -> Answer:
        from theodore_otel.journal.audit_otlp import request

        left = min(_REQUEST_SECONDS, self._deadline - time.monotonic())
        if left <= 0:
            return Answer(False, "no answer in time")
        return self._sender.send(request(self._process, records), left)

    def _count_rejected(self, answer: Answer) -> None:
        if answer.body:
            from theodore_otel.instrument.encode import rejected

            count, reason = rejected("logs", answer.body)
            if count:
                self._outcome.delivered -= count
                self._outcome.refused += count
                self._outcome.reason = f"refused by the collector: {reason}"


def deliver(
    trail: Trail, sender: Sender, deadline: float, outcome: Outcome, keys: Sequence[Key], taken: set[str] | None = None
) -> bool:
    """Send what a trail holds and the collector has not taken, until `deadline` (monotonic seconds).

    `keys`: the first one signs what is noted. `taken`: ids of records that were delivered already; those are added
    whose delivery cannot be noted on a full disk. Returns whether nothing is left, not even what was refused. Raises
    OSError where the trail cannot be read or noted in.
    """
    keyring = Keyring(keys)
    shipment = _Shipment(trail.resource(), sender, deadline, outcome)
    at = trail.sent(keyring)
    taken = set() if taken is None else taken
    unnoted = False

    def passed(records: Sequence[Record], refused: bool) -> None:
        nonlocal at, unnoted
        more = (records[0].sequence,) if refused else ()
        at = replace(behind[records[-1].sequence], refused=(*at.refused, *more))
        try:
            trail.note_sent(at, keys[0])
            unnoted = False
        except OSError:
            unnoted = True
            taken.update(each.id for each in records)

    for batch in batches(trail, at, keyring):
        unfit = [number for number in batch.unfit if number not in at.refused]
        if len(at.refused) + len(unfit) >= _MOST_REFUSED:
            outcome.reason = f"more than {_MOST_REFUSED} records are refused"
            outcome.waiting += trail.waiting()
            return False
        outcome.refused += len(unfit)
        at = replace(at, refused=(*at.refused, *unfit))
        behind = {each.sequence: place for each, place in batch.records}
        fresh = [each for each, _ in batch.records if each.id not in taken]
        try:
            if fresh:
                shipment.send(fresh, passed)
        except _StoppedError:
            outcome.stopped = True
            outcome.waiting += max(1, trail.waiting() - len(at.refused))
            return False
        at = replace(batch.behind, refused=at.refused)
        unnoted = unnoted or not fresh or bool(unfit)
    if unnoted:
        trail.note_sent(at, keys[0])
    return not at.refused


def deliver_refused(trail: Trail, sender: Sender, deadline: float, outcome: Outcome, keys: Sequence[Key]) -> bool:
    """Send once more what was refused. Returns whether nothing is left. Raises OSError."""
    keyring = Keyring(keys)
    counted = Outcome()
    shipment = _Shipment(trail.resource(), sender, deadline, counted)
    at = trail.sent(keyring)
    wanted = set(at.refused)

    def passed(records: Sequence[Record], refused: bool) -> None:
        if not refused:
            wanted.difference_update(each.sequence for each in records)

    try:
        for batch in batches(trail, Position(), keyring) if wanted else ():
            again = [each for each, _ in batch.records if each.sequence in wanted]
            if again:
                shipment.send(again, passed)
    except _StoppedError:
        outcome.stopped = True
    outcome.delivered += counted.delivered
    outcome.reason = counted.reason or outcome.reason
    if len(wanted) < len(at.refused):
        trail.note_sent(replace(at, refused=tuple(sorted(wanted))), keys[0])
    return not wanted


def batches(trail: Trail, start: Position, keys: Keyring) -> Iterator[Batch]:
    """Yield the records from a position on, some at a time. Raises OSError.

    A line that is no record is passed by, `audit verify` tells of it; so is what is not as it was written.
    """
    records: list[tuple[Record, Position]] = []
    unfit: list[int] = []
    size, behind = 0, replace(start, refused=())
    for line in trail.lines(start):
        if not line.whole:
            break  # is being written, or its writer was killed
        behind = replace(line.behind, sequence=behind.sequence)
        size += len(line.text)
        with contextlib.suppress(ValueError):
            made = record(parse(line.text))
            if made.writer == trail.writer and keys.judge(made) is None:
                behind = replace(behind, sequence=max(behind.sequence, made.sequence))
                records.append((made, behind))
            else:
                unfit.append(made.sequence)
        if len(records) + len(unfit) >= _BATCH or size >= _BATCH_BYTES:
            yield Batch(records, unfit, behind)
            records, unfit, size = [], [], 0
    if records or unfit:
        yield Batch(records, unfit, behind)


def deliver_left(
    folder: Path, credential: str, sender: Sender, deadline: float, keys: Sequence[Key], *, again: bool = False
) -> Outcome:
    """Deliver what processes that are gone left behind under a credential; with `again`, also what was refused before
    and what lies among the delivered journals and is not delivered. What is wrong with one journal stops no other.
    """
    outcome = Outcome()
    keyring = Keyring(keys)
    for trail in trails(folder, credential, (OPEN, KEPT) if again else (OPEN,)):
        try:
            if trail.path.parent.parent.name == KEPT and trail.is_delivered(keyring):
                continue
            claimed = places.claim(trail.path / HEAD)
            if claimed is None:
                continue  # its writer lives, or somebody else delivers it
            with claimed:
                _deliver_one(trail, folder, sender, deadline, keys, outcome, again)
        except (OSError, ValueError) as error:
            outcome.waiting += trail.waiting()
            outcome.trouble(trail, error)
    return outcome


def _deliver_one(
    trail: Trail, folder: Path, sender: Sender, deadline: float, keys: Sequence[Key], outcome: Outcome, again: bool
) -> None:
    if next(trail.lines(Position()), None) is None and not trail.waiting():
        return  # its writer was killed before it wrote anything
    trail.check(Keyring(keys))
    if outcome.stopped:
        outcome.waiting += trail.waiting()
        return
    done = deliver(trail, sender, deadline, outcome, keys)
    if again and not done and not outcome.stopped:
        done = deliver_refused(trail, sender, deadline, outcome, keys)
    if done:
        keep(trail, folder)


def remove_old(folder: Path, seconds: float, keys: Sequence[Key]) -> int:
    """Remove delivered trails whose newest record is older than that. Returns how many. Raises OSError.

    What is not delivered, or cannot be verified, is never removed.
    """
    keyring = Keyring(keys)
    before = time.time() - seconds
    old = []
    for trail in trails(folder, states=(KEPT,)):
        with contextlib.suppress(OSError, UnfitError):
            if max((path.stat().st_mtime for _, path in trail.segments()), default=before) >= before:
                continue
            trail.check(keyring)
            if trail.is_delivered(keyring) and _newest(trail, keyring) < before:
                old.append(trail)
    if not old or not audit_register.remove(folder, {trail.writer for trail in old}, keys):
        return 0
    for trail in old:
        for path in trail.path.iterdir():
            path.unlink(missing_ok=True)
        trail.path.rmdir()
    return len(old)


def _newest(trail: Trail, keys: Keyring) -> float:
    """Return when its newest record was made, in seconds since 1970, by the record and not by the file's times."""
    number, path = trail.segments()[-1]
    newest = path.stat().st_mtime
    for batch in batches(trail, Position(number), keys):
        for made, _ in batch.records:
            newest = datetime.fromisoformat(made.time).timestamp()
    return newest


class Delivery:
    """Delivers in a thread of its own, which starts when there is something to deliver.

    It has the methods of a `Pipeline` that the end of the process calls.
    """

    signal = "audit"

    def __init__(
        self,
        folder: Path,
        credential: str,
        sender: Sender,
        keep_seconds: float,
        keys: Callable[[], Sequence[Key]],
        trouble: Callable[[str], None],
    ) -> None:
        """Remember where to read and where to send; nothing is read yet. `trouble` is told what is not delivered of
        earlier processes for a reason that somebody has to look at.
        """
        self.sender = sender
        self._load_keys = keys
        self._told_trouble = trouble
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
        self._taken: set[str] = set()
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
        keyring = Keyring(self._load_keys())
        left, unfit = False, Outcome()
        for trail in trails(self._folder, self._credential, (OPEN,)):
            try:
                left = not _put_away(trail, self._folder, keyring) or left
            except (OSError, ValueError) as error:
                unfit.trouble(trail, error)
        self._tell(unfit)
        if left:
            self.start()

    def start(self) -> None:
        """Start the thread; where that is impossible, the end of the process delivers."""
        with self._starting:
            if self._thread is None and not (self._closing or self._paused):
                thread = Thread("audit", self._work)
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
        """Return how many records no disk has and the collector has not taken: they are gone with the process."""
        return self._writer.in_memory() + self._writer.lost() if self._writer else 0

    def _is_done(self) -> bool:
        if self._writer is None:
            return True
        keyring = Keyring(self._load_keys())
        waiting = (next(batches(trail, trail.sent(keyring), keyring), None) for trail in self._trails())
        return not self._writer.in_memory() and all(each is None for each in waiting)

    def _trails(self) -> list[Trail]:
        return self._writer.trails() if self._writer else []

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
            keys = self._load_keys()
            if self._writer is not None:
                self._writer.retry()
                self._send_unwritten(self._writer, deadline, outcome)
                for trail in self._trails():
                    self._deliver_own(trail, deadline, outcome, keys)
            if self._left_behind and not outcome.stopped:
                left = deliver_left(self._folder, self._credential, self.sender, deadline, keys)
                outcome.waiting, outcome.reason = outcome.waiting + left.waiting, outcome.reason or left.reason
                self._left_behind = left.stopped
                self._tell(left)
                self._remove_old(keys)
        except Exception as error:  # noqa: BLE001 - a bug here must not end the thread, and never the program
            outcome.reason = f"{type(error).__name__}: {error}"
        self._last = outcome
        waits = outcome.stopped or bool(outcome.waiting)
        self._pause = min(_LAST_PAUSE, self._pause * 2) if waits else _DELAY
        self._retry_at = time.monotonic() + self._pause if waits else 0.0

    def _deliver_own(self, trail: Trail, deadline: float, outcome: Outcome, keys: Sequence[Key]) -> None:
        try:
            deliver(trail, self.sender, deadline, outcome, keys, self._taken)
        except OSError as error:
            outcome.waiting += trail.waiting()
            outcome.reason = f"{trail.path}: {error.strerror}".lower()

    def _send_unwritten(self, writer: Writer, deadline: float, outcome: Outcome) -> None:
        def passed(records: Sequence[Record], refused: bool) -> None:
            writer.handled(records, refused=refused)
            if not refused:
                self._taken.update(each.id for each in records)

        shipment = _Shipment(self._process, self.sender, deadline, outcome)
        with contextlib.suppress(_StoppedError):
            while records := writer.oldest_unwritten(_BATCH):
                shipment.send(records, passed)
            return
        outcome.stopped = True
        outcome.waiting += writer.in_memory()

    def _tell(self, left: Outcome) -> None:
        if left.troubles:
            self._told_trouble("; ".join(left.troubles[:3]))
        elif left.refused:
            self._told_trouble(f"{left.refused} refused ({left.reason})")

    def _remove_old(self, keys: Sequence[Key]) -> None:
        stamp = self._folder / ".removed"
        if not self._folder.is_dir() or (stamp.exists() and stamp.stat().st_mtime > time.time() - _DAY):
            return
        stamp.touch(mode=0o600)
        remove_old(self._folder, self._keep_seconds, keys)
        if self._writer is not None:
            for trail in self._trails()[:1]:
                self._writer.trim(trail.sent(Keyring(keys)), self._keep_seconds)


def _put_away(trail: Trail, folder: Path, keys: Keyring) -> bool:
    """Keep a trail of which nothing is left to deliver. Returns False where something is that can be tried.

    Raises OSError and UnfitError.
    """
    claimed = places.claim(trail.path / HEAD)
    if claimed is None:
        return True  # its writer lives, or has just begun
    with claimed:
        if next(trail.lines(Position()), None) is None and not trail.waiting():
            return True
        trail.check(keys)
        if trail.is_delivered(keys):
            keep(trail, folder)
            return True
        sent = trail.sent(keys)
        return bool(sent.refused) and trail.waiting() == len(sent.refused)
