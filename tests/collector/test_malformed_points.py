"""Only points that are known to harm nobody are taken; the others are refused and counted."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from support.collector import Collector, running, wait_for

NOW = time.time_ns()
TIMES = {"time_unix_nano": NOW, "start_time_unix_nano": NOW - 10**9}
COUNT = {**TIMES, "count": 3, "sum": 3.0}
BOUNDED = {**COUNT, "explicit_bounds": [1.0, 2.0], "bucket_counts": [1, 1, 1]}
BUCKETS = {"offset": 0, "bucket_counts": [1, 1]}
EXPONENTIAL = {**COUNT, "scale": 3, "zero_count": 1, "positive": BUCKETS}
# Kind of metric, its temporality, its point.
GOOD: dict[str, tuple[str, int, Mapping[str, Any]]] = {
    "a gauge": ("gauge", 0, {**TIMES, "as_double": 1.5}),
    "a gauge of whole numbers without a start": ("gauge", 0, {"time_unix_nano": NOW, "as_int": -3}),
    "a delta": ("sum", 1, {**TIMES, "as_int": 1}),
    "a total": ("sum", 2, {**TIMES, "as_double": -1.0}),
    "the greatest number": ("gauge", 0, {**TIMES, "as_double": 1.7976931348623157e308}),
    "a histogram": ("histogram", 1, BOUNDED),
    "a histogram of counts only": ("histogram", 2, COUNT),
    "a histogram of one bucket": ("histogram", 2, {**COUNT, "bucket_counts": [3]}),
    "a summary": ("summary", 0, {**COUNT, "quantile_values": [{"quantile": 0.5, "value": 1.0}]}),
}
BAD: dict[str, tuple[str, int, Mapping[str, Any]]] = {
    **{f"{number}": ("gauge", 0, {**TIMES, "as_double": number}) for number in (math.nan, math.inf, -math.inf)},
    "a sum that is no number": ("sum", 1, {**TIMES, "as_double": math.nan}),
    "without a time": ("gauge", 0, {"as_int": 1}),
    "beyond all times": ("gauge", 0, {"time_unix_nano": 2**63 + 1, "as_int": 1}),
    "from the future": ("gauge", 0, {"time_unix_nano": NOW + 10**15, "as_int": 1}),
    "that starts after it ends": ("sum", 1, {**TIMES, "start_time_unix_nano": NOW + 1, "as_int": 1}),
    "a sum of no temporality": ("sum", 0, {**TIMES, "as_int": 1}),
    "a sum of a temporality nobody knows": ("sum", 3, {**TIMES, "as_int": 1}),
    "a histogram of no temporality": ("histogram", 0, BOUNDED),
    "bounds that are not sorted": ("histogram", 1, {**BOUNDED, "explicit_bounds": [2.0, 1.0]}),
    "a bound that is no number": ("histogram", 1, {**BOUNDED, "explicit_bounds": [1.0, math.nan]}),
    "an infinite bound": ("histogram", 1, {**BOUNDED, "explicit_bounds": [1.0, math.inf]}),
    "a bound below all": ("histogram", 1, {**BOUNDED, "explicit_bounds": [-math.inf, 1.0]}),
    "counts without bounds": ("histogram", 1, {**BOUNDED, "explicit_bounds": []}),
    "bounds without counts": ("histogram", 1, {**BOUNDED, "bucket_counts": []}),
    "too many bounds": ("histogram", 1, {**COUNT, "explicit_bounds": range(1000), "bucket_counts": [1] * 1001}),
    "a count beyond all": ("histogram", 1, {**BOUNDED, "count": 2**64 - 1}),
    "a bucket beyond all": ("histogram", 1, {**BOUNDED, "bucket_counts": [1, 2**63, 1]}),
    "a histogram whose sum is no number": ("histogram", 1, {**BOUNDED, "sum": math.nan}),
    "a summary whose sum is no number": ("summary", 0, {**COUNT, "sum": math.inf}),
    "a summary of a thousand quantiles": ("summary", 0, {**COUNT, "quantile_values": [{"quantile": 0.5}] * 1000}),
    "a delta of an exponential histogram": ("exponential_histogram", 1, EXPONENTIAL),
    **{
        f"an exponential histogram with {list(odd)}": ("exponential_histogram", 2, {**EXPONENTIAL, **odd})
        for odd in (
            {"scale": -11}, {"scale": 21}, {"zero_count": 2**63}, {"zero_count": 4}, {"count": 2**63},
            {"positive": {"offset": 10**4, "bucket_counts": [1]}}, {"negative": {"offset": -(2**31)}},
            {"positive": {"offset": 0, "bucket_counts": [1] * 1001}}, {"negative": {"bucket_counts": [2**63]}},
            {"sum": math.nan},
        )
    },
}  # fmt: skip
FAR = {"offset": 10**9, "bucket_counts": [2]}
EXPONENTIAL_GOOD = {
    "an exponential histogram": ("exponential_histogram", 2, EXPONENTIAL),
    "of any zero threshold": ("exponential_histogram", 2, {**EXPONENTIAL, "zero_threshold": 0.5}),
    "of a coarse scale": ("exponential_histogram", 2, {**EXPONENTIAL, "scale": -4}),
    "of a fine scale": ("exponential_histogram", 2, {**EXPONENTIAL, "scale": 20, "positive": FAR}),
}  # fmt: skip


def one(name: str, kind: str, temporality: int, point: Mapping[str, Any]) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    data = getattr(metric, kind)
    if temporality or kind not in ("gauge", "summary"):
        data.aggregation_temporality = temporality
    data.data_points.add(**point)
    return request.SerializeToString()


@pytest.fixture(scope="module", params=[False, True], ids=["without exponential", "with exponential"])
def collector(tmp_path_factory, request):
    configuration = {
        "profile": "local",
        "metrics": {"exponential_histograms": request.param},
        "destinations": {"scrape": {"type": "prometheus"}},
    }
    with running(tmp_path_factory.mktemp("points"), configuration, ["acme"]) as started:
        yield started, request.param


def refused(collector: Collector) -> float:
    return collector.prometheus("telemetry").get(
        'otelcol_processor_filter_datapoints_filtered{filter="filter/malformed"}', 0
    )


def arrived(collector: Collector) -> set[str]:
    return {
        metric["name"]
        for request in collector.received("metrics")
        for group in request["resourceMetrics"]
        for scope in group["scopeMetrics"]
        for metric in scope["metrics"]
    }


@pytest.mark.case("points_that_end_the_collector")
def test_good_points_arrive_and_all_others_are_refused_and_counted(collector):
    running_one, exponential = collector
    good = GOOD | (EXPONENTIAL_GOOD if exponential else {})
    bad = BAD | ({} if exponential else EXPONENTIAL_GOOD)
    before = refused(running_one)
    for name, (kind, temporality, point) in (bad | good).items():
        assert running_one.post("metrics", one(name, kind, temporality, point), "acme.1") == 200
    assert running_one.post("metrics", one("", "gauge", 0, {**TIMES, "as_int": 1}), "acme.1") == 200
    assert running_one.post("metrics", one("n" * 1001, "gauge", 0, {**TIMES, "as_int": 1}), "acme.1") == 200
    wait_for(lambda: good.keys() <= arrived(running_one), otherwise=lambda: good.keys() - arrived(running_one))
    assert arrived(running_one) & {*bad, "", "n" * 1001} == set()
    wait_for(lambda: refused(running_one) == before + len(bad) + 2, otherwise=lambda: refused(running_one))
    assert any("a_gauge" in series for series in running_one.prometheus())


@pytest.mark.case("points_that_end_the_collector")
def test_points_that_ended_what_adds_them_up_do_no_harm(collector):
    running_one, _ = collector
    for scale in (-11, -1, 0, 20):
        for number, threshold in enumerate((0.0, 1.0, 0.5, 1e300, math.inf, math.nan, -1.0)):
            for temporality in (1, 2):
                times = {"time_unix_nano": NOW + number, "start_time_unix_nano": NOW - 10**9}
                point = {**EXPONENTIAL, **times, "scale": scale, "zero_threshold": threshold}
                body = one("deadly", "exponential_histogram", temporality, point)
                assert running_one.post("metrics", body, "acme.1") == 200
    assert running_one.send_gauge("after", 1, {}, "acme.1") == 200
    wait_for(lambda: "after" in arrived(running_one), otherwise=running_one.said)
    assert running_one.prometheus()
