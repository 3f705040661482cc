"""How commands talk: results on stdout, everything else on stderr, plain when piped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

# Control characters, marks of direction, and halves of characters, which no terminal can be sent.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

DEFAULT_FILE = Path("theodore-otel.yaml")


def file_option(function: _Command) -> _Command:
    """Add `-c/--config FILE`, the configuration file a command works on."""
    return click.option(
        "-c",
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=DEFAULT_FILE,
        show_default=True,
        metavar="FILE",
        help="The configuration file.",
    )(function)


def format_option(*formats: str) -> Callable[[_Command], _Command]:
    """Add `--format`, whose first choice is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the result.",
    )


def note(message: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    context = click.get_current_context(silent=True)
    if not (context and (context.find_root().obj or {}).get("quiet")):
        click.echo(message, err=True)


def print_json(value: object) -> None:
    """Print a result as JSON, with stable key order as given; what could steer a terminal is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    click.echo(harmless(text))


def harmless(text: str) -> str:
    """Return a text with what could steer a terminal written as JSON escapes; line feeds stay."""
    return _STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; numbers to the right, no borders, so that it can be cut and grepped."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(header)]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(header))]
    click.echo(click.style(_line([title.upper() for title in header], widths, numeric), bold=True))
    for row in cells:
        click.echo(_line(row, widths, numeric))


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.lstrip("$-").replace(".", "").replace(",", "").isdigit()


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True))
    return "  ".join(padded).rstrip()
