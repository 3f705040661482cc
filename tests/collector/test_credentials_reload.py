"""A running collector takes up changed credentials on SIGHUP: what that means for senders, and what it loses."""

from __future__ import annotations

import os
import signal
import threading
from http.client import HTTPException

import pytest
from support.collector import Collector, Span, beside_an_error, running, wait_for

from theodore_otel.otelcol import credentials

SCRAPED = {"type": "prometheus"}
KEEP_ERRORS = {"rate": 0.0, "decision_wait": "1s"}


def configuration(**sampling):
    return {"profile": "local", "tracing": {"sampling": sampling}, "destinations": {"scrape": SCRAPED}}


def reload(collector: Collector) -> None:
    ready = collector.log.read_text().count("Everything is ready")
    os.kill(collector._process.pid, signal.SIGHUP)
    wait_for(lambda: collector.log.read_text().count("Everything is ready") > ready, 30, collector.log.read_text)


def changed(collector: Collector, change, name: str) -> None:
    """Change the credentials file as `theodore-otel tenant` does."""
    made = change(collector.home / "credentials.htpasswd", name)
    if isinstance(made, credentials.Credential):
        collector.tokens[made.name] = made.token


def answers(collector: Collector, *names: str) -> list[int]:
    return [collector.send_logs([(9, f"from {name}", {})], name) for name in names]


def names(collector: Collector) -> set[str]:
    return {span["name"] for _, span in collector.spans()}


@pytest.fixture
def collector(tmp_path):
    with running(tmp_path, configuration(**KEEP_ERRORS), ["acme"]) as started:
        yield started


def test_a_new_tenant_is_known_after_the_reload_and_not_before(collector):
    changed(collector, credentials.add, "globex")
    assert answers(collector, "acme.1", "globex.1") == [200, 401]
    reload(collector)
    assert answers(collector, "acme.1", "globex.1") == [200, 200]
    wait_for(lambda: {r["tenant.id"] for r, _ in collector.logs()} == {"acme", "globex"}, otherwise=collector.logs)


def test_two_credentials_of_a_tenant_overlap_until_the_old_one_is_removed(collector):
    changed(collector, credentials.rotate, "acme")
    reload(collector)
    assert answers(collector, "acme.1", "acme.2") == [200, 200]
    changed(collector, credentials.remove, "acme.1")
    assert answers(collector, "acme.1", "acme.2") == [200, 200]
    reload(collector)
    assert answers(collector, "acme.1", "acme.2") == [401, 200]
    wait_for(lambda: len(collector.logs()) == 5, otherwise=collector.logs)
    assert {resource["tenant.id"] for resource, _ in collector.logs()} == {"acme"}


def test_no_record_that_was_answered_is_lost_while_senders_go_on_through_reloads(collector):
    answered, done = [], threading.Event()

    def send(sender: int) -> None:
        number = 0
        while not done.is_set():
            marker = f"{sender}-{number}"
            try:
                status = collector.send_logs([(9, marker, {})], "acme.1")
            except (OSError, HTTPException):
                continue  # nobody listens for a moment: sent again
            if status == 200:
                answered.append(marker)
                number += 1

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(3):
            before = len(answered)
            wait_for(lambda before=before: len(answered) > before + 20)
            reload(collector)
    finally:
        done.set()
        for sender in senders:
            sender.join()

    def arrived() -> set[str]:
        return {record["body"]["stringValue"] for _, record in collector.logs()}

    wait_for(lambda: set(answered) <= arrived(), otherwise=lambda: sorted(set(answered) - arrived()))


def test_traces_that_are_not_decided_on_are_decided_early_and_not_lost(tmp_path):
    with running(tmp_path, configuration(rate=0.0, decision_wait="600s"), ["acme"]) as collector:
        collector.send_spans(beside_an_error("held"), "acme.1")
        assert "held" not in names(collector)
        reload(collector)
        wait_for(lambda: names(collector) == {"held", "held: why"}, otherwise=collector.spans)


def test_what_was_decided_is_forgotten_so_that_later_spans_are_decided_on_by_themselves(collector):
    trace = os.urandom(16)
    collector.send_spans([Span("failed", trace=trace, error=True), Span("beside", trace=trace)], "acme.1")
    wait_for(lambda: names(collector) == {"failed", "beside"}, otherwise=collector.spans)
    collector.send_spans([Span("soon after", trace=trace)], "acme.1")
    wait_for(lambda: "soon after" in names(collector), otherwise=collector.spans)
    reload(collector)
    collector.send_spans([Span("after the reload", trace=trace)], "acme.1")
    collector.send_spans(beside_an_error("decided later"), "acme.1")
    wait_for(lambda: "decided later" in names(collector), otherwise=collector.spans)
    assert "after the reload" not in names(collector)


def test_counted_metrics_begin_at_zero(collector):
    def counted() -> float:
        return sum(value for key, value in collector.prometheus().items() if key.startswith("theodore_log_records"))

    for total in (1, 2):
        collector.send_logs([(9, "counted", {})], "acme.1")
        wait_for(lambda total=total: counted() == total, otherwise=collector.prometheus)
    reload(collector)
    assert counted() == 0
    collector.send_logs([(9, "counted", {})], "acme.1")
    wait_for(lambda: counted() == 1, otherwise=collector.prometheus)
