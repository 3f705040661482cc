"""Several collectors share the work: what they count adds up in one Prometheus."""

from __future__ import annotations

from destinations.kit import OWNERS, configuration
from support.collector import Span, wait_for
from support.pods import replica


def test_commands_counted_by_two_collectors_add_up(prometheus, tmp_path):
    pushed = configuration(prometheus={"type": "prometheus", "endpoint": f"http://{prometheus.at('http')}"})
    attributes = {"theodore.operation.type": "command", "theodore.command": "shared-work"}
    query = 'theodore_requests_total{endpoint="shared-work"}'

    def counted():
        return {series["metric"].get("instance"): series["value"][1] for series in prometheus.query(query)}

    with (
        replica("theodore-otel-0", tmp_path / "0", pushed, OWNERS) as first,
        replica("theodore-otel-1", tmp_path / "1", pushed, OWNERS) as second,
    ):
        for pod, runs in ((first, 3), (second, 2)):
            for _ in range(runs):
                assert pod.send_spans([Span("command", attributes)], "acme.1") == 200
        wait_for(lambda: counted() == {"theodore-otel-0": "3", "theodore-otel-1": "2"}, 30, counted)
        (total,) = prometheus.query(f"sum({query})")
    assert total["value"][1] == "5"
