"""What the collector says about itself: its health endpoint and the Prometheus text of its self-telemetry."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from theodore_otel.query.http import NoAnswerError, get

_TIMEOUT = 3.0
_OWN_CHECKS = "httpcheck"
_SOON = 60.0
"""Seconds after a start in which nothing has to be sent yet."""
_FULL = "file/full."
"""Begins the names of what counts what full queues left out."""
_LONGEST_LINE = 10_000
_MOST = 2.0**63
_LONGEST_UPTIME = 100 * 365 * 86_400
_SAMPLE = re.compile(r"^(?:otelcol_)?(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'[,\s]*(\w+)="((?:[^"\\]|\\.)*)"')
_SIGNALS = {"spans": "spans", "log_records": "logs", "logs": "logs", "metric_points": "metric points"}
_SIGNALS |= {"datapoints": "metric points"}
_FILTERED = {
    "filter/tenant": "credential without a tenant",
    "filter/service": "tenant not on the service's list",
}
_THERE_ALREADY = "version_conflict_engine_exception"
"""How Elasticsearch refuses an audit record that is sent twice."""
_REFUSED = {
    "http_server_request_duration_count": ("http_response_status_code", "401"),
    "rpc_server_duration_count": ("rpc_grpc_status_code", "16"),
}


@dataclass
class Exporter:
    """One exporter since the collector's start."""

    sent: Counter[str] = field(default_factory=Counter)
    """By spans, logs, metric points."""
    failed: Counter[str] = field(default_factory=Counter)
    """Could not be sent."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Left out because its queue was full."""
    queue: float | None = None
    """What waits in the queue, in the queue's unit; None without a queue."""
    capacity: float | None = None

    def stuck(self, uptime: float | None) -> str:
        """Return what is wrong with one that has sent nothing although something waits; empty when nothing is."""
        if not self.queue or any(self.sent.values()) or (uptime or 0) < _SOON:
            return ""
        return f"has sent nothing, and {self.queue:,.0f} bytes wait"


@dataclass
class CollectorStatus:
    """One collector as it sees itself."""

    answers: bool = False
    """Whether anybody listens at the health endpoint."""
    healthy: bool = False
    uptime: float | None = None
    """Seconds."""
    telemetry: bool = False
    """Whether its own metrics could be read; without them the counts below are empty."""
    accepted: Counter[str] = field(default_factory=Counter)
    """By spans, logs, metric points, since its start."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused for lack of memory or because a destination is full, by signal; senders try again."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Thrown away for what it was, by reason: no tenant, a tenant not listed, a wrong credential."""
    exporters: dict[str, Exporter] = field(default_factory=dict)
    refused_documents: Counter[str] = field(default_factory=Counter)
    """What Elasticsearch refused one by one, by the type of error; exporters count these as sent."""
    open_documents: int = 0
    """What Elasticsearch was given and has not answered for: under way, or lost where nothing is."""

    @property
    def unanswered_documents(self) -> int:
        """Return how many documents were lost because something answered 200 in Elasticsearch's place."""
        waiting = any(exporter.queue for name, exporter in self.exporters.items() if name.startswith("elasticsearch"))
        return 0 if waiting else max(self.open_documents, 0)


def ask(health: str, telemetry: str) -> CollectorStatus:
    """Ask the collector at two `host:port` addresses how it is. Whatever does not answer is said in the result."""
    status = CollectorStatus()
    code, _ = _get(f"http://{health}/")
    status.answers, status.healthy = code is not None, code == 200
    code, text = _get(f"http://{telemetry}/metrics")
    if code == 200:
        for name, labels, value in _samples(text):
            _note(status, name, labels, value)
        # Whoever else answers there has nothing of that name.
        status.telemetry = "\notelcol_process_uptime" in f"\n{text}"
        _assign_left_out(status)
    return status


def _get(url: str) -> tuple[int | None, str]:
    try:
        answer = get(url, _TIMEOUT)
    except NoAnswerError:
        return None, ""
    return answer.status, answer.body.decode("utf-8", "replace")


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = _SAMPLE.match(line) if len(line) <= _LONGEST_LINE else None
        if match and (value := _number(match[3])) is not None:
            yield match[1], _labels(match[2] or ""), value


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while match := _LABEL.match(text, at):
        labels[match[1]] = match[2]
        at = match.end()
    return labels


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < _MOST else None


def _note(status: CollectorStatus, name: str, labels: dict[str, str], value: float) -> None:
    if name == "process_uptime":
        status.uptime = value if 0 <= value < _LONGEST_UPTIME else None
    elif labels.get("receiver") == _OWN_CHECKS:
        return  # nobody sent it
    elif match := re.fullmatch(r"receiver_(accepted|refused|failed)_(\w+)", name):
        counted = status.accepted if match[1] == "accepted" else status.refused
        counted[_SIGNALS.get(match[2], match[2])] += int(value)
    elif match := re.fullmatch(r"processor_filter_(\w+)_filtered", name):
        reason = _FILTERED.get(labels.get("filter", ""))
        if reason:
            status.rejected[reason] += int(value)
    elif name in _REFUSED and _REFUSED[name] in labels.items():
        status.rejected["wrong credential (requests)"] += int(value)
    elif name == "elasticsearch_docs_received":
        status.open_documents += int(value)
    elif name == "elasticsearch_docs_processed":
        status.open_documents -= int(value)
        if labels.get("error_type", _THERE_ALREADY) != _THERE_ALREADY:
            status.refused_documents[labels["error_type"]] += int(value)
    elif match := re.fullmatch(r"exporter_(\w+)", name):
        _note_exporter(status.exporters.setdefault(labels.get("exporter", "?"), Exporter()), match[1], value)


def _assign_left_out(status: CollectorStatus) -> None:
    """Tell what full queues left out with the exporters whose queues they are."""
    for name in [name for name in status.exporters if name.startswith(_FULL)]:
        left_out = status.exporters.pop(name).sent
        for other, exporter in status.exporters.items():
            if other.partition("/")[2] == name.removeprefix(_FULL):
                exporter.dropped += left_out


def _note_exporter(exporter: Exporter, name: str, value: float) -> None:
    if name == "queue_size":
        exporter.queue = (exporter.queue or 0) + value
    elif name == "queue_capacity":
        exporter.capacity = (exporter.capacity or 0) + value
    elif match := re.fullmatch(r"(sent|send_failed)_(\w+)", name):
        counted = exporter.sent if match[1] == "sent" else exporter.failed
        counted[_SIGNALS.get(match[2], match[2])] += int(value)
