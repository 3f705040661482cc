"""Which files a program consists of, and by which names its modules are imported."""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from theodore_otel.survey import source
from theodore_otel.survey.source import Module, NoModuleError

_MOST_FILES: Final = 3_000
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "dist-packages", "build", "dist", "__pycache__"})
_TESTS: Final = ("test", "conftest")


def modules(wanted: str) -> list[Module]:
    """Return the modules of a program, given by a package's name, a folder or a file; tests are left out.

    Modules that it puts on `sys.path` are found by what the others import. Raises NoModuleError.
    """
    place = Path(wanted)
    if place.is_file() and place.suffix == ".py":
        return _with_imported([Module(place.stem, place.resolve())], place.resolve().parent)
    is_path = os.sep in wanted or wanted in (".", "..")
    if not is_path and _place(wanted):
        return _of_package(list(source.modules(wanted)))
    place = place if place.exists() else Path(*wanted.split("."))
    if place.is_dir():
        return _of_folder(place.resolve())
    return modules(f"{place}.py") if place.with_suffix(".py").is_file() else list(source.modules(wanted))


def several(wanted: Iterable[str]) -> list[Module]:
    """Return the modules of several packages, folders or files, each once. Raises NoModuleError."""
    return list({module.path.resolve(): module for name in wanted for module in modules(name)}.values())


def _of_package(found: list[Module]) -> list[Module]:
    if not found:
        return []
    folder = found[0].path.resolve().parent
    top = _root_of(folder)
    if top == folder and "." in found[0].name:  # without __init__.py it may as well be a folder on the path
        top = folder.parents[found[0].name.count(".") - 1]
        names = {} if _is_installed(top) else _named(_files(top), top)
        found = [Module(names.get(each.path.resolve(), each.name), each.path) for each in found]
    return _with_imported(found, top)


def _of_folder(folder: Path) -> list[Module]:
    root = _root_of(folder)
    names = _named(_files(root), root)
    return _with_imported([Module(name, path) for path, name in names.items() if path.is_relative_to(folder)], root)


def _with_imported(found: list[Module], root: Path) -> list[Module]:
    """Return the modules, and those around them that they import and that are nobody else's."""
    tops = {name.partition(".")[0] for module in found for name in imported(module)}
    own = {module.name.partition(".")[0] for module in found}
    if _is_installed(root) or all(top in own or _is_installed(_place(top)) for top in tops):
        return found
    names = _named(_files(root), root)
    start = {module.path.resolve(): module.name for module in found}
    reached = _reached(set(start), names | start)
    # What lies beside a module in a folder that was put on the path belongs to the program as well.
    beside = {module.path.parent for module in reached if module.path not in start} - {root}
    more = [Module(name, path) for path, name in names.items() if path.parent in beside and path not in start]
    return list({module.path: module for module in [*reached, *more]}.values())


def _reached(start: set[Path], names: dict[Path, str]) -> list[Module]:
    """Return the modules at `start` and those that they import, directly or not."""
    paths = {name: path for path, name in names.items()}
    seen: dict[Path, Module] = {}
    waiting = sorted(start)
    while waiting:
        path = waiting.pop(0)
        if path in seen or path not in names:
            continue
        seen[path] = Module(names[path], path)
        waiting += [paths[name] for name in imported(seen[path]) if name in paths]
    return list(seen.values())


def imported(module: Module) -> set[str]:
    """Return every name that a module imports, and for `from a import b` both `a` and `a.b`."""
    try:
        tree = module.tree()
    except (SyntaxError, OSError, ValueError, RecursionError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            whence = source.absolute(node, module)
            found |= {whence, *(f"{whence}.{each.name}" for each in node.names)}
    return found - {""}


def _named(files: list[Path], root: Path) -> dict[Path, str]:
    """Return the name of each file's module: the one it is imported by, else that of its neighbours' folder.

    A folder that is put on `sys.path` is known by this: a name is imported that fits a file below it alone.
    """
    ways: dict[str, set[Path]] = {}
    for path in files:
        parts = _parts(path, root)
        for start in range(len(parts)):
            ways.setdefault(".".join(parts[start:]), set()).add(path)
    names: dict[Path, str] = {}
    roots = {root}
    for name in sorted(set().union(*(imported(Module(".".join(_parts(path, root)), path)) for path in files), set())):
        fitting = ways.get(name, set())
        if len(fitting) == 1 and name.partition(".")[0] not in sys.stdlib_module_names:
            (path,) = fitting
            names[path] = name
            roots.add((path.parent if path.name == "__init__.py" else path).parents[name.count(".")])
    for path in files:
        nearest = max((each for each in roots if path.is_relative_to(each)), key=lambda each: len(each.parts))
        names.setdefault(path, ".".join(_parts(path, _package_root(path, nearest))))
    return {path: name for path, name in names.items() if name}


def _package_root(path: Path, nearest: Path) -> Path:
    """Return the folder that a file's name counts from: inside a package it is the one above the package."""
    top = path.parent
    while (top / "__init__.py").exists() and top != nearest:
        top = top.parent
    return top if (path.parent / "__init__.py").exists() and top != path.parent else nearest


def _parts(path: Path, root: Path) -> tuple[str, ...]:
    parts = path.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(each for each in folders if not _left_out(here / each))
        found += [here / name for name in sorted(names) if name.endswith(".py") and not name.startswith(_TESTS)]
        if len(found) > _MOST_FILES:
            break
    return found[:_MOST_FILES]


def _left_out(folder: Path) -> bool:
    name = folder.name
    return (
        (name.startswith((".", *_TESTS)) and name != "testing") or name in _SKIPPED or (folder / "pyvenv.cfg").exists()
    )


def _root_of(folder: Path) -> Path:
    """Return the folder that the packages around a folder are imported from."""
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    return folder


def _place(name: str) -> Path | None:
    """Return where a module is, None where there is none; what has no file is Python's own."""
    try:
        spec = source.find_spec(name)
    except NoModuleError:
        return None
    where = (
        spec.origin if spec.has_location and spec.origin else next(iter(spec.submodule_search_locations or ()), None)
    )
    return Path(where or sysconfig.get_path("stdlib"))


def _is_installed(place: Path | None) -> bool:
    folders = [Path(sysconfig.get_path(each)).resolve() for each in ("purelib", "platlib", "stdlib")]
    return place is not None and any(place.resolve().is_relative_to(each) for each in folders)
