"""What a forked child finds, and what is not kept alive for it."""

from __future__ import annotations

import gc
import os
import weakref

import pytest

from theodore_otel.instrument import forks


class Noted:
    def __init__(self, written: int) -> None:
        self.written = written
        forks.in_child(self.note)

    def note(self) -> None:
        os.write(self.written, b"x")


@pytest.mark.case("locks_after_fork")
def test_a_lock_that_is_held_when_the_process_forks_is_free_in_the_child() -> None:
    lock = forks.Lock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.case("locks_after_fork")
def test_a_hook_runs_in_children_as_long_as_its_object_lives() -> None:
    read, written = os.pipe()
    kept, dropped = Noted(written), Noted(written)
    gone = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert gone() is None
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    os.close(written)
    assert os.read(read, 10) == b"x"
    os.close(read)
    del kept
