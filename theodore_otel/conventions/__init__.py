"""The registry of attribute and metric names. Constants live in `names`; `registry` reads the full YAML entries."""
