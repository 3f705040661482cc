"""What tests need and a machine may not have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from theodore_otel.errors import DownError


@contextmanager
def needed(what: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Have it made in the body, showing progress. A machine that cannot skips, unless it must have everything."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            yield
    except DownError as error:
        if os.environ.get("THEODORE_OTEL_TEST_REQUIRE") == "1":
            pytest.fail(f"{what} cannot be had: {error}", pytrace=False)
        pytest.skip(f"{what} cannot be had: {error}")


def show(message: str) -> None:
    """Print a line of progress."""
    print(message, flush=True)
