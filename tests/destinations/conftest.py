"""The real servers, one of each kind for all tests of destinations."""

from __future__ import annotations

from backends.fixtures import elasticsearch, jaeger, kafka, prometheus

__all__ = ["elasticsearch", "jaeger", "kafka", "prometheus"]
