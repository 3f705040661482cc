"""Random records to the real servers: every neighbour arrives, and so does what is odd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from backends.fixtures import elasticsearch, jaeger, kafka, prometheus
from destinations.test_elasticsearch_refusals import ask
from destinations.test_poison_servers import TAKES, arrived, collector, configured, errors
from support.collector import Collector, wait_for
from support.fuzzing import rounds

from fuzz.test_destinations import MAKE, absent, send, unexplained

__all__ = ["arrived", "collector", "configured", "elasticsearch", "jaeger", "kafka", "prometheus"]

# What is asked for at once holds no more.
MOST = 8


@pytest.mark.fuzz
@pytest.mark.case("poisoned_neighbours")
def test_no_random_record_harms_a_neighbour_or_is_lost(collector: Collector, arrived: Callable[[], dict[str, str]]):
    words: dict[str, list[str]] = {signal: [] for signal in MAKE}
    for count, seed in enumerate(rounds(5)):
        if count == MOST:
            break
        for signal in MAKE:
            send(collector, signal, seed)
            words[signal] += [f"{kind}_{signal}_{seed}_{n}_x" for kind in ("good", "odd") for n in range(10)]

    def missing() -> list[str]:
        """Return what has not arrived, but for odd documents that Elasticsearch refused and counted."""
        texts, refused = arrived(), sum(ask(collector).refused_documents.values())
        found = unexplained(collector, TAKES, absent(TAKES, words, texts))
        counted = [each for each in found if each[0].startswith("odd") and each[1] in ("otel", "ecs")]
        return [f"{word} at {name}" for word, name in found if (word, name) not in counted or len(counted) > refused]

    wait_for(lambda: not missing(), 60, lambda: f"{len(missing())} {missing()[:30]} {errors(collector)}")
