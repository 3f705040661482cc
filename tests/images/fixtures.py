"""The stack's images on the engine for a whole test session; a test folder's conftest.py imports `stack_images`."""

from __future__ import annotations

import os

import pytest

from images.engine import Engine
from images.obtain import obtain
from images.recipes import images
from theodore_otel.errors import DownError


@pytest.fixture(scope="session")
def stack_images(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return how each image was had, by its name with tag: there, pulled, built or made.

    Our own two hold this checkout as it is now. A machine that cannot have them skips, unless it must have everything.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            engine = Engine()
            return {image.name: obtain(image, engine, _note) for image in images().values()}
    except DownError as error:
        if os.environ.get("THEODORE_OTEL_TEST_REQUIRE") == "1":
            pytest.fail(f"the stack's images cannot be had: {error}", pytrace=False)
        pytest.skip(f"the stack's images cannot be had: {error}")


def _note(message: str) -> None:
    print(message, flush=True)
