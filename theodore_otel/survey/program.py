"""A program as its source says: its functions and classes, and which of them a function uses."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from logging import Logger
from pathlib import Path
from typing import Final

from theodore_otel.survey import source

_ENTRY: Final = re.compile(r"(^|\.)(command|group|callback|get|post|put|patch|delete|route|api_route|websocket)$")
"""Decorators of click, typer, FastAPI and the like."""
_VALUES: Final = re.compile(
    r"(^|\.)(BaseModel|BaseSettings|Enum|StrEnum|IntEnum|NamedTuple|TypedDict|Exception|\w+Error)$"
)
_ABSTRACT: Final = re.compile(r"(^|\.)(ABC|Protocol)$")
_RECORD: Final = re.compile(r"(^|\.)(dataclass|define|frozen|attrs|s)$")
_DOUBLES: Final = re.compile(
    r"(^|_)(tests?|testing|mocks?|mocking|fakes?|stubs?|doubles?|fixtures?|conftest|examples?|dummy|dummies)(_|$)"
)
_DOUBLE: Final = re.compile(r"^(Mock|Fake|Stub|Dummy|Null|NoOp|Noop|InMemory|Test)(?=[A-Z]|$)|(Mock|Fake|Stub|Double)$")
_COMMON: Final = frozenset(
    name
    for kind in (str, bytes, dict, list, set, io.BufferedRandom, io.TextIOWrapper, Path, Logger)
    for name in dir(kind)
)
"""Methods of Python's own types: a call of one says nothing of a class of the program that has one of that name."""


@dataclass(eq=False)
class Class:
    """One class of the program."""

    name: str
    module: str
    bases: list[str]
    decorators: list[str]
    fields: dict[str, str]
    """Annotated names of its body, with what the annotation names."""
    constants: dict[str, object]
    attributes: dict[str, str] = field(default_factory=dict)
    """What `self.NAME` is set to: the name of a class, as far as the source says."""
    methods: dict[str, Function] = field(default_factory=dict)

    @property
    def is_value(self) -> bool:
        """Return True for records, enumerations and errors: they hold, and do nothing."""
        return any(map(_VALUES.search, self.bases)) or any(map(_RECORD.search, self.decorators))

    @property
    def is_abstract(self) -> bool:
        """Return True for interfaces."""
        return any(map(_ABSTRACT.search, self.bases)) and all(each.is_empty for each in self.methods.values())

    @property
    def is_double(self) -> bool:
        """Return True for what stands in for something else in tests."""
        return bool(_DOUBLE.search(self.name)) or is_double_module(self.module)


@dataclass(eq=False)
class Function:
    """One function or method of the program."""

    module: str
    name: str
    owner: Class | None
    node: source.Function

    @property
    def target(self) -> str:
        """Return `module:function`, as the configuration names it."""
        return f"{self.module}:{self.owner.name}.{self.name}" if self.owner else f"{self.module}:{self.name}"

    @property
    def is_private(self) -> bool:
        """Return True where the name says that nobody else should call it."""
        return self.name.startswith("_")

    @property
    def is_entry(self) -> bool:
        """Return True for a command or a route, which has a span of its own."""
        return any(
            isinstance(each, ast.Call) and _ENTRY.search(source.dotted(each)) for each in self.node.decorator_list
        )

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Return the parameters, each with what its annotation names."""
        arguments = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        return {each.arg: _named(each.annotation) for each in arguments if each.arg not in ("self", "cls")}

    @cached_property
    def uses(self) -> set[str]:
        """Return every dotted name in it: what is called, and what is handed over to be called elsewhere."""
        written = {name for each in ast.walk(self.node) if (name := _name(each))}
        known = self.locals
        return written | {
            f"{known[first]}.{rest}"
            for first, _, rest in (name.partition(".") for name in written)
            if rest and first in known
        }

    @cached_property
    def texts(self) -> list[str]:
        """Return the texts that stand in it."""
        return list(texts_of(self.node))

    @cached_property
    def returned(self) -> str:
        """Return what the annotation of the result names."""
        return _named(self.node.returns)

    @cached_property
    def keys(self) -> set[str]:
        """Return the keys of the dictionaries that it returns."""
        returned = [each.value for each in ast.walk(self.node) if isinstance(each, ast.Return)]
        return {
            key.value
            for value in returned
            if isinstance(value, ast.Dict)
            for key in value.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }

    @cached_property
    def is_empty(self) -> bool:
        """Return True where nothing is done: an abstract method, a getter, a constant, a text put together."""
        return not any(isinstance(each, ast.Call | ast.Await | ast.For | ast.While) for each in self._body())

    @cached_property
    def locals(self) -> dict[str, str]:
        """Return variables that are set to what a call of a name gives, each with that name."""
        found: dict[str, str] = {}
        for each in ast.walk(self.node):
            if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call):
                found |= {name.id: source.dotted(each.value) for name in each.targets if isinstance(name, ast.Name)}
            elif isinstance(each, ast.withitem) and isinstance(each.optional_vars, ast.Name):
                found[each.optional_vars.id] = source.dotted(each.context_expr)
        return found

    def _body(self) -> Iterator[ast.AST]:
        if any(source.dotted(each).endswith("abstractmethod") for each in self.node.decorator_list):
            return
        for statement in self.node.body:
            if not isinstance(statement, ast.Raise):
                yield from ast.walk(statement)


class Program:
    """Modules read together."""

    def __init__(self, modules: list[source.Module]) -> None:
        """Read the modules; those that cannot be parsed are passed over."""
        self.functions: list[Function] = []
        self.classes: dict[str, list[Class]] = {}
        self.imports: dict[str, dict[str, str]] = {}
        self.texts: dict[str, list[str]] = {}
        for module in modules:
            try:
                tree = module.tree()
            except (SyntaxError, OSError, ValueError, RecursionError):
                continue
            self.imports[module.name] = dict(_imported(tree, module))
            self.texts[module.name] = list(texts_of(tree))
            self._read(module.name, tree)
        self._by_name: dict[str, list[Function]] = {}
        for each in self.functions:
            self._by_name.setdefault(each.name, []).append(each)
        self._used: dict[Function, set[Function]] = {}

    def used_by(self, function: Function) -> set[Function]:
        """Return the functions of the program that a function uses."""
        if function not in self._used:
            found = {each for name in function.uses for each in self._resolved(name, function)}
            self._used[function] = found - {function}
        return self._used[function]

    def class_of(self, name: str) -> Class | None:
        """Return the class of a name, where there is one; doubles of tests come last."""
        return next(iter(sorted(self.classes.get(name, []), key=lambda each: each.is_double)), None)

    def _read(self, module: str, tree: ast.Module) -> None:
        for name, node in source.definitions(tree):
            if isinstance(node, source.Function):
                self.functions.append(Function(module, name, None, node))
            elif isinstance(node, ast.ClassDef):
                self._read_class(module, name, node)

    def _read_class(self, module: str, name: str, node: ast.ClassDef) -> None:
        annotated = [
            each for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        made = Class(
            name,
            module,
            [source.dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases],
            [source.dotted(each) for each in node.decorator_list],
            {each.target.id: _named(each.annotation) for each in annotated if isinstance(each.target, ast.Name)},
            {
                target.id: each.value.value
                for each in node.body
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
                for target in each.targets
                if isinstance(target, ast.Name)
            },
        )
        for inner, method in source.definitions(node):
            if isinstance(method, source.Function) and not source.is_property(method):
                made.methods[inner] = Function(module, inner, made, method)
        self.functions += made.methods.values()
        self.classes.setdefault(name, []).append(made)
        if "__init__" in made.methods:
            made.attributes = _attributes(made.methods["__init__"])
        made.attributes = {**made.fields, **made.attributes}

    def _resolved(self, name: str, function: Function) -> list[Function]:
        """Return the functions that a dotted name in a function may stand for."""
        parts = name.split(".")
        *receiver, last = parts
        if not receiver:
            return self._plain(last, function.module)
        kind = self._kind_of(receiver, function)
        if kind is not None:
            return self._methods(kind, last)
        if parts[0] in self.imports[function.module] and len(parts) == 2:
            module = self.imports[function.module][parts[0]]
            return [each for each in self._by_name.get(last, []) if each.module == module and not each.owner]
        instance = parts[0] in ("self", "cls") and len(receiver) > 1
        given = len(receiver) == 1 and receiver[0] in function.parameters
        if not (instance or given) or last in _COMMON or _is_library(receiver[-1]):
            return []
        # Nothing says what it is called on: whatever has a method of that name.
        return [each for each in self._by_name.get(last, []) if each.owner and each.owner is not function.owner]

    def _plain(self, name: str, module: str) -> list[Function]:
        whence, _, original = self.imports[module].get(name, "").rpartition(".")
        here = [each for each in self._by_name.get(name, []) if not each.owner and each.module == module]
        if here or not whence:
            return here
        return [each for each in self._by_name.get(original, []) if not each.owner and each.module == whence]

    def _kind_of(self, receiver: list[str], function: Function) -> Class | None:
        """Return the class of what a method is called on, as far as the source says."""
        first, *more = receiver
        kind = function.owner if first in ("self", "cls") else self.class_of(first)
        if kind is None:
            given = function.parameters.get(first) or function.locals.get(first, "").rpartition(".")[2]
            kind = self.class_of(given) if given else None
        for name in more:
            kind = self.class_of(kind.attributes.get(name, "")) if kind else None
        return kind

    def _methods(self, kind: Class, name: str) -> list[Function]:
        """Return the methods of a class of that name, or of what it inherits from, and of what inherits from it."""
        found = [kind.methods[name]] if name in kind.methods else []
        for base in kind.bases:
            above = self.class_of(base.rpartition(".")[2])
            if not found and above and above is not kind:
                found = self._methods(above, name)
        heirs = [each for classes in self.classes.values() for each in classes if kind.name in each.bases]
        return found + [each.methods[name] for each in heirs if name in each.methods]


def is_double_module(name: str) -> bool:
    """Return True for a module of tests, stand-ins or examples."""
    return any(_DOUBLES.search(part) for part in name.split("."))


def texts_of(node: ast.AST) -> Iterator[str]:
    """Yield the texts in a piece of source, those in f-strings too; what they are put together of is joined by `{}`."""
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in each.values)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _is_library(name: str) -> bool:
    return bool(re.search(r"(client|session|index|conn|connection|cursor|logger|log|console|collection)$", name))


def _attributes(init: Function) -> dict[str, str]:
    """Return what `__init__` sets attributes to: a class that is called, or that the parameter is annotated with."""
    found: dict[str, str] = {}
    for each in ast.walk(init.node):
        if not isinstance(each, ast.Assign | ast.AnnAssign) or each.value is None:
            continue
        targets = each.targets if isinstance(each, ast.Assign) else [each.target]
        for target in targets:
            several = isinstance(target, ast.Tuple) and isinstance(each.value, ast.Tuple)
            pairs = zip(target.elts, each.value.elts, strict=False) if several else [(target, each.value)]  # type: ignore[attr-defined]
            for place, value in pairs:
                name = _name(place)
                if name and name.startswith("self.") and (kind := _class_named(value, init)):
                    found[name.removeprefix("self.")] = kind
    return found


def _class_named(value: ast.expr, init: Function) -> str:
    if isinstance(value, ast.BoolOp):  # given or made here
        return next((kind for each in value.values if (kind := _class_named(each, init))), "")
    if isinstance(value, ast.Name):
        return init.parameters.get(value.id, "")
    return source.dotted(value).rpartition(".")[2] if isinstance(value, ast.Call) else ""


def _named(annotation: ast.expr | None) -> str:
    """Return the class that an annotation names, without what may stand in its place or around it."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return ""
    for each in ast.walk(annotation) if annotation else ():
        name = _name(each).rpartition(".")[2]
        if name and name not in ("Optional", "Union", "Annotated", "None", "Awaitable", "Callable"):
            return name
    return ""


def _name(node: ast.AST) -> str:
    return source.dotted(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _imported(tree: ast.Module, module: source.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports, anywhere in it, with what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.asname or each.name.partition(".")[0], each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            whence = source.absolute(node, module)
            yield from ((each.asname or each.name, f"{whence}.{each.name}".strip(".")) for each in node.names)
