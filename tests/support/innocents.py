"""Lines that installed libraries print and say, drawn the same way each time: what redaction should not touch."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = Path(sysconfig.get_paths()["purelib"])
FILES = {"*.py": 260, "METADATA": 110, "*.rst": 20, "*.md": 20, "*.txt": 20, "*.json": 60, "*.json.gz": 20, "*.html": 5}
"""How many files of each kind are read."""
OF_A_FILE = 60
SHORTEST, LONGEST = 12, 400
_OURS = ("theodore", "sample_theodore")


def lines() -> list[str]:
    """Return unlike lines of docstrings, messages, descriptions, documentation and data."""
    found: dict[str, None] = {}
    for pattern, number in FILES.items():
        for path in _drawn(pattern, number):
            of_it = (line.strip() for text in _texts(path) for line in text.splitlines())
            found.update(dict.fromkeys(_some([line for line in of_it if SHORTEST <= len(line) <= LONGEST])))
    return list(found)


def _drawn(pattern: str, number: int) -> list[Path]:
    """Return files, those of one package never more than a tenth."""
    of_package: dict[str, int] = {}
    chosen: list[Path] = []
    for path in sorted(PACKAGES.rglob(pattern), key=lambda path: _order(str(path.relative_to(PACKAGES)))):
        package = path.relative_to(PACKAGES).parts[0]
        if package.startswith(_OURS) or of_package.get(package, 0) * 10 > number:
            continue
        of_package[package] = of_package.get(package, 0) + 1
        chosen.append(path)
        if len(chosen) == number:
            break
    return chosen


def _some(of_it: list[str]) -> list[str]:
    return sorted(of_it, key=_order)[:OF_A_FILE]


def _order(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _texts(path: Path) -> Iterator[str]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode("utf-8", "replace")
    if path.suffix == ".py":
        yield from _said(text)
    elif ".json" in path.suffixes:
        yield text[:20_000]
        yield from _strings(json.loads(text))
    else:
        yield text


def _said(source: str) -> Iterator[str]:
    """Return the texts in a module: docstrings, messages, templates."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
