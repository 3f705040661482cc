"""The programs that judge and send alerts."""

from __future__ import annotations

from backends.fixtures import alertmanager, prometheus

__all__ = ["alertmanager", "prometheus"]
