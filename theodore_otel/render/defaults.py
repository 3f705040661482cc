"""Write the settings that are built in: `python -m theodore_otel.render.defaults [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

from theodore_otel.config import load_text
from theodore_otel.render.files import RenderedFile, stale, write
from theodore_otel.render.instrument import render_instrument

_FOLDER = Path(__file__).parents[1] / "instrument"


def main(check: bool) -> int:
    """Write default.json, or with `check` only say whether it is current. Returns the exit code."""
    file = RenderedFile("default.json", render_instrument(load_text("", "defaults", "production")))
    if check and stale([file], _FOLDER):
        sys.stderr.write("default.json is stale; run: python -m theodore_otel.render.defaults\n")
        return 1
    if not check:
        write([file], _FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
