"""The images, and the engine that has them."""

from __future__ import annotations

import pytest

from images.engine import Engine
from images.fixtures import stack_images

__all__ = ["stack_images"]


@pytest.fixture
def engine(stack_images) -> Engine:
    return Engine()
