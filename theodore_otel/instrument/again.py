"""Modules whose functions are made anew, or under another name: `importlib.reload`, and `python -m`.

Both run a module's code without an import, so nothing tells that it is there. After a reload what is watched is wrapped
once more. The module that `python -m` runs is called `__main__`, and runs to its end before anybody gets it: there each
watched function is wrapped right after its definition.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.instrument.lazy import when_imported
from theodore_otel.instrument.replacing import replace
from theodore_otel.instrument.tracebacks import HIDDEN

if TYPE_CHECKING:
    import ast

Wrap = Callable[[ModuleType], None]

_CALL: Final = "__import__('theodore_otel.instrument.again', fromlist=['defined']).defined({name!r})"

_wraps: dict[str, list[tuple[str, Wrap]]] = {}
_main: list[tuple[str, Wrap]] = []
_following = False


def follow(module: str, path: str, wrap: Wrap) -> None:
    """Have a function of a module wrapped whenever it is made anew; `path` is where it stands in the module."""
    global _following
    _wraps.setdefault(module, []).append((path, wrap))
    if not _following:
        _following = True
        _follow_reload()
        when_imported("runpy", _follow_main)


def defined(name: str) -> None:
    """Wrap what is watched of a name that the main module has just defined."""
    for path, wrap in _main:
        if path.partition(".")[0] == name:
            wrap(sys.modules["__main__"])


def _follow_reload() -> None:
    original = importlib.reload

    def reload(*args: Any, **kwargs: Any) -> Any:
        module = original(*args, **kwargs)
        for path, wrap in _wraps.get(getattr(module, "__name__", ""), ()):
            if not _is_wrapped(module, path):
                wrap(module)
        return module

    replace(importlib, "reload", reload)


def _is_wrapped(module: ModuleType, path: str) -> bool:
    from theodore_otel.instrument.proxies import Function

    found: Any = module
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return type(found) is Function


def _follow_main(runpy: Any) -> None:
    original = runpy._run_code

    def run_code(code: CodeType, *args: Any, **kwargs: Any) -> Any:
        with suppress(Exception):  # the program runs, watched or not
            code = _watching(code, *args, **kwargs)
        with HIDDEN:
            return original(code, *args, **kwargs)

    replace(runpy, "_run_code", run_code)


def _watching(code: CodeType, _: Any, _init: Any = None, name: str = "", spec: Any = None, *_more: Any) -> CodeType:
    module = "" if spec is None else spec.name
    if name != "__main__" or module not in _wraps:
        return code
    import ast  # only here: a program that is run by its file needs none
    import warnings

    _main[:] = _wraps[module]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler says of the program has been said once
        tree = ast.parse(spec.loader.get_source(module))
        _mark(tree.body, {path.partition(".")[0] for path, _ in _main})
        return compile(tree, code.co_filename, "exec", dont_inherit=True)


def _mark(body: list[ast.stmt], names: set[str]) -> None:
    """Have `defined` called after each definition of these names, also inside `if` and `try`."""
    import ast

    for at in range(len(body) - 1, -1, -1):
        statement = body[at]
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if statement.name in names:
                (call,) = ast.parse(_CALL.format(name=statement.name)).body
                for node in ast.walk(call):
                    ast.copy_location(node, statement)
                body.insert(at + 1, call)
        else:
            for part in ("body", "orelse", "finalbody"):
                _mark(getattr(statement, part, []), names)
