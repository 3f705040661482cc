"""Random records to every type of destination: no service finds anything wrong, and every neighbour arrives."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import pytest
from destinations import odd, poisons
from destinations.test_poison import TAKES, arrived, collector, services
from support.collector import Collector, fill, wait_for
from support.fuzzing import rounds

__all__ = ["collector", "services"]

MAKE = {"traces": odd.span, "logs": odd.log, "metrics": odd.point}


def send(collector: Collector, signal: str, seed: int) -> None:
    """Send odd records of acme between good ones of globex, in one request."""
    source = random.Random(seed)
    request = poisons.REQUESTS[signal]()
    for number in range(10):
        good = poisons.record(request, signal, f"good_{signal}_{seed}_{number}_x", {"service.name": "theodore-v2"})
        fill(good.attributes, {"tenant.id": "globex"})
        word = f"odd_{signal}_{seed}_{number}_x"
        made = poisons.record(request, signal, word, odd.Pairs(odd.attributes(source)))
        fill(made.attributes, {"tenant.id": "acme", "mark": word})
        MAKE[signal](source, made)
    assert collector.post(signal, request.SerializeToString(), "svc-api.1") == 200


@pytest.mark.fuzz
@pytest.mark.case("poisoned_neighbours")
def test_no_random_record_harms_a_neighbour_or_is_lost(services: Any, collector: Collector):
    words: dict[str, list[str]] = {signal: [] for signal in MAKE}
    for seed in rounds(10):
        for signal in MAKE:
            send(collector, signal, seed)
            words[signal] += [f"{kind}_{signal}_{seed}_{n}_x" for kind in ("good", "odd") for n in range(10)]
        time.sleep(0.2)

    def missing() -> list[str]:
        found = absent(TAKES, words, arrived(services, collector))
        return [f"{word} at {name}" for word, name in unexplained(collector, TAKES, found)]

    wait_for(lambda: not missing(), 60, lambda: f"{missing()[:20]} {wrong(services)} {collector.said()[-2000:]}")
    assert wrong(services) == {}
    assert os.path.exists(collector.log)


def absent(takes: dict[str, Any], words: dict[str, list[str]], texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return each word that has not come to a destination, with the destination."""
    return [
        (word, name)
        for name, signals in takes.items()
        for signal in signals
        for word in words[signal]
        if word not in texts[name]
    ]


def unexplained(collector: Collector, takes: dict[str, Any], found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out odd points and audit records that came nowhere, where as many were refused and counted before."""
    for signal, kind in (("metrics", "datapoints"), ("logs", "logs")):
        wanting = sum(signal in signals for signals in takes.values())
        at = Counter(word for word, _ in found)
        nowhere = {word for word, count in at.items() if word.startswith(f"odd_{signal}") and count == wanting}
        series = collector.prometheus("telemetry").items()
        refused = sum(v for k, v in series if k.startswith(f"otelcol_processor_filter_{kind}_filtered"))
        if len(nowhere) <= refused:
            found = [(word, name) for word, name in found if word not in nowhere]
    return found


def wrong(services: Any) -> dict[str, list[str]]:
    """Return what the services refused."""
    return {name: service.wrong[:3] for name, service in services.items() if service.wrong}
