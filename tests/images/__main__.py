"""`python -m images [NAME...]`: see to it that the Docker engine has the named images, or all of them."""

from __future__ import annotations

import sys
import time

from images.engine import Engine
from images.obtain import obtain
from images.recipes import images
from theodore_otel.errors import TheodoreOtelError


def main(names: list[str]) -> int:
    known = images()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such image: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    whole = time.monotonic()
    try:
        engine = Engine()
    except TheodoreOtelError as error:
        note(str(error))
        return error.exit_code
    for name in names or known:
        started = time.monotonic()
        try:
            how = obtain(known[name], engine, note)
            print(f"{known[name].name}\t{how}\t{(time.monotonic() - started) / 60:.1f} min", flush=True)
        except TheodoreOtelError as error:
            note(f"{known[name].name}: {error}")
            failed = error.exit_code
    print(f"all\t\t{(time.monotonic() - whole) / 60:.1f} min")
    return failed


def note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
