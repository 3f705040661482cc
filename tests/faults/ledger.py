"""Senders that number what they send and remember what was answered, and the balance with what arrived."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Client, fill

from theodore_otel.conventions import names

KINDS = ("logs", "audit", "traces")
"""Ordinary log records, audit records, and spans."""


@dataclass
class Load:
    """Sends records of one kind at a rate, each once, and keeps which were answered with 200."""

    client: Client
    kind: str
    rate: float
    """Records a second."""
    batch: int = 10
    size: int = 200
    """Bytes of text in each."""
    patience: float = 60
    """Seconds it waits for an answer."""
    credential: str = "acme.1"
    first: int = 0
    """The first number: what an earlier load has sent stays apart."""
    sent: int = 0
    acknowledged: set[int] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(self.patience + 5)

    def send(self) -> bool:
        """Send one request; return whether it was acknowledged."""
        with self._lock:
            numbers = range(self.first + self.sent, self.first + self.sent + self.batch)
            self.sent += self.batch
        status = self._post(self.body(numbers))
        with self._lock:
            self.answers[status] += 1
            if status == "200":
                self.acknowledged.update(numbers)
        return status == "200"

    def body(self, numbers: Iterable[int]) -> bytes:
        """Return the request that holds these numbers."""
        return (_spans if self.kind == "traces" else _logs)(self, numbers).SerializeToString()

    def _run(self) -> None:
        pause = self.batch / self.rate * len(self._threads)
        following = time.monotonic()
        while not self._over.wait(max(0.0, following - time.monotonic())):
            following = max(following + pause, time.monotonic() - 1)
            self.send()

    def _post(self, body: bytes) -> str:
        signal = "traces" if self.kind == "traces" else "logs"
        connection = http.client.HTTPConnection("127.0.0.1", self.client.ports["http"], timeout=self.patience)
        headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": self.client.authorization(self.credential),
        }
        try:
            connection.request("POST", f"/v1/{signal}", body, headers)
            answer = connection.getresponse()
            partial = b"reject" in answer.read().lower()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        return "partial" if partial else str(answer.status)


def text(kind: str, number: int) -> str:
    """Return what names one record at a destination."""
    return f"{kind} {number} end"


def tally(kind: str, texts: Iterable[object]) -> Counter[int]:
    """Return how often each number of a kind is among the texts."""
    found: Counter[int] = Counter()
    for each in texts:
        words = str(each).split(None, 3)
        if len(words) >= 3 and words[0] == kind and words[1].isdigit() and words[2] == "end":
            found[int(words[1])] += 1
    return found


@dataclass(frozen=True)
class Balance:
    """What became of one kind of records at one destination."""

    fault: str
    records: str
    destination: str
    sent: int
    acknowledged: int
    delivered: int
    doubled: int
    lost: int
    promise: str = "kept"
    """What is promised: `kept`: nothing acknowledged is lost; `once`: that, and nothing is doubled; `counted`: what is
    lost is counted; `told`: it is a loss that is documented."""
    counted: int | None = None
    """What the collector says that it did not keep."""

    @property
    def broken(self) -> str:
        """Return how the promise was broken; empty when it was kept."""
        if self.promise in ("kept", "once") and self.lost:
            return f"lost {self.lost}"
        if self.promise in ("once", "counted") and self.doubled:
            return f"doubled {self.doubled}"
        if self.promise == "counted" and self.counted != self.lost:
            return f"lost {self.lost}, counted {self.counted}"
        return ""


def balance(fault: str, load: Load, destination: str, found: Counter[int], **more: Any) -> Balance:
    """Return the balance of a load with what a destination has of it."""
    mine = {n: count for n, count in found.items() if load.first <= n < load.first + load.sent}
    return Balance(
        fault,
        load.kind,
        destination,
        load.sent,
        len(load.acknowledged),
        len(load.acknowledged & mine.keys()),
        sum(mine.values()) - len(mine),
        len(load.acknowledged - mine.keys()),
        **more,
    )


def _text(load: Load, number: int) -> str:
    return f"{text(load.kind, number)} {'and more ' * (load.size // 9)}"


def _attributes(load: Load, number: int) -> Mapping[str, Any]:
    if load.kind != "audit":
        return {}
    return {names.CATEGORY: "audit", "audit.id": f"{load.first:032x}-{number + 1}"}


def _logs(load: Load, numbers: Iterable[int]) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    fill(group.resource.attributes, {"service.name": "theodore-v2"})
    scope = group.scope_logs.add()
    for number in numbers:
        added = scope.log_records.add(severity_number=13, time_unix_nano=time.time_ns())
        added.body.string_value = _text(load, number)
        fill(added.attributes, _attributes(load, number))
    return request


def _spans(load: Load, numbers: Iterable[int]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    fill(group.resource.attributes, {"service.name": "theodore-v2"})
    scope = group.scope_spans.add()
    now = time.time_ns()
    for number in numbers:
        added = scope.spans.add(
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            name=text(load.kind, number),
            kind=1,
            start_time_unix_nano=now - 10**7,
            end_time_unix_nano=now,
        )
        fill(added.attributes, {"note": _text(load, number)})
    return request
