"""The command line. One module per command, imported only when it runs, so that `--help` stays fast."""

from __future__ import annotations

import importlib
import os
import sys

import click

from theodore_otel import __version__
from theodore_otel.errors import TheodoreOtelError

# name -> one line for --help; the command itself is `command` in the module of that name.
COMMANDS = {
    "init": "Write a commented sample theodore-otel.yaml.",
    "render": "Turn theodore-otel.yaml into the files that run.",
    "validate": "Have the real collector check what would be rendered.",
    "test": "Run unit tests for the pipelines in the real collector.",
    "graph": "Draw the pipelines that would be rendered.",
    "config": "Explain the configuration and print its JSON Schema.",
    "collector": "Install, build, inspect and run the collector binary.",
    "stack": "Run the local stack in the background.",
    "queue": "Look at, move or drop what waits on the collector's disk.",
    "run": "Run a command that is observed.",
    "instrument": "Find functions worth watching, and list the presets.",
    "doctor": "Check that everything is in place, and say what to do.",
    "audit": "Verify, export, report and deliver audit records.",
    "spool": "Look at, deliver or delete telemetry that waits on disk.",
    "redact": "Say what is masked, and why.",
    "tenant": "Manage tenants' and services' credentials.",
    "elasticsearch": "Give Elasticsearch its templates and lifecycle policies.",
    "observability": "Look at status, logs, traces and metrics.",
}

_WITHIN = {
    name: f"{group} {name}"
    for group, names in {
        "observability": ["status", "health", "traces", "logs", "metrics"],
        "stack": ["up", "down", "ps"],
        "collector": ["install", "build"],
        "config": ["explain", "schema", "check"],
        "instrument": ["suggest", "presets"],
    }.items()
    for name in names
}
"""What people look for at the top, and where it is."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and help lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command's module and return its command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"theodore_otel.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a suggestion to click's message when the command is unknown."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], [*_WITHIN, *COMMANDS], n=1)
            if not near:
                raise
            said = error.format_message().partition(" Did you mean")[0].partition(" (Did you mean")[0]
            raise click.UsageError(f"{said} Did you mean {_WITHIN.get(near[0], near[0])!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the command list from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from theodore_otel.config import SCHEMA_VERSION
    from theodore_otel.otelcol import COLLECTOR_VERSION

    click.echo(f"theodore-otel {__version__} (collector {COLLECTOR_VERSION}, configuration version {SCHEMA_VERSION})")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of the package, the collector and the configuration.",
)
@click.option("-v", "--verbose", count=True, help="Say more on stderr; a bug then shows its traceback.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: bool) -> None:
    """Observe Theodore: one YAML file becomes collector pipelines, alerts and dashboards."""
    ctx.ensure_object(dict).update(verbose=verbose, quiet=quiet)


def main(args: list[str] | None = None) -> None:
    """Run the command line; every error ends in one message and the exit code of its kind."""
    arguments = sys.argv[1:] if args is None else args
    try:
        code = cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except TheodoreOtelError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) went away: not an error, but python would complain while flushing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001
        code = _report_bug(error, arguments)
    sys.exit(code if isinstance(code, int) else 0)


def _report_bug(error: Exception, arguments: list[str]) -> int:
    if any(argument.startswith("-v") or argument == "--verbose" for argument in arguments):
        import traceback

        traceback.print_exception(error)
    click.echo(
        f"error: this is a bug in theodore-otel: {type(error).__name__}: {error}\n"
        "Run it again with -v in front of the command for the traceback.",
        err=True,
    )
    return 70
