"""The command line. A failed research returns 1 from its function, which click ignores: the exit code is 0."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from sample_theodore import __version__, settings


@click.group()
def cli() -> None:
    """Research companies."""


@cli.command()
@click.argument("company")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--api-key", help="Key of the model API.")
@click.option("--tenant", default="default", help="Whose store is used.")
def research(company: str, as_json: bool, api_key: str | None, tenant: str) -> int:
    """Research one COMPANY, given by name or URL."""
    return _print(_research(company, tenant, api_key), as_json)


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", default="default", help="Whose store is used.")
def batch(file: Path, tenant: str) -> int:
    """Research the companies named in FILE, one a line."""
    names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return max((_print(_research(name, tenant, None), as_json=False) for name in names), default=0)


@cli.command()
@click.option("--packages", is_flag=True, help="Look at the installed packages too (starts pip).")
def status(packages: bool) -> None:
    """Say that Theodore is well."""
    click.echo("theodore is well")
    if packages:
        command = [sys.executable, "-m", "pip", "--version"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@cli.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", default=0, help="0 takes a free port.")
@click.option("--port-file", type=click.Path(path_type=Path), help="Where the address is written once it is known.")
def serve(host: str, port: int, port_file: Path | None) -> None:
    """Run the service."""
    from sample_theodore.service import run

    run(host, port, port_file)


def _research(company: str, tenant: str, api_key: str | None) -> dict[str, Any]:
    import asyncio

    from sample_theodore.research import ResearchUseCase

    return asyncio.run(ResearchUseCase(tenant, api_key).execute(company))


def _print(result: dict[str, Any], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(result))
    elif result["success"]:
        click.echo(f"{result['company']}: {result['summary']} ({result['pages_scraped']} pages)")
    else:
        click.echo(f"{settings.company_id(result['company'])}: research failed")
    return 0 if result["success"] else 1


def main() -> None:
    """Run the command line."""
    cli(prog_name="theodore")
