"""Unit tests for pipelines: cases in YAML, run through the real collector with its exporters turned into captures."""
