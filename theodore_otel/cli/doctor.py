"""`theodore-otel doctor`: is everything in place, and if not, what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import DEFAULT_FILE, format_option, print_json, print_table
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.doctor.finding import Finding


@click.command()
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The configuration file; {DEFAULT_FILE} when it exists, else the defaults of profile local.",
)
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave this check out; can be given several times.")
@format_option("table", "json")
@click.pass_context
def command(
    ctx: click.Context, config_file: Path | None, profile: str | None, skip: tuple[str, ...], output_format: str
) -> None:
    """Check configuration, collector, credentials, destinations and Theodore's environment; say what to do.

    Exit code 0: all is well (notes are no matter), 1: a check failed or warns, 2: the configuration cannot be used.
    """
    from theodore_otel.config.loader import load_layers
    from theodore_otel.config.source import parse, read
    from theodore_otel.doctor.checks import CHECKS, examine
    from theodore_otel.doctor.finding import Setup

    unknown = [name for name in skip if name not in CHECKS]
    if unknown:
        raise InputError(f"--skip: expected one of {', '.join(CHECKS)}, got {unknown[0]!r}")
    file = config_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    source = read(file) if file else parse("", "defaults of profile local")
    config = load_layers(source, profile or (None if file else "local")).config
    findings = list(examine(Setup(source, file, config, os.environ), skip))
    if output_format == "json":
        print_json([{"check": name, **vars(finding)} for name, finding in findings])
    else:
        _print(findings)
    ctx.exit(int(any(finding.state in ("warning", "failed") for _, finding in findings)))


def _print(findings: Sequence[tuple[str, Finding]]) -> None:
    rows: list[tuple[str, str, str]] = []
    for name, finding in findings:
        first, *more = finding.found.splitlines()
        rows.append((finding.state, name, first))
        rows += [("", "", line) for line in more]
        if finding.todo:
            rows.append(("", "", f"-> {finding.todo}"))
    print_table(("state", "check", "found"), rows)
