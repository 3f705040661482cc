"""The redaction rules a configuration asks for."""

from __future__ import annotations

from dataclasses import replace

from theodore_otel.config.model import Config
from theodore_otel.conventions import names, registry
from theodore_otel.redaction.presets import Rules, add_tenant, load


def redaction_rules(config: Config) -> Rules:
    """Return the built-in rules with what the configuration adds and takes away.

    Raises:
        InputError: when a preset is unknown or a pattern cannot be used.
    """
    wanted = config.redaction
    rules = load(
        disable=wanted.disable_presets,
        extra_keys=wanted.extra_keys,
        except_keys=wanted.except_keys,
        extra_values=wanted.extra_values,
    )
    for tenant, differs in config.tenants.list.items():
        rules = add_tenant(rules, tenant, differs.redaction.extra_keys, differs.redaction.extra_values)
    hash_key = wanted.hash_key.model_dump(exclude_none=True) if wanted.hash_key and wanted.mode == "hash" else None
    return replace(rules, allowed=_allowed(wanted.allow_attributes), hash_key=hash_key)


def _allowed(wanted: list[str]) -> tuple[str, ...]:
    """Return the only attributes that survive: the wanted ones and those of the registry; all when none is wanted."""
    if not wanted:
        return ()
    known = [
        name for constant, name in vars(names).items() if constant.isupper() and not constant.startswith("METRIC_")
    ]
    labels = [label for metric in registry.metrics().values() for label in metric.labels]
    return tuple(dict.fromkeys([*wanted, *known, *labels, "tenant", "service"]))
