"""`theodore-otel run -- COMMAND`: prepare the environment and become the command.

The process is replaced, so that signals, exit code, terminal and output are the command's own. Only the standard
library is imported: what is loaded here is loaded once more in the command.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from theodore_otel.errors import InputError

BOOTSTRAP: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instrument", "bootstrap")  # noqa: PTH100, PTH118, PTH120
"""The folder whose `sitecustomize` starts the instrumentation in the command."""

CHOSEN: Final = {"OTEL_PYTHON_DISTRO": "theodore", "OTEL_PYTHON_CONFIGURATOR": "theodore"}
_READ: Final = (
    "THEODORE_OTEL_CONFIG",
    "THEODORE_OTEL_CREDENTIAL",
    "THEODORE_OTEL_CREDENTIAL_FILE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "TRACEPARENT",
    "CORRELATION_ID",
)
_SHOWN: Final = frozenset({"THEODORE_OTEL_CONFIG", "THEODORE_OTEL_CREDENTIAL_FILE", "TRACEPARENT", "CORRELATION_ID"})
PYTHON: Final = re.compile(r"(python|pypy)[0-9.]*(\.exe)?")


def main(arguments: Sequence[str]) -> NoReturn:
    """Run what stands after `theodore-otel run`; errors end in one message."""
    rest = list(arguments)
    verbose = False
    while rest and rest[0] in ("-v", "--verbose", "--"):
        flag = rest.pop(0)
        verbose = verbose or flag != "--"
        if flag == "--":
            break
    try:
        become(rest, verbose=verbose)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def become(command: Sequence[str], *, verbose: bool = False) -> NoReturn:
    """Replace this process by a command that is observed. Raises InputError when it cannot be started."""
    arguments = arguments_of(command)
    from shutil import which

    program = which(arguments[0])
    if program is None:
        raise InputError(f"run: expected a command that can be started, got {arguments[0]!r}: {_missing(arguments[0])}")
    environment = environment_of(os.environ)
    if verbose:
        sys.stderr.writelines(f"theodore-otel: {line}\n" for line in explained(program, arguments, os.environ))
        sys.stderr.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so in the command
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execve(program, arguments, environment)  # noqa: S606
    except OSError as error:
        raise InputError(f"run: cannot start {program}: {error.strerror}") from None


def _missing(program: str) -> str:
    if program.endswith((".py", ".pyz")):
        return f"no such file in {os.getcwd()}"  # noqa: PTH109
    if os.sep in program:
        return "no such program, or it is not executable"
    return (
        "no such program on PATH; name the command that starts your own program, and activate the virtual environment "
        f"it is installed in, or start a module of this Python ({sys.executable}) with -m"
    )


def arguments_of(command: Sequence[str]) -> list[str]:
    """Return what is executed: a module (`-m`) or a file of Python that is not executable runs under this Python."""
    if not command:
        raise InputError("run: expected a command, such as theodore-otel run -- theodore research ACME")
    first = command[0]
    source = first.endswith((".py", ".pyz")) and os.path.isfile(first)  # noqa: PTH113
    if first == "-m" or (source and not os.access(first, os.X_OK)):
        return [sys.executable, *command]
    # A file named without its folder is not looked for there by `which`, though Python itself would.
    return [os.path.join(".", first) if source and not os.path.dirname(first) else first, *command[1:]]  # noqa: PTH118, PTH120


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the command's environment: ours is chosen, and found before anything else is imported."""
    paths = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != BOOTSTRAP]
    return {**environ, **CHOSEN, "PYTHONPATH": os.pathsep.join([BOOTSTRAP, *paths])}


def explained(program: str, arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return what is set, what the command will read, and what stands in the way; never a secret."""
    made = environment_of(environ)
    lines = [f"runs {program} with {len(arguments) - 1} arguments"]
    for name in (*CHOSEN, "PYTHONPATH"):
        before = environ.get(name)
        lines.append(f"sets {name}={made[name]}" + (f" (was {before})" if before not in (None, made[name]) else ""))
    for name in _READ:
        if name in environ:
            lines.append(f"leaves {name}={environ[name]}" if name in _SHOWN else f"leaves {name} as it is set")
    if not any(name.startswith("THEODORE_OTEL_CONFIG") for name in environ):
        lines.append("THEODORE_OTEL_CONFIG is not set: the settings are the packaged defaults")
    lines += obstacles(arguments, environ)
    return lines


def obstacles(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return why nothing would be reported, as far as that can be seen from here."""
    found = []
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        found.append("OTEL_SDK_DISABLED=true: nothing is reported")
    if PYTHON.fullmatch(os.path.basename(arguments[0])):  # noqa: PTH119
        for option in arguments[1:]:
            if not option.startswith("-") or option in ("-m", "-c", "-"):
                break
            if not option.startswith("--") and set(option[1:]) & set("IES"):
                found.append(f"{option} has Python leave PYTHONPATH or site out: nothing is reported")
    return found
