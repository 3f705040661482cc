"""Which process a pid stands for: pids are used again, a pid with its start time is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc")


def identity(pid: int) -> str | None:
    """Return what tells this process from any other that has had or will have its pid; None when it has ended."""
    if (_PROC / "self" / "stat").exists():
        return _from_proc(pid)
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def describe(pid: int) -> str:
    """Return a process as a message names it: its command line, cut, and its pid."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return f"pid {pid}"
    return f"{Path(words[0]).name or '?'} (pid {pid})"


def _from_proc(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in parentheses may hold anything; state and start time (field 22) come after it.
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; only its parent has not looked yet.
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
