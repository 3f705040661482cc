"""Which traces and log records are kept."""

from __future__ import annotations

import os

import pytest
from support.collector import Span, running, wait_for

from theodore_otel.conventions import names

CONFIGURATION = {
    "profile": "local",
    "tracing": {"sampling": {"rate": 0.1, "slow": {"storage": "1s"}}},
    "logging": {"sampling": {"INFO": 0.25, "DEBUG": 0.0}},
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sampling"), CONFIGURATION, ["acme"]) as started:
        yield started


def test_all_errors_and_slow_ones_are_kept_whole_and_the_rest_at_the_rate(collector):
    def trace(kind: str) -> list[Span]:
        trace_id = os.urandom(16)
        slow = {names.OPERATION_TYPE: "storage"}
        last = {
            "error": Span("error", trace=trace_id, error=True),
            "slow": Span("slow", slow, trace=trace_id, seconds=1.5),
            "fast": Span("fast", slow, trace=trace_id, seconds=0.5),
        }[kind]
        return [Span(f"{kind} first", trace=trace_id), Span(f"{kind} second", trace=trace_id), last]

    spans = [
        span
        for kind, count in (("error", 40), ("slow", 40), ("fast", 1000))
        for _ in range(count)
        for span in trace(kind)
    ]
    for start in range(0, len(spans), 300):
        collector.send_spans(spans[start : start + 300], "acme.1")

    def count(name: str) -> int:
        return sum(span["name"] == name for _, span in collector.spans())

    wait_for(
        lambda: count("error") == 40 and count("slow") == 40 and count("fast") > 50, otherwise=lambda: count("fast")
    )
    # 1,000 at 0.1 have a standard deviation of 9.5: five of them leave one wrong alarm in millions.
    assert 52 <= count("fast") <= 148
    for kind in ("error", "slow", "fast"):
        assert count(f"{kind} first") == count(f"{kind} second") == count(kind)


def test_logs_below_warn_are_sampled_and_warn_audit_and_security_never(collector):
    records = [(9, "info", {})] * 800 + [(5, "debug", {})] * 200 + [(13, "warn", {})] * 100
    records += [(9, "audit", {names.CATEGORY: "audit"})] * 100 + [(5, "security", {names.CATEGORY: "security"})] * 100
    # A client cannot keep its records, or have audit records dropped, by sending the sampler's own attributes.
    records += [(5, "forged", {"theodore.sampling.percent": 100, "sampling.priority": 100})] * 50
    collector.send_logs(records, "acme.1")

    def count(body: str) -> int:
        return sum(record["body"]["stringValue"] == body for _, record in collector.logs())

    wait_for(lambda: (count("warn"), count("audit"), count("security")) == (100, 100, 100))
    # 800 at 0.25 have a standard deviation of 12.2.
    assert 139 <= count("info") <= 261
    assert count("debug") == 0
    assert count("forged") == 0
    assert not [key for _, record in collector.logs() for key in record["attributes"] if key.startswith("theodore.s")]


def test_severity_and_category_have_one_spelling(collector):
    collector.send_logs([(21, "s1", {names.CATEGORY: "nonsense"}), (17, "s2", {names.CATEGORY: "security"})], "acme.1")

    def found() -> dict[str, tuple[str, str]]:
        logs = [record for _, record in collector.logs() if record["body"]["stringValue"] in ("s1", "s2")]
        return {r["body"]["stringValue"]: (r["severityText"], r["attributes"][names.CATEGORY]) for r in logs}

    wait_for(lambda: len(found()) == 2, otherwise=collector.logs)
    assert found() == {"s1": ("CRITICAL", "system"), "s2": ("ERROR", "security")}
