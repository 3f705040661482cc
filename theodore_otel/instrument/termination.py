"""SIGTERM: what is left is delivered before the default action happens, and the program does not see how.

SIGTERM kills a Python program without running `atexit`. A handler stands in for the default action, delivers, and then
lets the default action happen, so that the exit status is the same. `signal.signal` and `signal.getsignal` still say
SIG_DFL, and setting any handler replaces ours.

The handler interrupts the main thread anywhere, also where that holds a lock which the delivery needs. So the delivery
runs in a thread; the main thread waits in the handler, and goes on for a moment from time to time, to leave what it
holds. As process 1 the default action does nothing: there the program goes on, and telemetry with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from _thread import allocate_lock, start_new_thread  # as they are before gevent
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Protocol

from theodore_otel.instrument import forks
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.threads import signals_blocked

_HELD_SECONDS: Final = 0.25
_MOMENT_SECONDS: Final = 0.005
_SLACK_SECONDS: Final = 0.5
_INIT: Final = 1


class Ends(Protocol):
    """What delivers at the end of the process."""

    running: bool
    """Whether it delivers now."""
    waiting: bool
    """Whether it only waits for answers: no lock of the main thread is needed any more."""

    def run(self) -> None:
        """Deliver what is left; telemetry is over."""

    def flush(self) -> None:
        """Deliver what waits; telemetry goes on."""


class Termination:
    """A handler in place of SIGTERM's default action, which the program does not see."""

    def __init__(self, ending: Ends, budget: float) -> None:
        """`budget` is what `ending.run` may take, in seconds."""
        self._ending = ending
        self._budget = budget
        self._installed = False
        self._signal = signal.signal
        self._getsignal = signal.getsignal
        self._reset()
        forks.in_child(self._reset)

    def _reset(self) -> None:
        self._deadline = 0.0
        self._delivered = allocate_lock()

    def install(self) -> None:
        """Stand in for the default action, unless the program has a handler of its own already."""
        if self._getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        self._installed = True
        self._signal(signal.SIGTERM, self._on_signal)
        self._hide()

    def uninstall(self) -> None:
        """Leave the default action in place."""
        self._installed = False
        if self._getsignal(signal.SIGTERM) == self._on_signal:
            self._signal(signal.SIGTERM, signal.SIG_DFL)

    def _hide(self) -> None:
        set_handler, get_handler = self._signal, self._getsignal

        def show(handler: Any) -> Any:
            return signal.SIG_DFL if handler == self._on_signal else handler

        def set_and_stay(*args: Any, **kwargs: Any) -> Any:
            previous = set_handler(*args, **kwargs)
            if self._installed and get_handler(signal.SIGTERM) == signal.SIG_DFL:
                set_handler(signal.SIGTERM, self._on_signal)
            return show(previous)

        def get(*args: Any, **kwargs: Any) -> Any:
            return show(get_handler(*args, **kwargs))

        replace(signal, "signal", set_and_stay, set_handler)
        replace(signal, "getsignal", get, get_handler)
        when_imported("_thread", self._hide_from_simulated)

    def _hide_from_simulated(self, thread: Any) -> None:
        """Have `interrupt_main`, which runs Python's handler alone, do nothing where the default action stands."""
        interrupt = thread.interrupt_main

        def interrupt_main(*args: Any, **kwargs: Any) -> Any:
            if args[:1] == (signal.SIGTERM,) and self._getsignal(signal.SIGTERM) == self._on_signal:
                return None
            return interrupt(*args, **kwargs)

        replace(thread, "interrupt_main", interrupt_main)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if os.getpid() == _INIT:
            _in_background(self._ending.flush)
            return
        if self._ending.running and not self._deadline:
            return  # the program ends already
        with suppress(KeyboardInterrupt):  # somebody does not want to wait for it
            if not self._waited():
                return
        self._signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _waited(self) -> bool:
        """Deliver, and return whether it is over. If not, this handler is called again in a moment."""
        if not self._deadline:
            self._deadline = time.monotonic() + self._budget + _SLACK_SECONDS
            if _is_patched():
                self._ending.run()
                return True
            self._delivered.acquire()
            if not _in_background(self._deliver):
                return True
        while not self._is_over(_HELD_SECONDS):
            if not self._ending.waiting:
                return not _in_background(_interrupt_again)
        return True

    def _is_over(self, seconds: float) -> bool:
        """Wait for the end of the delivery, or of its time; return whether one of them is there."""
        until = min(self._deadline, time.monotonic() + seconds)
        while (left := until - time.monotonic()) > 0:
            try:
                if self._delivered.acquire(timeout=left):
                    return True
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001, S112 - another handler's: without us the program would be over by now
                continue
        return self._deadline <= time.monotonic()

    def finish(self) -> None:
        """Where the program came to its end while SIGTERM is delivered: let the default action happen all the same."""
        if self._deadline:
            with suppress(KeyboardInterrupt):
                self._is_over(self._budget + _SLACK_SECONDS)
            self._signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _deliver(self) -> None:
        try:
            self._ending.run()
        finally:
            self._delivered.release()


def _interrupt_again() -> None:
    time.sleep(_MOMENT_SECONDS)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _in_background(action: Callable[[], None]) -> bool:
    """Run something in a thread; the locks of `threading` are not needed to start it."""
    try:
        with signals_blocked():
            start_new_thread(action, ())
    except RuntimeError:  # the interpreter is ending, or the system has no threads left
        return False
    return True


def _is_patched() -> bool:
    """Return True where threads are greenlets, which a thread of the system cannot wait for."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("_thread"))
