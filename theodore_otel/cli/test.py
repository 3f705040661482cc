"""`theodore-otel test`: unit tests for the pipelines that would be rendered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theodore_otel.cli._io import file_option, format_option, note, print_json
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.otelcol.cases.loading import Loaded
    from theodore_otel.otelcol.cases.suite import Result

_CASES = "cases"


@click.command()
@file_option
@click.option("--profile", metavar="NAME", help="Use this profile instead of the file's.")
@click.option("-k", "word", metavar="WORD", help="Run only the cases whose name holds WORD.")
@click.option("--update", is_flag=True, help="Write the golden files from what arrives.")
@click.option("--keep", is_flag=True, help="Leave the collectors' folders: configuration, log and captures.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML too.")
@format_option("text", "json")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of case files, for editors, and end.")
@click.argument("paths", nargs=-1, metavar="[CASES]...", type=click.Path(path_type=Path))
def command(
    config_file: Path,
    profile: str | None,
    word: str | None,
    update: bool,
    keep: bool,
    junit: Path | None,
    output_format: str,
    schema: bool,
    paths: tuple[Path, ...],
) -> None:
    """Send telemetry through the real collector and check what arrives where.

    CASES are case files and folders of them; the folder `cases` beside FILE when none is given. Nothing is sent to a
    destination: what the collector would send is captured. Exit code 1 when a case fails.
    """
    if schema:
        _print_schema()
        return
    from theodore_otel.config.source import read
    from theodore_otel.otelcol.cases import report, suite

    source = read(config_file)
    beside = config_file.parent / _CASES
    if not (paths or beside.exists()):
        raise InputError(
            f"{beside}: there are no cases yet: write one, such as {beside}/first.yaml (docs/testing.md shows some, "
            "--schema prints its form), or name case files on the command line"
        )
    cases = _cases(paths or (beside,), word)
    _check_writable(junit)
    started = time.monotonic()
    results: list[Result] = []
    for result in suite.run_all(source, profile, cases, note, update=update, keep=keep):
        results.append(result)
        if output_format == "text":
            click.echo("\n".join([report.line(result), *report.failures(result)]))
    if output_format == "text":
        click.echo(report.summary(results, time.monotonic() - started))
    else:
        print_json(report.as_json(results))
    if junit:
        _write(junit, report.as_junit(results))
    if any(result.failures for result in results):
        click.get_current_context().exit(1)


def _print_schema() -> None:
    from theodore_otel.otelcol.cases.model import CaseFile

    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **CaseFile.model_json_schema()})


def _cases(paths: Sequence[Path], word: str | None) -> list[Loaded]:
    from theodore_otel.otelcol.cases.loading import load

    cases = load(paths)
    wanted = [loaded for loaded in cases if word is None or word.lower() in loaded.case.name.lower()]
    if not wanted:
        raise InputError(f"-k: no name of the {len(cases)} cases holds {word!r}")
    return wanted


def _check_writable(file: Path | None) -> None:
    if file and not file.parent.is_dir():
        raise InputError(f"--junit: {file}: there is no folder {file.parent}")


def _write(file: Path, text: str) -> None:
    from theodore_otel.render.files import RenderedFile, write

    write([RenderedFile(file.name, text)], file.parent)
