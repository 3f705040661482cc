"""Find functions that are worth watching, by the signs in signs.yaml."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from theodore_otel.survey import source

_ARGUMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    # Kind of function -> what can be read from a parameter of such a name.
    "research": {"company": r"company(_name)?|name"},
    "ai": {"model": r"model(_name|_id)?"},
    "scraping": {"url": r"url|link|page_url|uri"},
}
_RESULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"outcome": r"success|ok|succeeded", "error": r"error|error_message|reason"},
    "research": {"pages": r"pages_scraped|pages"},
}
_ENTRY: Final = re.compile(r"\.(command|group|callback|get|post|put|patch|delete|route|api_route|websocket)$")
"""Decorators of click, typer, FastAPI and the like."""
_DEPTH: Final = 3
"""How many calls deep the steps of a research are looked for."""


@dataclass
class Candidate:
    """One function and what was found of it."""

    target: str
    """`module:function`, as the configuration names it."""
    name: str
    owner: str
    parameters: list[str]
    calls: list[str]
    uses: set[str]
    """Everything it names: what is called, and what is handed over to be called elsewhere."""
    keys: set[str]
    """Keys of the dictionaries it returns."""
    is_entry: bool
    """Whether it is a command or a route, which has a span of its own."""
    caller: str = ""
    kind: str = ""
    reason: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def entry(self) -> dict[str, str]:
        """Return what stands under `instrument.watch.<kind>`."""
        return {"function": self.target, **self.fields}


def suggest(package: str) -> list[Candidate]:
    """Return the functions of a package that are worth watching, with kind, reason and paths, the order of the source.

    Modules that cannot be parsed are passed over. Raises NoModuleError.
    """
    signs = yaml.safe_load(Path(__file__).with_name("signs.yaml").read_text(encoding="utf-8"))
    found = [candidate for module in source.modules(package) for candidate in _functions(module)]
    for sign in signs:
        callers = _steps(found, sign["step_of"]) if "step_of" in sign else None
        for candidate in found:
            if candidate.kind or candidate.name.startswith("_") or candidate.is_entry:
                continue
            if callers is not None:
                candidate.caller = callers.get(candidate.target, "")
            _judge(candidate, sign)
    chosen = [each for each in found if each.kind]
    for candidate in chosen:
        candidate.fields = dict(_fields(candidate))
    return chosen


def snippet(candidates: list[Candidate]) -> str:
    """Return the candidates as YAML to paste into the configuration."""
    watch: dict[str, list[dict[str, str]]] = {}
    for candidate in candidates:
        watch.setdefault(candidate.kind, []).append(candidate.entry())
    return str(yaml.safe_dump({"instrument": {"watch": watch}}, sort_keys=False, width=200)) if watch else ""


def _functions(module: source.Module) -> Iterator[Candidate]:
    try:
        tree = module.tree()
    except (SyntaxError, OSError, UnicodeDecodeError):
        return
    for name, node in source.definitions(tree):
        if isinstance(node, source.Function):
            yield _candidate(module, name, "", node)
        elif isinstance(node, ast.ClassDef):
            for inner, method in source.definitions(node):
                if isinstance(method, source.Function) and not source.is_property(method):
                    yield _candidate(module, inner, name, method)


def _candidate(module: source.Module, name: str, owner: str, node: source.Function) -> Candidate:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    return Candidate(
        target=f"{module.name}:{owner}.{name}" if owner else f"{module.name}:{name}",
        name=name,
        owner=owner,
        parameters=[argument.arg for argument in arguments if argument.arg not in ("self", "cls")],
        calls=[called for each in ast.walk(node) if isinstance(each, ast.Call) and (called := source.dotted(each))],
        uses={source.dotted(each) for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute)},
        keys={
            key.value
            for value in returned
            if isinstance(value, ast.Dict)
            for key in value.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        },
        is_entry=any(_ENTRY.search(source.dotted(decorator)) for decorator in node.decorator_list),
    )


def _judge(candidate: Candidate, sign: Mapping[str, str]) -> None:
    """Give a candidate the kind of a sign that fits."""
    found = {"name": candidate.name, "owner": candidate.owner, "caller": candidate.caller}
    looked = {
        "names": ("name", [candidate.name]),
        "classes": ("owner", [candidate.owner]),
        "parameters": ("parameter", candidate.parameters),
        "calls": ("call", candidate.calls),
    }
    for condition, (word, texts) in looked.items():
        if condition in sign:
            fitting = next((text for text in texts if text and re.search(sign[condition], text)), None)
            if fitting is None:
                return
            found[word] = fitting
    if "step_of" in sign and not candidate.caller:
        return
    candidate.kind = sign["kind"]
    candidate.reason = sign["reason"].format(**found)


def _steps(found: list[Candidate], kind: str) -> dict[str, str]:
    """Return the functions that those of a kind call, directly or through private ones, each with its caller's name."""
    steps: dict[str, str] = {}
    for outer in (each for each in found if each.kind == kind):
        seen: dict[str, str] = {}
        reached = [outer]
        for _ in range(_DEPTH):
            used = {name.rpartition(".")[2] for each in reached for name in each.uses}
            reached = [each for each in found if each.name in used and each.target not in seen and not each.kind]
            seen.update({each.target: outer.name for each in reached})
            reached = [each for each in reached if each.name.startswith("_")]
        steps = seen | steps
    return steps


def _fields(candidate: Candidate) -> Iterator[tuple[str, str]]:
    for key, pattern in _ARGUMENTS.get(candidate.kind, {}).items():
        if name := next((each for each in candidate.parameters if re.fullmatch(pattern, each)), None):
            yield key, f"arg.{name}"
    if candidate.kind == "similarity":
        return
    for key, pattern in {**_RESULTS[""], **_RESULTS.get(candidate.kind, {})}.items():
        if name := next((each for each in sorted(candidate.keys) if re.fullmatch(pattern, each)), None):
            yield key, f"result.{name}"


def as_dict(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate for programs."""
    return {
        "kind": candidate.kind,
        "function": candidate.target,
        "reason": candidate.reason,
        "fields": candidate.fields,
    }
