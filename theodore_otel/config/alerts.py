"""The built-in alert rules, read from alerts.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml


@cache
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("alerts.yaml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", yaml.safe_load(text))


def groups() -> dict[str, str]:
    """Return how often each group of rules is evaluated."""
    return cast("dict[str, str]", _data()["groups"])


def recordings() -> list[dict[str, Any]]:
    """Return what is recorded, in the order it is evaluated."""
    return cast("list[dict[str, Any]]", _data()["recordings"])


def alerts() -> dict[str, dict[str, Any]]:
    """Return the built-in alert rules by name."""
    return cast("dict[str, dict[str, Any]]", _data()["alerts"])
