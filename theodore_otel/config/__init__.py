"""The typed model of theodore-otel.yaml. Importing this package is cheap; the model is loaded when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theodore_otel.config.loader import load, load_text, sample
    from theodore_otel.config.model import Config

__all__ = ["SCHEMA_VERSION", "Config", "load", "load_text", "sample"]

SCHEMA_VERSION = 1


def __getattr__(name: str) -> Any:
    import importlib

    module = {"load": "loader", "load_text": "loader", "sample": "loader", "Config": "model"}.get(name)
    if module is None:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"theodore_otel.config.{module}"), name)
