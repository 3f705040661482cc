"""The local stack: one collector in the background, known by its pid file, waited for, stopped, looked at."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import yaml

from theodore_otel import paths
from theodore_otel.errors import DownError, InputError
from theodore_otel.otelcol import places, ports, process, queues, validate
from theodore_otel.otelcol.launch import Prepared, make_folder
from theodore_otel.query.http import NoAnswerError, get

START_LIMIT = 30.0
"""Seconds a collector has to become healthy."""
STOP_LIMIT = 20.0
"""Seconds a collector has to send what it holds before it is killed."""

_POLL = 0.05
_KILL_LIMIT = 5.0
_LOG_LIMIT = 20_000_000
_READY = b"Everything is ready"

State = Literal["running", "unhealthy", "down"]


@dataclass(frozen=True)
class Record:
    """What the pid file says about the collector that was started."""

    pid: int
    identity: str
    """Tells this process from a later one with the same pid."""
    health: str
    endpoints: dict[str, str]
    started_at: float
    """Unix time."""
    made_from: str
    """Digest of binary, configuration and limits: another one means that `up` has to start it anew."""


@dataclass(frozen=True)
class Status:
    """How the collector is."""

    state: State
    record: Record | None
    """None when it is down."""


def folder() -> Path:
    """Return the folder of the stack's files."""
    return paths.home() / "stack"


def config_file() -> Path:
    """Return the configuration the stack's collector reads."""
    return folder() / "collector.yaml"


def credentials_file() -> Path | None:
    """Return the credentials file that the stack's collector was started with; None when it asks for none."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    extensions = yaml.load(config_file().read_text(encoding="utf-8"), loader)["extensions"]  # noqa: S506 - it is safe
    named = next((each["htpasswd"]["file"] for each in extensions.values() if each and "htpasswd" in each), None)
    return named and Path(named.replace("${env:THEODORE_OTEL_HOME}", str(paths.home())))


def log_file() -> Path:
    """Return the file that takes what the collector prints."""
    return folder() / "collector.log"


def pid_file() -> Path:
    """Return the pid file: the pid on the first line, the rest of the record as JSON on the second."""
    return folder() / "collector.pid"


def up(prepared: Prepared, note: places.Note, limit: float = START_LIMIT) -> Status:
    """Make a healthy collector with this configuration run: start it, start it anew when it differs, or leave it.

    Raises InputError when a port is taken or the collector refuses the configuration, DownError when it does not
    become healthy within `limit` seconds; it does not run then.
    """
    make_folder(folder())
    with _locked(note):
        running = _running()
        if running and running.made_from == _digest(prepared) and _healthy(running.health):
            note(f"the collector runs already (pid {running.pid})")
            return Status("running", running)
        validate.validate(prepared.binary, prepared.text, prepared.environment, prepared.source)
        if running:
            note("starting the collector anew: its configuration has changed, or it is not well")
            _stop(running, note, STOP_LIMIT)
        if prepared.queues:
            queues.check(prepared.queues, note)
        return Status("running", _start(prepared, limit))


def down(note: places.Note, limit: float = STOP_LIMIT) -> bool:
    """Stop the collector; return whether one ran. After `limit` seconds it is killed."""
    if not folder().is_dir():
        return False
    with _locked(note):
        running = _running()
        if running:
            _stop(running, note, limit)
        pid_file().unlink(missing_ok=True)
        return running is not None


def reload(limit: float = START_LIMIT) -> bool:
    """Have the running collector read its configuration and credentials again; return whether one runs.

    Raises DownError when it does not come back within `limit` seconds.
    """
    if not folder().is_dir():
        return False
    with _locked(lambda _: None):
        running = _running()
        if not running:
            return False
        read = log_file().stat().st_size
        os.kill(running.pid, signal.SIGHUP)
        # Its health endpoint answers before and after, so the log tells when it is ready again.
        _wait(lambda: _READY in _log_from(read), running, limit, "did not come back after reading its configuration")
        return True


def status() -> Status:
    """Return how the collector is; nothing is changed."""
    running = _running()
    if not running:
        return Status("down", None)
    return Status("running" if _healthy(running.health) else "unhealthy", running)


def _start(prepared: Prepared, limit: float) -> Record:
    ports.check_free(prepared.listeners, prepared.source.name)
    prepared.write(config_file())
    _rotate_log()
    written = log_file().stat().st_size if log_file().exists() else 0
    with log_file().open("ab") as log:
        child = subprocess.Popen(
            prepared.command(config_file()),
            env=prepared.environment,
            cwd=folder(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for it
        )
    try:
        record = Record(
            child.pid,
            process.identity(child.pid) or "",
            prepared.health,
            {each.key.rpartition(".")[2]: each.reached_at for each in prepared.listeners},
            time.time(),
            _digest(prepared),
        )
        _save(record)
        _wait(lambda: _healthy(record.health), record, limit, "did not become healthy")
    except BaseException:
        child.kill()
        child.wait()
        pid_file().unlink(missing_ok=True)
        _raise_taken_port(written, prepared)
        raise
    return record


def _raise_taken_port(written: int, prepared: Prepared) -> None:
    """Tell of a port that was taken between the check and the start as the check would have."""
    if b"address already in use" in _log_from(written):
        ports.check_free(prepared.listeners, prepared.source.name)


def _wait(reached: Callable[[], bool], record: Record, limit: float, failure: str) -> None:
    deadline = time.monotonic() + limit
    while not reached():
        if process.identity(record.pid) != record.identity:
            raise DownError(f"the collector ended by itself. The end of {log_file()}:\n{_last_lines()}")
        if time.monotonic() > deadline:
            raise DownError(f"the collector {failure} within {limit:g} s. The end of {log_file()}:\n{_last_lines()}")
        time.sleep(_POLL)


def _stop(record: Record, note: places.Note, limit: float) -> None:
    _signal(record, signal.SIGTERM)
    if not _ended(record, limit):
        note(f"the collector did not end within {limit:g} s and is killed; its queues on disk are kept")
        _signal(record, signal.SIGKILL)
        if not _ended(record, _KILL_LIMIT):
            raise DownError(f"the collector (pid {record.pid}) does not end, not even when killed")
    pid_file().unlink(missing_ok=True)


def _signal(record: Record, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, number)


def _ended(record: Record, limit: float) -> bool:
    deadline = time.monotonic() + limit
    while process.identity(record.pid) == record.identity:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _running() -> Record | None:
    """Return the record of the collector that runs; a pid that is another process's by now does not count."""
    try:
        pid, rest = pid_file().read_text(encoding="utf-8").splitlines()
        record = Record(pid=int(pid), **json.loads(rest))
    except (OSError, ValueError, TypeError):
        return None
    return record if process.identity(record.pid) == record.identity else None


def _save(record: Record) -> None:
    rest = {key: value for key, value in asdict(record).items() if key != "pid"}
    scratch = pid_file().with_suffix(".tmp")
    scratch.write_text(f"{record.pid}\n{json.dumps(rest)}\n", encoding="utf-8")
    scratch.replace(pid_file())


def _digest(prepared: Prepared) -> str:
    made_from = [prepared.text, str(prepared.binary), str(prepared.binary.stat().st_mtime_ns)]
    made_from.append(prepared.environment["GOMEMLIMIT"])
    return hashlib.sha256("\0".join(made_from).encode()).hexdigest()


def _healthy(address: str) -> bool:
    try:
        return get(f"http://{address}/", 2).status == 200
    except NoAnswerError:
        return False


@contextlib.contextmanager
def _locked(note: places.Note) -> Iterator[None]:
    try:
        with places.locked(folder() / "lock", lambda: note("waiting for another `stack` command to end")):
            yield
    except PermissionError as error:
        raise InputError(f"{error.filename}: cannot be written: {error.strerror}") from error


def _rotate_log() -> None:
    if log_file().exists() and log_file().stat().st_size > _LOG_LIMIT:
        log_file().replace(log_file().with_suffix(".log.1"))


def _log_from(offset: int) -> bytes:
    with log_file().open("rb") as log:
        log.seek(offset)
        return log.read()


def _last_lines(count: int = 5) -> str:
    text = _log_from(max(0, log_file().stat().st_size - 65536)).decode("utf-8", "replace")
    # A panic while it ends says nothing of why it ended.
    lines = re.split(r"^panic: ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    return "\n".join(f"  {line[:500]}" for line in lines[-count:]) or "  (it is empty)"
