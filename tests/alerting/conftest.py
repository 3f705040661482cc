"""The programs that judge and send alerts."""

from __future__ import annotations

from backends.fixtures import prometheus

__all__ = ["prometheus"]
