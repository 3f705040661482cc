"""`theodore-otel observability`: look at what happened. `command` can be mounted in any click group."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from theodore_otel.errors import TheodoreOtelError

_COMMANDS = {
    "status": "Is the collector well, does data arrive, do researches succeed?",
    "health": "Are the collector, the backends and Theodore well; when did commands last run well?",
    "traces": "List traces, or show one as a tree with durations, tokens and cost.",
    "logs": "Show log records, and follow them.",
    "metrics": "Show requests, tokens, cost and the other metrics per tenant.",
}


class _Group(click.Group):
    """Imports a subcommand when it runs, and tells errors whichever group it is mounted in."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one subcommand."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"theodore_otel.cli._observability_{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list from the table above, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; an error of ours ends in its one message and exit code."""
        try:
            return super().invoke(ctx)
        except TheodoreOtelError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at status, logs, traces and metrics."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
