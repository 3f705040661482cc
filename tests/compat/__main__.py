"""`make compat`: run other people's tests with and without telemetry, and print what differs.

Names of modules of CPython's tests and of libraries may follow; all of suites.yaml without.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from compat.suites import Comparison, Suite, compared, cpython, library, listed
from theodore_otel.errors import DownError


def main(wanted: Sequence[str]) -> int:
    """Print a line for each suite; return 1 when an outcome differs that need not."""
    differ = 0
    print(f"{'suite':38} {'alike':>6} {'differ':>6}  why")
    for name, made in _suites():
        if wanted and name not in wanted:
            continue
        try:
            differ += _shown(compared(made(name)))
        except DownError as error:
            print(f"{name:38} {'-':>6} {'-':>6}  not run: {error}", flush=True)
    return int(bool(differ))


def _suites() -> Iterator[tuple[str, Callable[[str], Suite]]]:
    for module in (*listed()["cpython"]["quick"], *listed()["cpython"]["full"]):
        yield module, cpython
    for name in listed()["libraries"]:
        yield name, library


def _shown(found: Comparison) -> int:
    number = len(found.differ) + len(found.excused)
    print(f"{found.suite:38} {found.alike:6} {number:6}", flush=True)
    for test, (plain, observed) in found.differ.items():
        print(f"    {test}: {plain} without telemetry, {observed} with it", flush=True)
    for test, reason in found.excused.items():
        print(f"    {test}: {reason}", flush=True)
    return len(found.differ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
