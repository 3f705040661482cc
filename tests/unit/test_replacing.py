"""What stands in for a function is taken for it wherever its owner says what the function can do."""

from __future__ import annotations

from types import SimpleNamespace

from theodore_otel.instrument.replacing import replace


def test_what_os_says_that_a_function_can_do_is_said_of_its_replacement():
    def original(path: str) -> str:
        return path

    owner = SimpleNamespace(execve=original, supports_fd={original}, supports_dir_fd=set())
    replace(owner, "execve", lambda *args, **kwargs: original(*args, **kwargs))
    assert owner.execve in owner.supports_fd
    assert original in owner.supports_fd
    assert owner.execve not in owner.supports_dir_fd
