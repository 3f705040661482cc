"""Write docs/api.md from docstrings: `python -m theodore_otel.render.api [--check]`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

from theodore_otel import telemetry
from theodore_otel.render.files import RenderedFile, stale, write

_PACKAGE = Path(__file__).parents[1]
_FOLDER = Path(__file__).parents[2] / "docs"
_FILE = "api.md"
_CHAPTERS = {
    "Set-up": ("process", "config"),
    "Logging": ("levels", "factory", "logger"),
    "Tracing": ("tracing", "operations"),
    "Metrics": ("metrics", "performance"),
    "Audit": ("audit",),
}
_PUBLIC = telemetry.PUBLIC
_HEAD = """# Python API

Everything here is imported from `theodore_otel`, and costs nothing before it is used. See [logging](logging.md) and
[tracing and metrics](tracing.md) for how to use it. This page is made from the docstrings; do not edit it.
"""


def main(check: bool) -> int:
    """Write the page, or with `check` only say whether it is current. Returns the exit code."""
    file = RenderedFile(_FILE, generate())
    if check and stale([file], _FOLDER):
        sys.stderr.write(f"docs/{_FILE} is stale; run: python -m theodore_otel.render.api\n")
        return 1
    if not check:
        write([file], _FOLDER)
    return 0


def generate() -> str:
    """Return the page."""
    loaded = griffe.load("theodore_otel", search_paths=[_PACKAGE.parent], allow_inspection=False)
    found = {name: loaded[f"telemetry.{module}.{name}"] for name, module in _PUBLIC.items()}
    parts = [_HEAD]
    for chapter, modules in _CHAPTERS.items():
        names = [name for module in modules for name in sorted(_PUBLIC) if _PUBLIC[name] == module]
        if names:
            parts.append(f"## {chapter}\n")
            parts += [part for name in names for part in _name(found[name])]
    return "\n".join(parts)


def _name(item: griffe.Object | griffe.Alias) -> Iterator[str]:
    item = item.final_target if isinstance(item, griffe.Alias) else item
    yield f"### {item.name}\n"
    if isinstance(item, griffe.Class):
        yield from _class(item)
    elif isinstance(item, griffe.Function):
        yield from _function(item.name, item)
    else:
        yield _text(item)


def _class(item: griffe.Class) -> Iterator[str]:
    yield _text(item)
    init = item.members.get("__init__")
    fields = [m for m in item.members.values() if isinstance(m, griffe.Attribute) and not m.name.startswith("_")]
    defaults = {}
    if isinstance(init, griffe.Function):
        defaults = {parameter.name: parameter.default for parameter in init.parameters}
        if "dataclass" not in item.labels:
            yield from _function(item.name, init)
    if fields:
        yield "".join(_field(each, defaults.get(each.name, each.value)) for each in fields)
    for member in item.members.values():
        if isinstance(member, griffe.Function) and not member.name.startswith("_"):
            yield f"#### {item.name}.{member.name}\n"
            yield from _function(member.name, member)


def _function(name: str, item: griffe.Function) -> Iterator[str]:
    awaited = "async " if "async" in item.labels else ""
    returns = f" -> {item.returns}" if item.returns is not None and item.name != "__init__" else ""
    yield f"```python\n{awaited}{name}({', '.join(_parameters(item))}){returns}\n```\n"
    yield _text(item)


def _parameters(item: griffe.Function) -> Iterator[str]:
    starred = False
    for parameter in item.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind
        if kind is griffe.ParameterKind.keyword_only and not starred:
            starred = True
            yield "*"
        starred |= kind is griffe.ParameterKind.var_positional
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(kind, "")
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        default = f" = {parameter.default}" if parameter.default is not None and not stars else ""
        yield f"{stars}{parameter.name}{annotation}{default}"


def _field(item: griffe.Attribute, value: object) -> str:
    kind = f": {item.annotation}" if item.annotation is not None else ""
    default = f" = {value}" if value is not None and "property" not in item.labels else ""
    text = " ".join(_text(item).split())
    return f"- `{item.name}{kind}{default}`{': ' + text if text else ''}\n"


def _text(item: griffe.Object) -> str:
    if item.docstring is None:
        return ""
    text = inspect.cleandoc(item.docstring.value)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text) + "\n"


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
