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
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.tracebacks import HIDDEN
from theodore_otel.run import PYTHON, environment_of

_WRAPPERS: Final = frozenset({"opentelemetry-instrument", "theodore-otel"})
_POSITION_OF_ENV: Final = 11
_ARGUMENTS_OF_EXECV: Final = 2
_WITH_VALUE: Final = ("-W", "-X")
_CONTEXT: Final = ("TRACEPARENT", "TRACESTATE", "BAGGAGE", "CORRELATION_ID")

_found: dict[str, str] = {}
"""The context that this process was started with."""


def follow(flush: Callable[[], None]) -> None:
    """Follow `subprocess`, what is built on it (asyncio's subprocesses, os.popen), and `os.exec...`.

    `flush` delivers what waits, before a program takes the place of this one.
    """
    _found.update({name: os.environ[name] for name in _CONTEXT if name in os.environ})
    when_imported("subprocess", _follow)
    _follow_exec(flush)


def _follow(subprocess: Any) -> None:
    original = subprocess.Popen.__init__

    def start(*args: Any, **kwargs: Any) -> None:
        # By position where the program gave `env` so; by name otherwise.
        given = kwargs.get("env") if len(args) <= _POSITION_OF_ENV else args[_POSITION_OF_ENV]
        if added := _added(_second(args, kwargs, "args"), given):
            if len(args) > _POSITION_OF_ENV:
                args = (*args[:_POSITION_OF_ENV], added, *args[_POSITION_OF_ENV + 1 :])
            else:
                kwargs["env"] = added
        with HIDDEN:
            original(*args, **kwargs)

    replace(subprocess.Popen, "__init__", start)


def _follow_exec(flush: Callable[[], None]) -> None:
    """Follow `os.exec...`, by which gunicorn upgrades itself; all of them end in one of two functions."""
    execv, execve = os.execv, os.execve

    def follow_execv(*args: Any, **kwargs: Any) -> Any:
        added = _added(_second(args, kwargs), None)
        flush()
        with HIDDEN:
            return execve(*args, added) if added and len(args) == _ARGUMENTS_OF_EXECV else execv(*args, **kwargs)

    def follow_execve(*args: Any, **kwargs: Any) -> Any:
        given = kwargs["env"] if "env" in kwargs else args[-1] if args else None
        added = _added(_second(args, kwargs, "argv"), given)
        flush()
        if added and "env" in kwargs:
            kwargs["env"] = added
        elif added:
            args = (*args[:-1], added)
        with HIDDEN:
            return execve(*args, **kwargs)

    replace(os, "execv", follow_execv)
    replace(os, "execve", follow_execve)


def _second(args: Sequence[Any], kwargs: Mapping[str, Any], name: str = "") -> Any:
    """Return what was given by position in the second place, or by name."""
    return args[1] if len(args) > 1 else kwargs.get(name)


def _added(args: Any, given: Any) -> dict[str, str] | None:
    with suppress(Exception):  # the program is started, whatever it is
        return additions(args, given)
    return None


def additions(args: Any, given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the environment for a program that is Theodore; None for any other."""
    if isinstance(args, (str, bytes)):
        words = _split(args)
    elif isinstance(args, (list, tuple)):  # anything else may be read only once, by the program that gets it
        words = [os.fsdecode(word) for word in args]
    else:
        return None
    if not words:
        return None
    own = dict(os.environ if given is None else given)
    if os.path.basename(words[0]) in _WRAPPERS:  # noqa: PTH119
        return {**own, **_told(own)}
    return {**environment_of(own), **_told(own)} if is_ours(words) else None


def _told(own: Mapping[str, str]) -> dict[str, str]:
    """Return the context for a program, but for what its environment says otherwise than this process found."""
    return {name: value for name, value in carrier().items() if own.get(name) in (None, _found.get(name))}


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
