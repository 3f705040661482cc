"""The stack's images on the engine for a whole test session; a test folder's conftest.py imports `stack_images`."""

from __future__ import annotations

import pytest
from support.having import needed, show

from images.engine import Engine
from images.obtain import obtain
from images.recipes import images


@pytest.fixture(scope="session")
def stack_images(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return how each image was had, by its name with tag: there, pulled, built or made.

    Our own two hold this checkout as it is now. A machine that cannot have them skips, unless it must have everything.
    """
    with needed("the stack's images", request):
        engine = Engine()
        return {image.name: obtain(image, engine, show) for image in images().values()}
