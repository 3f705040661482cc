"""`theodore-otel run`: start a command that is observed. `theodore_otel.entry` comes before this, except for --help."""

from __future__ import annotations

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is set, and what stands in the way.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, verbose: bool, command: tuple[str, ...]) -> None:
    """Become COMMAND, observed; its output, signals and exit code stay its own.

    COMMAND is a program (`theodore-otel run -- theodore research ACME`), a Python file, or `-m MODULE`.
    """
    from theodore_otel.run import become

    become(command, verbose=verbose or bool(ctx.obj["verbose"]))
