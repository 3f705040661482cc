"""How long random input is tried: seconds in `make test`, minutes in `make fuzz`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator


def rounds(usual: float) -> Iterator[int]:
    """Yield a seed for each round of random input until the time is up; at least one.

    The time is `usual` seconds, and there the seeds are 0, 1, 2 ..., so that a failure comes again. With
    THEODORE_OTEL_FUZZ_SECONDS it is that long, with seeds of the moment;
    THEODORE_OTEL_FUZZ_SEED is the one to begin with.
    """
    given = os.environ.get("THEODORE_OTEL_FUZZ_SECONDS")
    seed = int(os.environ.get("THEODORE_OTEL_FUZZ_SEED", int(time.time()) if given else 0))
    end = time.monotonic() + float(given or usual)
    while True:
        yield seed
        seed += 1
        if time.monotonic() >= end:
            return
