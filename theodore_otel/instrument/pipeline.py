"""Queue, encode and send one signal, in a thread of its own, within bounds on memory and on the time of the exit.

Upstream's BatchProcessor is not used: its exporters are shut down one after the other and its queue cannot be read when
the time is up. Here what could not be delivered stays available as encoded bytes, which the courier keeps on disk.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument import forks
from theodore_otel.instrument.forks import importing
from theodore_otel.instrument.sender import Answer, Sender
from theodore_otel.instrument.threads import Thread
from theodore_otel.journal.spool import Item

if TYPE_CHECKING:
    from theodore_otel.instrument.courier import Courier

_BACKLOG_BYTES: Final = 16 * 1024 * 1024
# Half of what the collector takes at once (collector.limits.request).
_REQUEST_BYTES: Final = 2 * 1024 * 1024
_REQUEST_SECONDS: Final = 10.0
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 30.0
_HURRY_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 1.0
_NO_ANSWER: Final = "no answer in time"


@dataclass(frozen=True)
class Limits:
    """How much is held and how often it is sent."""

    queue: int = 8192
    """Records waiting to be encoded; more are dropped and counted."""
    batch: int = 512
    """Records in one request."""
    delay: float = 1.0
    """Seconds between two requests while the program runs."""


class Pipeline:
    """Takes records from any thread; sends them from its own, which starts with the first record."""

    def __init__(
        self,
        signal: str,
        encode: Callable[[Sequence[Any]], tuple[bytes, int]],
        sender: Sender,
        limits: Limits | None = None,
        *,
        prepare: Callable[[], None] = lambda: None,
        collect: Callable[[], None] | None = None,
        courier: Courier | None = None,
        audits: Callable[[Any], bool] | None = None,
    ) -> None:
        """`encode` gives bytes and the number of records; `prepare` imports what it needs, in the thread, as soon as
        that runs; `collect` is called before each round (metrics); `courier` keeps what cannot be delivered,
        longest the records that `audits` says yes to.
        """
        self.signal = signal
        self.sender = sender
        self._encode = encode
        self._prepare = prepare
        self._collect = collect
        self._courier = courier
        self._audits = audits
        self._limits = limits or Limits()
        self._thread: threading.Thread | None = None
        self._rounds = 0
        self._reason = ""
        self._reset()
        forks.in_child(self._after_fork)

    def put(self, record: Any) -> None:
        """Queue one record; never blocks, drops the record when the queue is full."""
        if len(self._queue) >= self._limits.queue:
            self._dropped += 1
            return
        self._queue.append(record)
        self.start()
        if len(self._queue) >= self._limits.batch:
            self._wake.set()
            if self._sending and len(self._queue) >= self._limits.queue // 2:
                self._encode_meanwhile()

    def soon(self) -> None:
        """Have what is queued sent now, without waiting for it."""
        self._wake.set()

    def start(self) -> None:
        """Start the thread if it does not run yet; it then imports what sending needs while the program works."""
        if self._thread is not None or self._closing or self._paused:
            return
        with self._lock:
            if self._thread is not None:
                return
            thread = Thread(self.signal, self._work)
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is ending: finish() sends from the calling thread instead
            self._thread = thread

    def hurry(self) -> None:
        """Send soon from now on, in a process that may be killed at any moment; keep on disk what waits."""
        self._limits = replace(self._limits, delay=min(self._limits.delay, _HURRY_SECONDS))
        self._hurried = True

    def flush(self, timeout: float) -> bool:
        """Ask for everything queued to be sent now and wait up to `timeout` seconds. Returns whether it was."""
        if self._thread is None:
            return not self._queue
        deadline = time.monotonic() + timeout
        wanted = self._rounds + 2  # the running round may have passed the newest record already
        while time.monotonic() < deadline and self._rounds < wanted and self._waiting():
            self._retry_at = 0.0
            self._wake.set()
            time.sleep(0.005)
        return not self._waiting()

    def _waiting(self) -> bool:
        with self._lock:  # what is being encoded is in neither
            return bool(self._queue or self._backlog)

    def pause(self) -> None:
        """End the thread once it has sent what it can, and start none until `resume`. Takes a second at most."""
        self._paused = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PAUSE_SECONDS)

    def resume(self) -> None:
        """Go on after `pause`, with a thread and locks of the kind that `threading` makes now."""
        ran, self._thread, self._paused = self._thread is not None, None, False
        self._lock, self._wake = threading.RLock(), threading.Event()
        if ran and (self._queue or self._backlog or self._collect):
            self.start()

    def close(self, deadline: float) -> None:
        """Begin the end: send what is left until `deadline` (monotonic seconds). Returns at once."""
        self._deadline = deadline
        self._closing = True
        self._wake.set()

    def join(self) -> None:
        """Wait until everything was tried or the deadline given to `close` has passed."""
        if self._thread is None:
            if self._queue or self._collect:
                self._round()
            return
        with self._lock:
            self._encode_queue()  # the thread may wait for an answer that does not come
        self._thread.join(max(0.0, self._deadline - time.monotonic()))

    def put_away(self) -> None:
        """Have the courier keep what was not delivered; what it cannot keep is lost."""
        if self._courier is None:
            return
        with self._lock:
            self._encode_queue()
            items = [*self._refused, *self._backlog]
            self._refused.clear()
            self._backlog.clear()
            self._dropped += self._courier.keep(items)
            if items:
                self._reason = self._reason or _NO_ANSWER

    def lost(self) -> tuple[int, str]:
        """Return how many records did not arrive, and why the last attempt failed."""
        waiting = len(self._queue) + sum(item.count for item in (*self._refused, *self._backlog))
        reason = self._reason
        if not reason and waiting:
            reason = _NO_ANSWER
        return waiting + self._dropped, reason or "more records than the queue holds"

    def _reset(self) -> None:
        self._queue: deque[Any] = deque()
        self._backlog: deque[Item] = deque()
        self._refused: deque[Item] = deque()
        self._lock = threading.RLock()  # a signal handler may end the process in the middle of `start`
        self._wake = threading.Event()
        self._thread = None
        self._closing = False
        self._paused = False
        self._hurried = False
        self._put_away_at = 0.0
        self._deadline = 0.0
        self._retry_at = 0.0
        self._pause = _FIRST_RETRY_SECONDS
        self._dropped = 0
        self._rounds = 0
        self._reason = ""
        self._sending = False
        self._helper: threading.Thread | None = None

    def _after_fork(self) -> None:
        # The parent sends what it queued; the child starts empty, with locks nobody holds.
        ran = self._thread is not None
        self._reset()
        self.sender.forget()
        if ran and self._collect:
            self.start()  # no record will: metrics are collected by the thread itself

    def _work(self) -> None:
        with contextlib.suppress(Exception), importing():  # what fails here is told when the first record needs it
            self._prepare()
        while not self._closing and not self._paused:
            self._wake.wait(self._limits.delay)
            self._wake.clear()
            if not self._closing:
                self._round()
        self._round()
        self.sender.close()

    def _round(self) -> None:
        try:
            if self._collect is not None:
                self._collect()
            with self._lock:
                self._encode_queue()
            self._send_backlog()
            if self._hurried and self._backlog and time.monotonic() >= self._put_away_at:
                self._put_away_at = time.monotonic() + _FIRST_RETRY_SECONDS
                self.put_away()
        except Exception as error:  # noqa: BLE001 - a bug here must not end the thread, and never the program
            self._reason = f"{type(error).__name__}: {error}"
        self._rounds += 1

    def _encode_queue(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._limits.batch, len(self._queue)))]
            try:
                self._add(batch)
            except Exception:  # noqa: BLE001 - one record nobody can encode must not keep back the others
                self._add_one_by_one(batch)
        self._cap(self._backlog)

    def _add(self, batch: list[Any]) -> None:
        body, count = self._encode(batch)
        if len(body) > _REQUEST_BYTES and len(batch) > 1 and self._collect is None:
            half = len(batch) // 2
            self._add(batch[:half])
            self._add(batch[half:])
        elif count:
            audit = self._audits is not None and any(map(self._audits, batch))
            self._backlog.append(Item(self.signal, body, count, audit=audit))

    def _add_one_by_one(self, batch: list[Any]) -> None:
        for record in batch:
            try:
                self._add([record])
            except Exception as error:  # noqa: BLE001
                self._dropped += 1
                self._reason = f"cannot be encoded: {type(error).__name__}"

    def _encode_meanwhile(self) -> None:
        """Empty the queue while the thread waits for an answer, or it would overflow."""
        if self._helper is not None:
            return

        def encode() -> None:
            try:
                with self._lock:
                    self._encode_queue()
            finally:
                self._helper = None

        self._helper = Thread(f"{self.signal}-encode", encode)
        try:
            self._helper.start()
        except RuntimeError:  # no thread can be started any more
            self._helper = None

    def _send_backlog(self) -> None:
        while self._backlog and (self._closing or time.monotonic() >= self._retry_at):
            timeout = self._timeout()
            if timeout <= 0:
                return
            item = self._backlog[0]
            self._sending = True
            try:
                answer = self.sender.send(item.body, timeout)
            finally:
                self._sending = False
            if not self._settle(item, answer):
                return

    def _settle(self, item: Item, answer: Answer) -> bool:
        """Do what the answer asks for. Returns whether to go on with the next one."""
        if not answer.delivered:
            self._reason = answer.reason
        if answer.retry and not answer.delivered:
            self._wait_longer(answer)
            return False
        self._pause = _FIRST_RETRY_SECONDS
        with self._lock:
            if not self._backlog or self._backlog[0] is not item:
                return True  # it went to disk meanwhile, and will arrive twice if it arrived now
            self._backlog.popleft()
            if answer.permanent:
                self._dropped += item.count
            elif not answer.delivered:
                self._refused.append(item)
                self._cap(self._refused)
        if answer.delivered:
            self._note_rejected(answer.body)
            if self._courier is not None:
                self._courier.collector_answers()
        return True

    def _timeout(self) -> float:
        return self._deadline - time.monotonic() if self._closing else _REQUEST_SECONDS

    def _wait_longer(self, answer: Answer) -> None:
        self._retry_at = time.monotonic() + (answer.retry_after or self._pause)
        self._pause = min(_LAST_RETRY_SECONDS, self._pause * 2)

    def _note_rejected(self, body: bytes) -> None:
        if not body:
            return
        from theodore_otel.instrument.encode import rejected

        count, reason = rejected(self.signal, body)
        if count:
            self._dropped += count
            self._reason = f"refused by the collector: {reason}" if reason else "refused by the collector"

    def _cap(self, items: deque[Item]) -> None:
        size = sum(len(item.body) for item in items)
        if size <= _BACKLOG_BYTES:
            return
        floor = _BACKLOG_BYTES // 2 if self._courier else _BACKLOG_BYTES  # files are written for many at once
        oldest: list[Item] = []
        while size > floor:
            oldest.append(items.popleft())
            size -= len(oldest[-1].body)
        count = sum(item.count for item in oldest)
        self._dropped += self._courier.keep(oldest) if self._courier else count
