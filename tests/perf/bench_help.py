"""`theodore-otel --help` against `python -c "import click"`, interleaved: `python tests/perf/bench_help.py [RUNS]`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    'python -c "import click"': [sys.executable, "-c", "import click"],
    "theodore-otel --help": [str(Path(sys.executable).parent / "theodore-otel"), "--help"],
}


BUDGET = 2.5
"""Times the import of click."""


def main(runs: int) -> int:
    """Print medians in milliseconds and the ratio; return how many budgets were missed."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    base = next(iter(medians.values()))
    print(f"{'':26}  {'median ms':>9}  {'ratio':>5}")
    for name, median in medians.items():
        print(f"{name:26}  {median * 1000:9.1f}  {median / base:5.2f}")
    print(f"budget: at most {BUDGET} x")
    return int(median / base > BUDGET)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 7))
