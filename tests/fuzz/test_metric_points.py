"""Random points of metrics, as one tenant: the collector lives, stays small, and a neighbour's good points arrive."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from support.collector import Collector, running, set_value, wait_for
from support.fuzzing import rounds

EXPONENTIAL = pytest.mark.parametrize("exponential", [False, True], ids=["without exponential", "with exponential"])
INT32 = (0, 1, -1, 2, -11, -10, 20, 21, 2**31 - 1, -(2**31), 1000, -1000)
UINT64 = (0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-320, 1e308, -1e308, math.inf, -math.inf, math.nan, 2.0**40)
NAMES = ("", "a", "good.one", "a b", "ä", "x" * 300, "theodore.requests", "\x02", "0", "_")


class Points:
    """Makes requests from a random number generator: some as libraries make them, most with something odd."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = time.time_ns()

    def request(self) -> bytes:
        """Return a request as bytes, now and then with some of them changed."""
        request = ExportMetricsServiceRequest()
        scope = request.resource_metrics.add().scope_metrics.add()
        for _ in range(self.random.randint(1, 6)):
            self.metric(scope.metrics.add())
        body = bytearray(request.SerializeToString())
        if body and self.random.random() < 0.1:
            for _ in range(self.random.randint(1, 3)):
                body[self.random.randrange(len(body))] = self.random.randrange(256)
        return bytes(body)

    def metric(self, metric: Any) -> None:
        # Few names and labels, so that points of one series follow each other.
        metric.name = self.random.choice(NAMES)
        metric.unit, metric.description = self.odd(("", "s", "{x}", "\x01")), self.odd(("", "d" * 5000))
        kind = self.random.choice(("gauge", "sum", "histogram", "exponential_histogram", "summary"))
        data = getattr(metric, kind)
        if kind in ("sum", "histogram", "exponential_histogram"):
            data.aggregation_temporality = self.random.choice((1, 1, 1, 2, 2, 0, 7))
        if kind == "sum":
            data.is_monotonic = self.random.random() < 0.5
        for _ in range(self.random.randint(1, 4)):
            point = data.data_points.add()
            point.time_unix_nano = self.odd((self.tick(),) * 12 + UINT64)
            point.start_time_unix_nano = self.odd((self.now - 10**9,) * 12 + UINT64)
            point.flags = self.odd((0,) * 9 + (1, 2**32 - 1))
            for key in ("k", "tenant", "deep")[: self.random.randrange(4)]:
                value = self.odd(("v", "", 1, math.nan, None, [[[{}]]], "x" * 2000))
                set_value(point.attributes.add(key=key).value, value)
            self.fill(kind, point)

    def fill(self, kind: str, point: Any) -> None:
        if kind in ("gauge", "sum"):
            if self.random.random() < 0.6:
                point.as_double = self.odd(FLOATS)
            elif self.random.random() < 0.9:
                point.as_int = self.odd((0, 1, -1, 2**63 - 1, -(2**63)))
            return
        point.count = self.odd((3, 3, 3, *UINT64))
        point.sum = self.odd((3.0, *FLOATS))
        if kind == "histogram":
            bounds = [self.odd(FLOATS) for _ in range(self.length())]
            point.explicit_bounds.extend(sorted(bounds) if self.random.random() < 0.7 else bounds)
            size = len(bounds) + 1 if self.random.random() < 0.7 else self.length()
            point.bucket_counts.extend(self.odd((1,) * 9 + UINT64) for _ in range(size))
        elif kind == "exponential_histogram":
            point.scale, point.zero_count = self.odd(INT32), self.odd((1, *UINT64))
            point.zero_threshold = self.odd(FLOATS)
            for side in (point.positive, point.negative):
                side.offset = self.odd(INT32)
                side.bucket_counts.extend(self.odd((1,) * 9 + UINT64) for _ in range(self.length()))
        else:
            for _ in range(self.length()):
                point.quantile_values.add(quantile=self.odd(FLOATS), value=self.odd(FLOATS))
        if kind != "summary" and self.random.random() < 0.3:
            point.min, point.max = self.odd(FLOATS), self.odd(FLOATS)

    def tick(self) -> int:
        self.now += self.random.choice((1, 10**6, 10**9))
        return self.now

    def length(self) -> int:
        return self.random.choice((0, 1, 2, 2, 3, 5, 200, 2000) if self.random.random() < 0.2 else (0, 1, 2, 3))

    def odd(self, values: Any) -> Any:
        value = self.random.choice(values)
        if isinstance(value, float) and self.random.random() < 0.1:
            (value,) = struct.unpack("<d", self.random.randbytes(8))
        return value


def resident(collector: Collector) -> int:
    assert collector._process is not None and collector._process.poll() is None, collector.said()
    with open(f"/proc/{collector._process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def send(collector: Collector, way: str, body: bytes) -> None:
    """Send it in a way; bytes that are no request may be refused, and nothing else."""
    answer = collector.post("metrics", body, "acme.1") if way == "http" else collector.call("metrics", body, "acme.1")
    allowed = (200, 400, grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
    assert answer in allowed, (answer, body.hex(), collector.said())


def neighbours(number: int) -> bytes:
    """Return a point of each type that is taken, as libraries make it: the sum of `number` and what came before."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    now = time.time_ns()
    total = scope.metrics.add(name="neighbour")
    total.sum.aggregation_temporality, total.sum.is_monotonic = 1, True
    total.sum.data_points.add(as_int=1, time_unix_nano=now, start_time_unix_nano=now - 1)
    histogram = scope.metrics.add(name="neighbour.seconds")
    histogram.histogram.aggregation_temporality = 1
    point = histogram.histogram.data_points.add(count=2, sum=2.5, time_unix_nano=now, start_time_unix_nano=now - 1)
    point.explicit_bounds.extend([1, 2])
    point.bucket_counts.extend([1, 1, 0])
    scope.metrics.add(name="neighbour.now").gauge.data_points.add(as_double=number, time_unix_nano=now)
    return request.SerializeToString()


def asked(collector: Collector) -> dict[str, float]:
    """Return the neighbour's series, as they are scraped."""
    series = collector.prometheus()
    return {k.partition("{")[0]: v for k, v in series.items() if 'tenant="globex"' in k and "le=" not in k}


@pytest.mark.fuzz
@pytest.mark.case("points_that_end_the_collector")
@EXPONENTIAL
def test_no_point_ends_the_collector_or_takes_a_neighbours(tmp_path, exponential):
    configuration = {
        "profile": "local",
        "metrics": {"exponential_histograms": exponential},
        "destinations": {"scrape": {"type": "prometheus"}},
    }
    with running(tmp_path, configuration, ["acme", "globex"]) as collector:
        good = 0
        for seed in rounds(8):
            points = Points(seed)
            for number in range(20):
                send(collector, "grpc" if number % 2 else "http", points.request())
            good += 1
            assert collector.post("metrics", neighbours(good), "globex.1") == 200
            assert resident(collector) < 600 * 2**20, seed
        wanted = {
            "neighbour_total": good, "neighbour_seconds_count": 2 * good, "neighbour_seconds_sum": 2.5 * good,
            "neighbour_now": good,
        }  # fmt: skip
        got: Callable[[], dict[str, float]] = lambda: asked(collector)  # noqa: E731
        wait_for(lambda: got().items() >= wanted.items(), 30, lambda: (got(), wanted, collector.said()))
        assert "panic" not in collector.log.read_text(errors="replace")
