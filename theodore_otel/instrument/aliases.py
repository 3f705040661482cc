"""Other places that hold a function when it is wrapped: names imported from its module, and routes of FastAPI.

A module that was imported before ours wraps has the function under a name of its own; so has a route, whose decorator
took it. Both call the wrapper from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def replace(module: ModuleType, name: str, original: Any, wrapped: Any) -> None:
    """Put `wrapped` in the place of `original` wherever a loaded module or a route holds it."""
    family = module.__name__.partition(".")[0]
    for other_name, other in list(sys.modules.items()):
        contents = _contents(other)
        if other_name == "__main__" or other_name.partition(".")[0] == family:
            for own_name in [key for key, value in contents.items() if value is original]:
                contents[own_name] = wrapped
        elif contents.get(name) is original:  # of all others only this name is looked up: there are thousands
            contents[name] = wrapped
    for route in _routes(module):
        _replace_in_route(route, original, wrapped)


def _contents(module: Any) -> dict[str, Any]:
    """Return a module's own dictionary, without loading one that is lazy."""
    if not issubclass(type(module), ModuleType):  # libraries of cffi only say that they are modules
        return {}
    contents: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return contents


def _routes(module: ModuleType) -> Iterator[Any]:
    if "fastapi" not in sys.modules:
        return
    from fastapi import APIRouter, FastAPI

    for value in list(_contents(module).values()):
        if isinstance(value, FastAPI | APIRouter):
            yield from value.routes


def _replace_in_route(route: Any, original: Any, wrapped: Any) -> None:
    dependant = getattr(route, "dependant", None)
    if dependant is not None and getattr(dependant, "call", None) is original:
        dependant.call = wrapped
        route.endpoint = wrapped
