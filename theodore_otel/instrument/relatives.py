"""Programs that Theodore starts and that are Theodore too: they report, under the trace and the ids of their parent.

One is recognised by its command line: the program that runs here (its console script, its file or its module), or one
under `opentelemetry-instrument` or `theodore-otel run`. It finds the context in its environment. Any other program
that is started finds the environment it would find without us.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from theodore_otel.instrument.children import carrier
from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.tracebacks import HIDDEN
from theodore_otel.run import PYTHON, environment_of

_WRAPPERS: Final = frozenset({"opentelemetry-instrument", "theodore-otel"})
_POSITION_OF_ENV: Final = 10
_WITH_VALUE: Final = ("-W", "-X")


def follow(flush: Callable[[], None]) -> None:
    """Follow `subprocess`, what is built on it (asyncio's subprocesses, os.popen), and `os.exec...`.

    `flush` delivers what waits, before a program takes the place of this one.
    """
    when_imported("subprocess", _follow)
    _follow_exec(flush)


def _follow(subprocess: Any) -> None:
    original = subprocess.Popen.__init__

    def __init__(self: Any, args: Any, *rest: Any, **options: Any) -> None:  # noqa: N807
        if len(rest) < _POSITION_OF_ENV and (added := _added(args, options.get("env"))):
            options["env"] = added
        with HIDDEN:
            original(self, args, *rest, **options)

    __init__.__wrapped__ = original  # type: ignore[attr-defined]
    subprocess.Popen.__init__ = __init__


def _follow_exec(flush: Callable[[], None]) -> None:
    """Follow `os.exec...`, by which gunicorn upgrades itself; all of them end in one of two functions."""
    execv, execve = os.execv, os.execve

    def follow_execv(path: Any, args: Any, /) -> Any:
        added = _added(args, None)
        flush()
        with HIDDEN:
            return execve(path, args, added) if added else execv(path, args)

    def follow_execve(path: Any, args: Any, env: Any) -> Any:
        added = _added(args, env)
        flush()
        with HIDDEN:
            return execve(path, args, added or env)

    os.execv, os.execve = follow_execv, follow_execve  # type: ignore[assignment]


def _added(args: Any, given: Any) -> dict[str, str] | None:
    with suppress(Exception):  # the program is started, whatever it is
        return additions(args, given)
    return None


def additions(args: Any, given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the environment for a program that is Theodore; None for any other."""
    words = [os.fsdecode(word) for word in (_split(args) if isinstance(args, (str, bytes)) else args)]
    if not words:
        return None
    own = dict(os.environ if given is None else given)
    if os.path.basename(words[0]) in _WRAPPERS:  # noqa: PTH119
        return {**own, **carrier()}
    return {**environment_of(own), **carrier()} if is_ours(words) else None


def is_ours(words: Sequence[str]) -> bool:
    """Say whether a command line starts the program that runs here."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    program = os.path.basename(words[0])  # noqa: PTH119
    if not PYTHON.fullmatch(program):
        return bool(file) and program == os.path.basename(str(file))  # noqa: PTH119
    module, script = _started(words[1:])
    if module is not None:
        spec = getattr(main, "__spec__", None)
        return spec is not None and module == spec.name.removesuffix(".__main__")
    return bool(file and script) and os.path.abspath(str(script)) == os.path.abspath(str(file))  # noqa: PTH100


def _started(words: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the module or the file that Python is asked to run."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-m":
            return (left[0] if left else None), None
        if not word.startswith("-"):
            return None, word
        if word in ("-", "-c") or word.startswith("-c"):
            return None, None
        if word in _WITH_VALUE and left:
            left.pop(0)
    return None, None


def _split(line: str | bytes) -> list[str]:
    return shlex.split(os.fsdecode(line))
