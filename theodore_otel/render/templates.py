"""The template environment."""

from __future__ import annotations

from functools import cache

import jinja2

from theodore_otel import paths
from theodore_otel.render.filters import FILTERS


@cache
def environment() -> jinja2.Environment:
    """Return the template environment: a name that is not given is an error, not an empty string."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.data("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  the output is YAML, quoted by the filters
    )
    env.filters.update(FILTERS)
    return env
