"""The program `theodore-otel`. What has to start fast goes past the command line's imports."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"] and not {"-h", "--help"} & set(sys.argv[2:3]):
        from theodore_otel.run import main as run

        run(sys.argv[2:])
    from theodore_otel.cli import main as command_line

    command_line()
