"""`python -m backends [NAME...]`: make the named servers, or all of them."""

from __future__ import annotations

import sys

from backends import build
from backends.recipes import recipes
from theodore_otel.errors import TheodoreOtelError


def main(names: list[str]) -> int:
    known = recipes()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such server: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or known:
        try:
            print(f"{name}\t{build.obtain(known[name], note)}")
        except TheodoreOtelError as error:
            note(f"{name}: {error}")
            failed = error.exit_code
    return failed


def note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
