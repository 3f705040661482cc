"""Observability for Theodore: rendered OpenTelemetry Collector pipelines and the Python glue around them."""

__version__ = "0.1.0"
