"""What a binary says of itself, and whether it is a collector at all."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, cast

import yaml

from theodore_otel.errors import InputError
from theodore_otel.otelcol import COLLECTOR_VERSION, places

_ANSWER_LIMIT = 20.0
_VERSION = re.compile(r"^\S+ version v?(\d+\.\d+\.\d+\S*)\s*$")


def version(binary: Path) -> str:
    """Return the version the binary tells, such as `0.142.0`.

    Raises InputError when it cannot be run or tells no version.
    """
    said = _ask(binary, "--version").strip()
    match = _VERSION.match(said)
    if not match:
        first_line = said.partition("\n")[0][:120]
        raise InputError(f"{binary}: not a collector: `--version` answered {first_line!r}")
    return match[1]


def components(binary: Path) -> dict[str, Any]:
    """Return what `components` lists: buildinfo, receivers, processors, exporters, connectors, extensions.

    Raises InputError when the binary is not a collector.
    """
    said = _ask(binary, "components")
    try:
        listed = yaml.safe_load(said)
    except yaml.YAMLError:
        listed = None
    if not isinstance(listed, dict) or "receivers" not in listed or "exporters" not in listed:
        raise InputError(f"{binary}: not a collector: `components` lists no receivers and exporters")
    return cast("dict[str, Any]", listed)


def check_given(binary: Path, where: str, note: places.Note) -> Path:
    """Return the absolute path of a binary the user named in `where`; warn when its version is another one.

    Raises InputError when it is missing, not executable, or not a collector.
    """
    path = binary.expanduser().absolute()
    if not path.is_file():
        raise InputError(f"{where}: expected the path of a collector binary, but there is no file {path}")
    if not os.access(path, os.X_OK):
        raise InputError(f"{where}: {path} is not executable (chmod +x it)")
    said = version(path)
    components(path)
    if said != COLLECTOR_VERSION:
        note(f"warning: {path} is collector {said}; theodore-otel is made and tested for {COLLECTOR_VERSION}")
    return path


def _ask(binary: Path, question: str) -> str:
    try:
        answer = subprocess.run(
            [binary, question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_LIMIT,
            check=False,
        )
    except OSError as error:
        raise InputError(f"{binary}: cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{binary}: not a collector: `{question}` gave no answer in {_ANSWER_LIMIT:g} s") from error
    if answer.returncode != 0:
        raise InputError(f"{binary}: not a collector: `{question}` ended with exit code {answer.returncode}")
    return answer.stdout
