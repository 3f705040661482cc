"""What a longer `tracing.sampling.decision_wait` costs: peak memory of the collector at 1,000 spans a second.

`python tests/perf/bench_sampling.py [SECONDS ...]`: the waits to be measured (10 30 150). Each run lasts as long as the
wait and a half, so that the window is full.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import bench_pipeline
import load

RATE = 1_000
MEMORY = "1GiB"


def main(waits: list[int]) -> None:
    """Measure and print."""
    bench_pipeline.PRODUCTION = bench_pipeline.PRODUCTION.replace("544MiB", MEMORY)
    print(f"{RATE:,} spans/s, collector.memory {MEMORY}")
    print("decision_wait   peak memory   lost by SIGKILL at most")
    with tempfile.TemporaryDirectory(prefix="theodore-otel-bench-") as folder:
        bench = bench_pipeline.Bench(Path(folder), 0)
        with bench.sink():
            for wait in waits:
                print(f"{wait:11} s   {_peak(bench, wait):7.0f} MiB   {wait * RATE:,} spans", flush=True)


def _peak(bench: bench_pipeline.Bench, wait: int) -> float:
    def longer(config: dict[str, object]) -> None:
        processors: dict[str, dict[str, object]] = config["processors"]  # type: ignore[assignment]
        processors["tail_sampling"]["decision_wait"] = f"{wait}s"

    made = load.template(bench_pipeline.DIRTY)
    with bench._running("collector", bench.production(longer)) as (process, port):
        # Raises where a request is refused.
        load.send(port, wait * 1.5, RATE, bench._credential, made)
        return bench_pipeline._peak(process)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [10, 30, 150])
