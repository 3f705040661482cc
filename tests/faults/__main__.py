"""`python -m faults [NAME...]`: break things and print what was sent, acknowledged, delivered, doubled and lost."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from faults.ledger import Balance
from faults.rows import FAULTS

_HEADER = ("fault", "records", "at", "sent", "acknowledged", "delivered", "doubled", "lost", "promised", "")


def main(names: Sequence[str]) -> int:
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        print(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    found: list[Balance] = []
    failed = False
    for name in names or FAULTS:
        start = time.monotonic()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                rows = list(FAULTS[name](Path(folder)))
            except Exception as error:
                failed, rows = True, []
                print(f" {type(error).__name__}: {error}", end="", file=sys.stderr)
        print(f" {time.monotonic() - start:.0f} s{'' if rows else ' (left out)'}", file=sys.stderr)
        found += rows
    _print([_HEADER, *(_row(each) for each in found)])
    return 1 if failed or any(each.broken for each in found) else 0


def _row(each: Balance) -> tuple[str, ...]:
    numbers = (each.sent, each.acknowledged, each.delivered, each.doubled, each.lost)
    said = f"BROKEN: {each.broken}" if each.broken else "ok"
    return (each.fault, each.records, each.destination, *map(str, numbers), each.promise, said)


def _print(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADER))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
