"""All signals in topics of a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from destinations.kit import (
    KILLED,
    METRIC,
    OWNERS,
    REDACTED,
    configuration,
    require_no_secret,
    require_secret_stays_inside,
    require_survives,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.otlp import REQUESTS, records
from support.collector import running, wait_for

TOPICS = {"traces": "theodore.traces", "logs": "theodore.logs", "metrics": "theodore.metrics"}


@pytest.fixture(scope="module")
def collector(kafka, tmp_path_factory):
    destination = {"type": "kafka", "brokers": [kafka.at("broker")], "topics": TOPICS}
    with running(tmp_path_factory.mktemp("kafka"), configuration(kafka=destination), OWNERS) as started:
        yield started


def read(kafka, signal: str) -> list:
    """Return every OTLP request of a topic, from its beginning to its end."""
    settings = {
        "bootstrap.servers": kafka.at("broker"),
        "group.id": "tests",
        "enable.partition.eof": True,
        "log_level": 0,
    }
    consumer = Consumer(settings)
    topic = TOPICS[signal]
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        return list(_to_the_end(consumer, signal, len(partitions)))
    finally:
        consumer.close()


def _to_the_end(consumer: Consumer, signal: str, open_partitions: int) -> Iterator:
    while open_partitions and (message := consumer.poll(10)) is not None:
        if message.error():
            open_partitions -= 1
        else:
            yield REQUESTS[signal].FromString(message.value())


def found(kafka, signal: str) -> list[dict]:
    return [record for request in read(kafka, signal) for record in records(signal, request)]


def test_what_a_tenant_sends_is_readable_redacted_and_with_its_tenant(kafka, collector):
    for send in (send_span, send_log, send_gauge):
        send(collector, "readable")

    def of(signal, key, value):
        return wait_for(lambda: [record for record in found(kafka, signal) if record[key] == value], 30, collector.said)

    (span,) = of("traces", "name", "readable")
    (log,) = of("logs", "body", text_of("readable"))
    (metric,) = of("metrics", "name", METRIC)
    assert REDACTED.items() <= span["attributes"].items()
    assert REDACTED.items() <= log["attributes"].items()
    assert (metric["value"], metric["attributes"]["tenant"]) == (3.0, "acme")
    assert [record["resource"]["tenant.id"] for record in (span, log, metric)] == ["acme"] * 3
    require_no_secret(str([read(kafka, signal) for signal in TOPICS]))


@KILLED
def test_log_records_wait_on_disk_while_it_is_down(kafka, collector, killed):
    def arrived():
        return [str(record["body"]).partition(" ")[0] for record in found(kafka, "logs")]

    require_survives(collector, kafka, send_log, arrived, killed=killed)


def test_it_logs_in_where_that_is_wanted(kafka, tmp_path):
    sasl = {"mechanism": "PLAIN", "username": {"env": "KAFKA_USER"}, "password": {"env": "KAFKA_PASSWORD"}}
    destination = {"type": "kafka", "brokers": [kafka.at("login")], "topics": TOPICS, "sasl": sasl}
    environment = {"KAFKA_USER": kafka.USER, "KAFKA_PASSWORD": kafka.PASSWORD}
    with running(tmp_path, configuration(kafka=destination), OWNERS, environment) as collector:
        send_log(collector, "logged-in")
        wanted = text_of("logged-in")
        wait_for(lambda: wanted in [each["body"] for each in found(kafka, "logs")], 30, collector.said)
        require_secret_stays_inside(collector, kafka.PASSWORD)
