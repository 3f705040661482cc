"""`theodore-otel redact`: what is masked, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli._io import format_option, print_json, print_table

if TYPE_CHECKING:
    from theodore_otel.redaction.presets import Rules


@click.group()
def command() -> None:
    """Say what is masked."""


@command.command()
@click.argument("text")
@click.option("-k", "--key", default="", metavar="NAME", help="The attribute that the text is the value of.")
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use the rules of this configuration file; the built-in ones when not given.",
)
@click.option("--tenant", metavar="NAME", help="Use what the configuration adds for this tenant too.")
@format_option("table", "json")
def explain(text: str, key: str, config_file: Path | None, tenant: str | None, output_format: str) -> None:
    """Say which preset hits what in TEXT, and what would be left of it. `-` reads standard input.

    The digest of a secret needs the key, which is not asked for here: the mask is shown in its place.
    """
    if text == "-":
        text = sys.stdin.read().removesuffix("\n")
    result = _explained(text, key, _rules(config_file, tenant))
    if output_format == "json":
        print_json(result)
        return
    click.echo(result["left"])
    if result["hits"]:
        click.echo()
        print_table(
            ("preset", "masked", "where", "what it is"),
            [
                (hit["preset"], json.dumps(hit["masked"]), hit["where"], hit["description"].partition(". ")[0])
                for hit in result["hits"]
            ],
        )


def _rules(config_file: Path | None, tenant: str | None) -> Rules:
    from dataclasses import replace

    from theodore_otel.config.loader import load as load_file
    from theodore_otel.errors import InputError
    from theodore_otel.redaction.presets import load
    from theodore_otel.render.rules import redaction_rules

    if config_file is None:
        if tenant:
            raise InputError("--tenant needs a configuration file: add -c FILE")
        return load()
    config = load_file(config_file)
    if tenant and tenant not in config.tenants.list:
        known = ", ".join(config.tenants.list) or "none"
        raise InputError(f"--tenant: expected one of tenants.list ({known}), got {tenant!r}")
    rules = redaction_rules(config)
    own_keys = tuple(each for each in rules.tenant_keys if each.tenant == tenant)
    own_values = tuple(each for each in rules.tenant_values if each.tenant == tenant)
    return replace(rules, keys=rules.keys + own_keys, values=rules.values + own_values, hash_key=None)


def _explained(text: str, key: str, rules: Rules) -> dict[str, Any]:
    from theodore_otel.redaction.matcher import Matcher
    from theodore_otel.redaction.presets import all_presets

    descriptions = {preset.name: preset.description for preset in all_presets()}
    settings = rules.settings()
    process = Matcher(settings)
    # The collector does not count: to it every number of a card's form is one.
    collector = Matcher({**settings, "values": [{**value, "luhn": False} for value in settings["values"]]})
    if process.key(key):
        hits = [_hit("secret key", text, "everywhere", f"{key} holds a secret word")]
        return {"left": process.mask, "hits": hits}
    in_process = process.find(text)
    hits = [
        _hit(hit.name, hit.text, "everywhere" if hit in in_process else "collector", descriptions.get(hit.name, ""))
        for hit in collector.find(text)
    ]
    return {"left": collector.text(text), "hits": hits}


def _hit(preset: str, masked: str, where: str, description: str) -> dict[str, str]:
    return {"preset": preset, "masked": masked, "where": where, "description": description}
