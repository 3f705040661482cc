"""Traces in Zipkin's API, two destinations of the type."""

from __future__ import annotations

import pytest
from destinations.kit import (
    KILLED,
    OWNERS,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_survives,
    send_span,
)
from standins.zipkin import Zipkin
from support.collector import running, wait_for


@pytest.fixture(scope="module")
def zipkins():
    with Zipkin() as first, Zipkin() as second:
        yield first, second
        assert first.wrong + second.wrong == []


@pytest.fixture(scope="module")
def collector(zipkins, tmp_path_factory):
    named = {
        name: {"type": "zipkin", "endpoint": f"{zipkin.url}/api/v2/spans"}
        for name, zipkin in zip(("near", "far"), zipkins, strict=True)
    }
    with running(tmp_path_factory.mktemp("zipkin"), configuration(**named), OWNERS) as started:
        yield started


def test_a_span_arrives_at_both_redacted_and_with_its_tenant(zipkins, collector):
    send_span(collector, "readable")
    for zipkin in zipkins:
        (span,) = wait_for(lambda zipkin=zipkin: zipkin.spans, otherwise=collector.said)
        assert (span["name"], span["kind"], span["localEndpoint"]) == ("readable", "SERVER", {"serviceName": SERVICE})
        assert {**REDACTED, "tenant.id": "acme"}.items() <= span["tags"].items()
        require_no_secret(str(span))


@KILLED
def test_spans_wait_on_disk_while_one_is_down_and_the_other_is_served(zipkins, collector, killed):
    near, far = zipkins
    require_survives(collector, far, send_span, lambda: names(far), killed=killed)
    wait_for(lambda: set(names(near)) >= set(names(far)), otherwise=collector.said)


def names(zipkin: Zipkin) -> list[str]:
    return [span["name"] for span in zipkin.spans]


def test_spans_arrive_once_it_no_longer_answers_503(zipkins, collector):
    near, _ = zipkins
    near.answer(503)
    send_span(collector, "refused at first")
    wait_for(lambda: near.refused, otherwise=collector.said)
    near.answer(None)
    wait_for(lambda: "refused at first" in names(near), 30, collector.said)
