"""CPython's own tests and those of libraries come out as they do without telemetry (a short list; `make compat` has
the long one).
"""

from __future__ import annotations

import pytest
from support.having import needed

from compat.suites import compared, cpython, library, listed

QUICK = [name for name, entry in listed()["libraries"].items() if entry.get("quick")]


@pytest.mark.parametrize("module", listed()["cpython"]["quick"])
def test_a_module_of_cpythons_tests_comes_out_the_same(module: str, request: pytest.FixtureRequest) -> None:
    with needed("CPython's own tests", request):
        suite = cpython(module)
    assert compared(suite).differ == {}


@pytest.mark.parametrize("name", QUICK)
def test_a_librarys_own_tests_come_out_the_same(name: str, request: pytest.FixtureRequest) -> None:
    with needed(f"the tests of {name}", request):
        suite = library(name)
    assert compared(suite).differ == {}
