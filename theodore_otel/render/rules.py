"""The redaction rules a configuration asks for."""

from __future__ import annotations

from theodore_otel.config.model import Config
from theodore_otel.redaction.presets import Rules, load


def redaction_rules(config: Config) -> Rules:
    """Return the built-in rules with what the configuration adds and takes away.

    Raises:
        InputError: when a preset is unknown or a pattern cannot be used.
    """
    wanted = config.redaction
    return load(
        disable=wanted.disable_presets,
        extra_keys=wanted.extra_keys,
        except_keys=wanted.except_keys,
        extra_values=wanted.extra_values,
    )
