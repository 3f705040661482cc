"""Find the source of modules as the application's Python would, importing nothing of it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

Function = ast.FunctionDef | ast.AsyncFunctionDef
_PROPERTIES: Final = frozenset({"property", "cached_property", "functools.cached_property"})


class NoModuleError(LookupError):
    """There is no such module here."""


@dataclass(frozen=True)
class Module:
    """One module that has source."""

    name: str
    path: Path

    def tree(self) -> ast.Module:
        """Return the syntax tree. Raises SyntaxError, OSError or UnicodeDecodeError."""
        return ast.parse(self.path.read_bytes(), str(self.path))


def find_spec(name: str) -> ModuleSpec:
    """Return where a module is. Raises NoModuleError, naming the first part that is missing."""
    top, *children = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise NoModuleError(top)
    for child in children:
        whole = f"{spec.name}.{child}"
        found = PathFinder.find_spec(whole, spec.submodule_search_locations or [])
        if found is None:
            raise NoModuleError(whole)
        spec = found
    return spec


def module(name: str) -> Module | None:
    """Return a module with its source; None for one that has none. Raises NoModuleError."""
    spec = find_spec(name)
    return Module(name, Path(spec.origin)) if spec.origin and spec.origin.endswith(".py") else None


def absolute(node: ast.ImportFrom, module: Module) -> str:
    """Return the module that a `from ... import` names."""
    if not node.level:
        return node.module or ""
    is_package = module.path.name == "__init__.py"
    parts = module.name.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def modules(package: str) -> Iterator[Module]:
    """Yield a package's modules that have source, tests left out. Raises NoModuleError."""
    spec = find_spec(package)
    for folder in spec.submodule_search_locations or []:
        for path in sorted(Path(folder).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if not any(part.startswith("test") or part == "conftest" for part in parts):
                yield Module(".".join([package, *(part for part in parts if part != "__init__")]), path)
    if not spec.submodule_search_locations and (single := module(package)):
        yield single


def problem(target: str) -> str | None:
    """Return why `module:function` cannot be watched, None when it can or the source does not tell.

    Raises NoModuleError.
    """
    name, _, path = target.partition(":")
    found = module(name)
    if found is None:
        return None
    try:
        tree = found.tree()
    except (SyntaxError, OSError, UnicodeDecodeError) as error:
        return f"{found.path} cannot be read: {error}"
    node: ast.AST | None = tree
    for part in path.split("."):
        inside = dict(definitions(node)) if isinstance(node, ast.Module | ast.ClassDef) else {}
        if part not in inside:
            return None if _may_have_more(node, tree) else f"there is no {path} in module {name}"
        node = inside[part]
    if isinstance(node, ast.ClassDef):
        return f"{path} in module {name} is a class, not a function"
    if isinstance(node, Function) and is_property(node):
        return f"{path} in module {name} is a property, not a function"
    return None


def definitions(node: ast.Module | ast.ClassDef | ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a module or class defines, also inside `if`, `try` and `with`."""
    for statement in ast.iter_child_nodes(node):
        if isinstance(statement, Function | ast.ClassDef):
            yield statement.name, statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                yield (alias.asname or alias.name.partition(".")[0]), statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                yield from ((each.id, statement) for each in ast.walk(target) if isinstance(each, ast.Name))
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from definitions(statement)  # type: ignore[arg-type]


def is_property(function: Function) -> bool:
    """Say whether a method is read as an attribute."""
    return any(dotted(each) in _PROPERTIES for each in function.decorator_list)


def dotted(node: ast.AST) -> str:
    """Return an expression such as `requests.get` as text; what is no name in it is left out."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def _may_have_more(node: ast.AST | None, tree: ast.Module) -> bool:
    """Say whether names may come from where the source does not tell: bases, `import *`, `__getattr__`."""
    if isinstance(node, ast.ClassDef):
        return bool(node.bases or node.decorator_list)
    if not isinstance(node, ast.Module):
        return True  # an imported or assigned object
    names = dict(definitions(tree))
    return "*" in names or "__getattr__" in names
