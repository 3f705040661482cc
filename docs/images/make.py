"""Draw a command's output as SVG: `python docs/images/make.py TITLE FILE.svg < output`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main(title: str, target: Path) -> None:
    """Write standard input, with its colours, as a picture of a terminal."""
    text = Text.from_ansi(sys.stdin.read().rstrip("\n"))
    width = max(len(line) for line in text.plain.splitlines()) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(text, soft_wrap=True)
    picture = console.export_svg(title=title)
    picture = re.sub(r"\s*@font-face \{.*?\n    \}", "", picture, flags=re.DOTALL)  # a picture loads nothing
    target.write_text(picture.replace("Fira Code, monospace", "monospace"), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
