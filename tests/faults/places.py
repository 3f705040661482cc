"""Destinations that can be broken, and how their records are read back."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backends import build
from backends.recipes import recipes
from backends.servers import Elasticsearch, Kafka, Server
from standins.http import HttpStandIn, Request
from standins.otlp import REQUESTS, OtlpHttp, records

from faults.ledger import tally

SETTINGS: Mapping[str, Any] = {
    "collector": {"queue": {"size": "64MiB"}},
    "tracing": {"sampling": {"rate": 1.0, "decision_wait": "1s"}},
}


def server(name: str, folder: Path) -> Server:
    """Return a real server that has started."""
    home = build.obtain(recipes()[name], lambda _: None)
    folder.mkdir(parents=True, exist_ok=True)
    made = {"elasticsearch": Elasticsearch, "kafka": Kafka}[name](home, folder)
    made.start()
    return made


def otlp(standin: OtlpHttp, *signals: str) -> dict[str, Any]:
    """Return the destination that is a stand-in for any OTLP endpoint."""
    return {"type": "otlp", "endpoint": standin.url, "protocol": "http", "signals": list(signals or ("logs", "traces"))}


def at_otlp(standin: OtlpHttp, kind: str) -> Counter[int]:
    """Return how often it has each number."""
    signal, key = ("traces", "name") if kind == "traces" else ("logs", "body")
    return tally(kind, (record[key] for record in standin.records(signal)))


def at_elasticsearch(searched: Elasticsearch, kind: str) -> Counter[int]:
    """Return how often it has each number."""
    index, path = ("traces-theodore*", "name") if kind == "traces" else ("logs-theodore*", "body.text")
    searched.send("POST", f"{index}/_refresh?ignore_unavailable=true&allow_no_indices=true")
    page = searched.send(
        "POST", f"{index}/_search?scroll=1m&ignore_unavailable=true", {"size": 5000, "_source": [path]}
    )
    found: Counter[int] = Counter()
    while page["hits"]["hits"]:
        found += tally(kind, (_at(hit["_source"], path) for hit in page["hits"]["hits"]))
        page = searched.send("POST", "_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
    return found


def at_kafka(broker: Kafka, kind: str) -> Counter[int]:
    """Return how often its topics have each number."""
    signal = "traces" if kind == "traces" else "logs"
    key = "name" if kind == "traces" else "body"
    messages = (REQUESTS[signal].FromString(body) for body in _messages(broker, f"theodore.{signal}"))
    return tally(kind, (record[key] for message in messages for record in records(signal, message)))


class Garbled(HttpStandIn):
    """Stands before Elasticsearch and passes everything on; `garbage` is what bulk requests are answered instead."""

    def __init__(self, behind: Elasticsearch) -> None:
        super().__init__()
        self.behind = behind
        self.garbage: bytes | None = None
        self.headers = {"X-Elastic-Product": "Elasticsearch"}

    def take(self, request: Request) -> tuple[int, object]:
        if self.garbage is not None and "_bulk" in request.path:
            return 200, json.loads(self.garbage)
        connection = http.client.HTTPConnection(self.behind.at("http"), timeout=60)
        kind = {"Content-Type": request.headers.get("content-type", "application/json")}
        connection.request(request.method, request.path, request.body or None, kind)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else {}


def telemetry(port: int) -> dict[str, float]:
    """Return the collector's own metrics by series."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def _at(source: Any, path: str) -> object:
    for key in path.split("."):
        source = source.get(key, {}) if isinstance(source, dict) else {}
    return source


def _messages(broker: Kafka, topic: str) -> Iterator[bytes]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.at("broker"), "group.id": "ledger", "enable.auto.commit": False})
    try:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        for number in found.partitions or {}:
            partition = TopicPartition(topic, number, 0)
            _, end = consumer.get_watermark_offsets(partition, timeout=10)
            consumer.assign([partition])
            place = 0
            while place < end:
                message = consumer.poll(10)
                if message is None:
                    break
                if not message.error():
                    place = message.offset() + 1
                    yield message.value()
    finally:
        consumer.close()
