"""The quickest of the faults, and that the table notices what is broken."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standins.otlp import OtlpHttp
from support.collector import wait_for

from faults import places
from faults.ledger import Balance, Load, balance
from faults.rows import FAULTS, collecting


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (Balance("", "audit", "", 9, 9, 8, 0, 1), "lost 1"),
        (Balance("", "audit", "", 9, 9, 9, 2, 0), ""),
        (Balance("", "audit", "", 9, 9, 9, 2, 0, promise="once"), "doubled 2"),
        (Balance("", "logs", "", 9, 9, 5, 0, 4, promise="counted", counted=3), "lost 4, counted 3"),
        (Balance("", "logs", "", 9, 9, 5, 0, 4, promise="counted", counted=4), ""),
        (Balance("", "logs", "", 9, 9, 5, 0, 4, promise="told"), ""),
    ],
)
def test_a_broken_promise_is_told(fault, broken):
    assert fault.broken == broken


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("full", marks=pytest.mark.case("full_queue_multiplies")),
        pytest.param("renamed", marks=pytest.mark.case("queue_left_behind")),
        pytest.param("damaged", marks=pytest.mark.case("damaged_queue")),
    ],
)
def test_every_promise_is_kept(name, tmp_path):
    found = list(FAULTS[name](tmp_path))
    assert found
    assert [(each, each.broken) for each in found if each.broken] == []


@pytest.mark.case("request_beyond_queue")
def test_the_largest_request_holds_up_nobody(tmp_path):
    with OtlpHttp({}) as endpoint, collecting(tmp_path, {"it": places.otlp(endpoint)}) as collector:
        big = Load(collector, "traces", 1, batch=1900, size=2030)
        body = big.body(range(10**6, 10**6 + 1900))
        assert 39 * 10**5 < len(ExportTraceServiceRequest.FromString(body).SerializeToString()) < 4 * 2**20
        assert collector.post("traces", body, "acme.1") == 200
        other = Load(collector, "traces", 1, batch=20)
        assert all(other.send() for _ in range(5))
        wait_for(lambda: len(places.at_otlp(endpoint, "traces")) == 2000, 60, collector.said)
        found = places.at_otlp(endpoint, "traces")
        assert balance("", other, "it", found, promise="once").broken == ""
        assert set(found.values()) == {1}
        assert isinstance(found, Counter)
