"""The collector's queues on disk: what waits in each file, whose it is, and what to do with one that nobody empties.

The collector keeps one bbolt file for each exporter and signal. Nothing here writes into one: files are read, renamed
and deleted, and only while no collector holds them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from theodore_otel import paths
from theodore_otel.config.model import AUDIT_QUEUE, LEAST_QUEUE, Config
from theodore_otel.config.units import format_size
from theodore_otel.errors import InputError
from theodore_otel.otelcol.bolt import DamagedError, opened
from theodore_otel.otelcol.places import Note
from theodore_otel.render.exporters import COMPONENTS
from theodore_otel.render.lanes import ROOM_ON_DISK, queues

RESERVE = 32 * 2**20
"""Bytes that queues leave free on their disk: without any, not even what is delivered can be deleted."""

_SET_ASIDE = ".backup"
"""Ends the names of damaged files, the collector's own ones too."""
_TYPES = "|".join(sorted({*COMPONENTS.values(), "otlphttp"}))
_FILE = re.compile(rf"exporter_({_TYPES})_([a-zA-Z0-9._-]+)_(traces|logs|metrics)")
_COUNTER = "qmv0"
_KEEP_SIZE = 1
_SHAPED = ("elasticsearch", "syslog")
"""Exporters whose records carry what only they want."""

State = Literal["waiting", "empty", "in use", "damaged", "set aside"]


@dataclass(frozen=True)
class Counted:
    """What one queue says that it holds."""

    requests: int
    items: int
    size: int
    """Bytes of telemetry."""


@dataclass(frozen=True)
class Queue:
    """One queue's file."""

    file: Path
    name: str
    """The destination (behind a dot the tenant) and what of it: traces, logs, audit or metrics."""
    component: str
    """The exporter's type."""
    state: State
    configured: bool
    """Whether a destination of the configuration empties it."""
    counted: Counted | None = None
    """None where it cannot be read now."""
    trouble: str = ""
    """What is wrong with a damaged one."""

    @property
    def left_behind(self) -> bool:
        """Say whether something waits in it that nobody will send."""
        return self.state == "set aside" or (self.state == "waiting" and not self.configured)


@dataclass(frozen=True)
class Folder:
    """The folder of the queues, and the names of the files that the configuration uses."""

    path: Path
    files: tuple[str, ...]
    audit_size: int = 0
    """Most bytes that wait in one queue of audit records; 0 where that is not known."""

    def list(self) -> list[Queue]:
        """Return every queue there is, and every configured one that damage keeps from being used."""
        if not self.path.is_dir():
            return []
        found = (_look(file, file.name in self.files) for file in sorted(self.path.iterdir()) if file.is_file())
        return [queue for queue in found if queue]


def of(config: Config) -> Folder:
    """Return the folder of a configuration's queues."""
    configured = config.collector.queue.directory
    path = Path(configured) if configured else paths.home() / "queue"
    files = tuple(file_name(outlet.exporter, outlet.signal) for outlet in queues(config))
    return Folder(path, files, min(config.collector.queue.size, AUDIT_QUEUE))


def of_rendered(rendered: Mapping[str, Any]) -> Folder:
    """Return the folder of the queues of a rendered collector configuration."""
    stored = {
        name for name, each in rendered["exporters"].items() if "storage" in (each or {}).get("sending_queue", {})
    }
    directory = rendered["extensions"]["file_storage/queue"]["directory"]
    path = Path(directory.replace("${env:THEODORE_OTEL_HOME}", str(paths.home())))
    pipelines = rendered["service"]["pipelines"].items()
    ends = {(end, name.partition("/")[0]) for name, each in pipelines for end in each["exporters"] if end in stored}
    return Folder(path, tuple(file_name(*end) for end in sorted(ends)))


def file_name(exporter: str, signal: str) -> str:
    """Return the name of the file that the collector keeps the queue of an exporter and signal in."""
    component, _, name = exporter.partition("/")
    return f"exporter_{component}_{name}_{signal}"


def count(file: Path) -> Counted:
    """Return what a queue's file says that it holds. Raises DamagedError when it cannot be used."""
    return _counted(dict(_pairs(file)).get(_COUNTER.encode(), b""))


def inspect(file: Path) -> tuple[Counted, int]:
    """Return what really waits in a file, read record by record, and how many requests of it are damaged.

    Raises DamagedError when the file as a whole cannot be used.
    """
    counter, found, bad = b"", {}, 0
    for key, value in _pairs(file):
        if key == _COUNTER.encode():
            counter = bytes(value)
        elif key.isdigit():
            found[int(key)] = value
    waiting = _waiting(counter)
    items = size = 0
    for number in waiting:
        try:
            items += _records(found[number])
            size += len(found[number])
        except (KeyError, DamagedError):
            bad += 1
    return Counted(len(waiting) - bad, items, size), bad


def check(folder: Folder, note: Note) -> None:
    """Make sure that a collector can start with the queues that are there, and tell what nobody will send.

    A damaged file is set aside, so that every other destination starts, and room is reserved for audit records. Raises
    InputError when another collector has the queues, or this user may not use them.
    """
    for queue in folder.list():
        if queue.state == "in use" and queue.configured:
            raise InputError(f"{queue.file}: another collector uses this queue: end it, or take another folder")
        if queue.configured and not os.access(queue.file, os.R_OK | os.W_OK):
            raise InputError(f"{queue.file}: the queue of {queue.name} cannot be read and written by this user")
        if queue.state == "damaged" and queue.configured:
            aside = _set_aside(queue.file)
            note(
                f"warning: the queue of {queue.name} is damaged ({queue.trouble}); what waited in it is not sent. "
                f"Its file is kept: theodore-otel queue inspect {aside}"
            )
    _reserve(folder, note)
    for queue in folder.list():
        if queue.left_behind and queue.state == "waiting":
            note(f"warning: {told(queue)}: theodore-otel queue move {queue.name} NAME, or queue drop {queue.name}")


def told(queue: Queue) -> str:
    """Return what waits in a queue that nobody empties."""
    if queue.state == "set aside":
        size = queue.file.stat().st_size
        return f"{queue.file.name}: a damaged queue of {queue.name} was set aside ({format_size(size)})"
    items = queue.counted.items if queue.counted else 0
    return f"{items:,} items wait in the queue of {queue.name}, which no destination sends any more"


def fitted(config: Config, note: Note) -> Config:
    """Return the configuration with queues that their disk can hold together, when it cannot hold what is configured.

    Raises InputError when not even the smallest queues fit.
    """
    folder, configured = of(config), config.collector.queue.size
    if not folder.files:
        return config
    room = disk_room(folder.path) - RESERVE
    each = int(room / len(folder.files) / ROOM_ON_DISK)
    if each >= configured:
        return config
    # Steps, so that a little more or less on the disk changes nothing.
    size = LEAST_QUEUE
    while size * 2 <= each:
        size *= 2
    if size > each:
        needed = int(LEAST_QUEUE * len(folder.files) * ROOM_ON_DISK) + RESERVE
        raise InputError(
            f"{folder.path}: expected room for {len(folder.files)} queues of {format_size(LEAST_QUEUE)} at least, "
            f"{needed // 2**20 + 1}MiB, found {max(0, room + RESERVE) // 2**20}MiB: free some, "
            "or put collector.queue.directory on a larger disk"
        )
    size = min(size, configured)
    if size < configured:
        note(
            f"the disk of {folder.path} cannot hold {len(folder.files)} queues of {format_size(configured)} "
            f"(collector.queue.size): each holds {format_size(size)} at most"
        )
    queue = config.collector.queue.model_copy(update={"size": size})
    return config.model_copy(update={"collector": config.collector.model_copy(update={"queue": queue})})


def disk_room(folder: Path) -> int:
    """Return the bytes that queues may have on the folder's disk: what is free, and what they have already."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free + used(folder)


def used(folder: Path) -> int:
    """Return the bytes that a folder has on its disk."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except OSError:
            continue  # the collector may have deleted it meanwhile
    return total


def named(found: Iterable[Queue], name: str) -> Queue:
    """Return the queue of that name, or file. Raises InputError when there is none, or more than one."""
    chosen = [queue for queue in found if name in (queue.name, queue.file.name, str(queue.file))]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise InputError(f"{name}: more than one queue has this name: take {', '.join(q.file.name for q in chosen)}")
    raise InputError(f"{name}: expected a queue of `theodore-otel queue list`")


def move(folder: Folder, source: Queue, target: str) -> Path:
    """Hand what waits in a queue to another destination of the configuration. Returns the file that has it now.

    Raises InputError when a collector uses either, something waits there already, or it is made for another type.
    """
    known = {_name(file)[1]: folder.path / file for file in folder.files}
    if target not in known:
        raise InputError(f"{target}: expected a queue of the configuration: {', '.join(known) or 'there is none'}")
    file = known[target]
    if source.file == file:
        raise InputError(f"{target}: is where it waits already")
    component = _name(file.name)[0]
    if source.name.rpartition("/")[2] != target.rpartition("/")[2]:
        raise InputError(f"{target}: expected a queue for {source.name.rpartition('/')[2]}, as {source.name} is")
    if component != source.component and (component in _SHAPED or source.component in _SHAPED):
        raise InputError(f"{target}: what waits has the shape for {source.component}, and this one takes {component}")
    if source.state == "damaged" or source.state == "set aside":
        raise InputError(f"{source.file}: a damaged queue cannot be sent: theodore-otel queue inspect {source.file}")
    _require_free(source.file)
    if file.exists():
        _require_free(file)
        if count(file).requests:
            raise InputError(f"{target}: something waits there already: let the collector send it first")
    source.file.replace(file)
    return file


def drop(queue: Queue) -> None:
    """Delete a queue and what waits in it. Raises InputError when a collector uses it."""
    _require_free(queue.file)
    queue.file.unlink()


def _look(file: Path, configured: bool) -> Queue | None:
    if file.name.endswith(_SET_ASIDE):
        found = _FILE.match(file.name)
        component, name = _name(found[0]) if found else ("", "")
        return Queue(file, name, component, "set aside", configured=False) if found else None
    if not _FILE.fullmatch(file.name):
        return None
    component, name = _name(file.name)
    if in_use(file):
        return Queue(file, name, component, "in use", configured)
    try:
        counted = count(file)
    except DamagedError as error:
        if not file.stat().st_size:
            return Queue(file, name, component, "empty", configured, Counted(0, 0, 0))
        return Queue(file, name, component, "damaged", configured, trouble=str(error))
    except OSError as error:
        return Queue(file, name, component, "damaged", configured, trouble=str(error.strerror))
    return Queue(file, name, component, "waiting" if counted.requests else "empty", configured, counted)


def _name(file: str) -> tuple[str, str]:
    """Return the exporter's type, and the name of its queue."""
    component, exporter, signal = _FILE.findall(file)[0]
    own = exporter.removesuffix(".AUDIT")
    return component, f"{own}/{signal if own == exporter else 'audit'}"


def in_use(file: Path) -> bool:
    """Say whether a collector holds the file: it locks it as bbolt does."""
    try:
        with file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _require_free(file: Path) -> None:
    if in_use(file):
        raise InputError(f"{file}: a collector uses this queue: end it first (theodore-otel stack down)")


def _reserve(folder: Folder, note: Note) -> None:
    """Have the disk set room apart for the queues of audit records, so that it is never full for them.

    Where a queue cannot note that it has read a request, the collector deletes it. Not every file system can do this.
    """
    size = int(folder.audit_size * ROOM_ON_DISK)
    wanted = [folder.path / name for name in folder.files if name.endswith(".AUDIT_logs")]
    if not (size and wanted):
        return
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o750)
    for file in wanted:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            missing = size - os.fstat(descriptor).st_blocks * 512
            error = _allocate(descriptor, size) if missing > 0 else 0
        finally:
            os.close(descriptor)
        if error == errno.ENOSPC:
            note(f"warning: {folder.path}: no room to reserve for audit records: a full disk may lose some of them")
            return


def _allocate(descriptor: int, size: int) -> int:
    """Give a file blocks beyond its end, which stays where it is. Returns 0, or the error's number."""
    library = ctypes.CDLL(None, use_errno=True)
    allocate = getattr(library, "fallocate", None)
    if allocate is None:
        return errno.ENOTSUP
    failed = allocate(descriptor, _KEEP_SIZE, ctypes.c_longlong(0), ctypes.c_longlong(size))
    return ctypes.get_errno() if failed else 0


def _set_aside(file: Path) -> Path:
    aside = file.with_name(f"{file.name}.{time.strftime('%Y-%m-%dT%H-%M-%S')}{_SET_ASIDE}")
    file.replace(aside)
    return aside


def _pairs(file: Path) -> Iterator[tuple[bytes, memoryview]]:
    try:
        yield from opened(file).pairs()
    except (struct.error, RecursionError, MemoryError) as error:
        raise DamagedError("its pages are destroyed") from error


def _counted(counter: bytes | memoryview) -> Counted:
    values = dict(_fields(memoryview(counter)))
    return Counted(len(_waiting(counter)), _number(values.get(1, 0)), _number(values.get(2, 0)))


def _waiting(counter: bytes | memoryview) -> list[int]:
    """Return the numbers of the requests that wait: those under way, and from the next to read to the next to write."""
    values: dict[int, int] = {}
    under_way: list[int] = []
    for field, value in _fields(memoryview(counter)):
        if field == 5:  # a list of numbers, packed or one by one
            under_way += [value] if isinstance(value, int) else struct.unpack(f"<{len(value) // 8}Q", value)
        else:
            values[field] = _number(value)
    first, last = values.get(3, 0), values.get(4, 0)
    if last < first or last - first > 10**8:
        raise DamagedError("its counters are destroyed")
    return [*under_way, *range(first, last)]


def _records(request: memoryview) -> int:
    """Return how many records an OTLP request holds: in each signal they are the second field of the second field."""
    fields = list(_fields(request))
    if fields and isinstance(fields[0][1], int):  # a version, and the request beside its context
        fields = [(1, group) for number, inside in fields if number == 3 for group in _inner(inside, 1)]
    scopes = [scope for number, group in fields if number == 1 for scope in _inner(group, 2)]
    return sum(1 for scope in scopes for record in _inner(scope, 2) if _whole(record))


def _inner(message: memoryview | int, wanted: int) -> list[memoryview]:
    if not isinstance(message, memoryview):
        raise DamagedError("a request is destroyed")
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, memoryview)]


def _whole(message: memoryview) -> bool:
    """Read a record's fields to the end, which fails where it is destroyed."""
    return all(number for number, _ in _fields(message))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the fields of a protobuf message. Raises DamagedError when it is none."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise DamagedError("a request is destroyed")
        end = place + length
        if end > len(message) or not key >> 3:
            raise DamagedError("a request is destroyed")
        content = message[place:end]
        yield key >> 3, content if kind == 2 else int.from_bytes(content, "little", signed=True)
        place = end


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise DamagedError("a request is destroyed")


def _number(value: memoryview | int) -> int:
    return value if isinstance(value, int) else 0
