"""Find functions that are worth watching, by the signs in signs.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from theodore_otel.survey import files
from theodore_otel.survey.program import Class, Function, Program, is_double_module

_ARGUMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    # Kind of function -> what can be read from a parameter of such a name.
    "ai": {"model": r"model(_name|_id)?"},
    "scraping": {"url": r"((page|target|full|source|web)_)?(url|link|uri|href)"},
}
_COMPANY: Final = r"(company|organi[sz]ation|firm|business|prospect|lead|account)(_?name)?|name"
_RESULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"outcome": r"success|ok|succeeded|is_success", "error": r"error|error_message|reason|failure"},
    "research": {"pages": r"pages_scraped|pages|page_count|total_pages"},
}
_GOOD: Final = r"COMPLETED?|SUCCESS(FUL)?|SUCCEEDED|DONE|OK|FINISHED"
_LEAST_STEPS: Final = 2
_NO_OWNER: Final = re.compile(r"(Factory|Settings|Config|Configuration|Options|Formatter|Mapper|Serializer|Validator)$")


@dataclass
class Candidate:
    """One function, or one preset, and what was found of it."""

    kind: str
    """Key under `instrument.watch`, or `preset`, or `model_api`."""
    target: str
    """`module:function`, as the configuration names it; the preset's name; the URL's pattern."""
    reason: str
    fields: dict[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """Return what stands under `instrument.watch.<kind>`."""
        return {"function": self.target, **self.fields}


def suggest(*wanted: str) -> list[Candidate]:
    """Return what is worth watching in packages, folders or files: kind, reason and paths, in the order of the source.

    Modules that cannot be parsed are passed over. Raises NoModuleError.
    """
    return _Survey(Program(files.several(wanted))).candidates()


def snippet(candidates: list[Candidate]) -> str:
    """Return the candidates as YAML to paste into the configuration."""
    told: dict[str, Any] = {}
    watch: dict[str, list[dict[str, Any]]] = {}
    for each in candidates:
        if each.kind == "preset":
            told.setdefault("presets", []).append(each.target)
        elif each.kind == "model_api":
            told.setdefault("model_apis", []).append({"url": each.target, **each.fields})
        else:
            watch.setdefault(each.kind, []).append(each.entry())
    told |= {"watch": watch} if watch else {}
    return str(yaml.safe_dump({"instrument": told}, sort_keys=False, width=200)) if told else ""


def as_dict(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate for programs."""
    return {
        "kind": candidate.kind,
        "function": candidate.target,
        "reason": candidate.reason,
        "fields": candidate.fields,
    }


class _Survey:
    """One program looked at by the signs."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._signs = yaml.safe_load(Path(__file__).with_name("signs.yaml").read_text(encoding="utf-8"))
        self._kinds: dict[Function, tuple[str, str]] = {}
        self._functions = [each for each in program.functions if _may_work(each)]
        self._working: dict[Function, bool] = {}

    def candidates(self) -> list[Candidate]:
        """Judge every function; leaves first, so that steps are what is left."""
        presets = list(self._presets_of_clients())
        for kind in ("ai", "storage", "scraping"):
            self._judge_leaves(kind)
        self._judge_similarity()
        self._judge_researches()
        functions = [
            Candidate(kind, each.target, reason, dict(self._fields(each, kind)))
            for each in self._program.functions
            for kind, reason in [self._kinds.get(each, ("", ""))]
            if kind
        ]
        kinds = {each.kind for each in functions}
        presets += self._presets_of_stores(kinds)
        return [*functions, *presets, *self._model_apis({each.target for each in presets})]

    # Leaves: what fetches a page, uses a store, calls a model.

    def _judge_leaves(self, kind: str) -> None:
        sign = self._signs[kind]
        fitting = {each: found for each in self._functions if (found := self._leaf(each, kind, sign))}
        for each, found in fitting.items():
            outer = self._public_face(each, sign) if each.is_private or kind == "scraping" else each
            if outer is not None and outer not in self._kinds and not outer.is_entry:
                self._kinds[outer] = (kind, sign["reason"].format(**found))
        for each in [each for each, (given, _) in self._kinds.items() if given == kind]:
            if any(self._kinds.get(used, ("",))[0] == kind for used in self._inner(each)):
                del self._kinds[each]  # it only hands on to one that does it

    def _leaf(self, function: Function, kind: str, sign: Mapping[str, str]) -> dict[str, str] | None:
        """Return what was found of a function that fits a sign of a kind."""
        found = {"name": function.name}
        private = function.is_private and not re.search(sign.get("private", ""), function.name)
        if private or re.search(sign.get("unlike", "(?!)"), function.name):
            return None
        use = _first(sign["uses"], function.uses)
        if kind == "ai" and ((use and self._by_preset) or not use):
            return None
        if use is None:
            named = function.owner and re.search(sign.get("classes", "(?!)"), function.owner.name)
            if not (named and re.search(sign["names"], function.name) and self._touches(function)):
                return None
            use = f"{function.name} of {function.owner.name}" if function.owner else function.name
        if "parameters" in sign:
            parameter = _first(sign["parameters"], function.parameters)
            if parameter is None or self._is_model_client(function):
                return None
            found["parameter"] = parameter
        return {**found, "use": use}

    def _public_face(self, function: Function, sign: Mapping[str, str]) -> Function | None:
        """Return the function that stands for a leaf: the one caller that is given the same, else itself."""
        users = [each for each in self._functions if function in self._program.used_by(each) and not each.is_entry]
        asked = sign.get("parameters")
        faces = [each for each in users if not asked or _first(asked, each.parameters)]
        if len(users) == 1 and faces and (function.is_private or asked):
            return self._public_face(faces[0], sign) if faces[0].is_private else faces[0]
        if function.is_private and not asked:
            return next((each for each in faces if each.owner is function.owner and not each.is_private), None)
        return function if users or not function.is_private else None

    def _inner(self, function: Function) -> set[Function]:
        """Return what a function uses, directly or by private ones of its own class or module."""
        found: set[Function] = set()
        waiting = [function]
        while waiting:
            for used in self._program.used_by(waiting.pop()) - found:
                found.add(used)
                if used.is_private and used.module == function.module:
                    waiting.append(used)
        return found - {function}

    def _touches(self, function: Function) -> bool:
        """Return True where something is read or written: a handle of the instance, a file, or what does so."""
        direct = any(re.search(r"^self\.\w+\.\w+$|(^|\.)(open|read_text|write_text|read_bytes|write_bytes|dump)$", use)
                     for use in function.uses)  # fmt: skip
        return direct or any(self._touches(each) for each in self._inner(function) if each.is_private)

    def _judge_similarity(self) -> None:
        for each in self._functions:
            named = re.search(self._signs["similarity"]["names"], each.name) and not each.is_private
            if named and each not in self._kinds and len(each.parameters) > 1 and not each.is_empty:
                self._kinds[each] = ("similarity", self._signs["similarity"]["reason"].format(name=each.name))

    # Researches, and the phases that they are made of.

    def _judge_researches(self) -> None:
        sign = self._signs["research"]
        possible = [each for each in self._functions if self._may_research(each)]
        steps = {each: found for each in possible if len(found := self._steps(each)) >= _LEAST_STEPS}
        if not all(each.is_entry for each in steps):  # a command is a research where nothing else is
            steps = {each: found for each, found in steps.items() if not each.is_entry}
        for each, found in steps.items():
            if any(self._better(other, each, steps) for other in steps if other is not each):
                continue
            subject = self._subject(each) or "a company"
            self._kinds[each] = ("research", sign["reason"].format(count=len(found), subject=subject))
            for step in found:
                if step not in self._kinds and not step.is_entry:
                    self._kinds[step] = ("phase", self._signs["phase"]["reason"].format(caller=each.name))

    def _may_research(self, function: Function) -> bool:
        sign = self._signs["research"]
        if (function.is_private and function.name != "__call__") or function in self._kinds:
            return False
        owner = function.owner.name if function.owner else ""
        names = [function.name, _snake(owner), function.module.rpartition(".")[2]]
        named = any(re.search(sign["names"], each.lower()) for each in names)
        entry = bool(re.search(sign["entries"], function.name))
        return entry and bool(self._subject(function) or named)

    def _subject(self, function: Function) -> str | None:
        """Return the path to the company in a function's arguments."""
        subjects = self._signs["research"]["subjects"]
        for name, annotation in function.parameters.items():
            if re.search(subjects, name):
                return self._within(name, annotation) or name
        for name, annotation in function.parameters.items():
            if inner := self._within(name, annotation):
                return inner
        return None

    def _within(self, name: str, annotation: str) -> str | None:
        """Return the path to a company's name in a record that is handed over."""
        record = self._program.class_of(annotation)
        found = record and (_first(f"^({_COMPANY.removesuffix('|name')})$", record.fields))
        if record and not found and re.search(self._signs["research"]["subjects"], _snake(annotation)):
            found = "name" if "name" in record.fields else None
        return f"{name}.{found}" if found else None

    def _better(self, other: Function, one: Function, steps: Mapping[Function, list[Function]]) -> bool:
        """Return True where another function is the research, and this one its step or what starts it."""
        uses, used = other in self._all_inner(one), one in self._all_inner(other)
        if not (uses or used):
            return False
        ours, theirs = self._weight(one, steps), self._weight(other, steps)
        return theirs > ours or (theirs == ours and uses)

    def _weight(self, function: Function, steps: Mapping[Function, list[Function]]) -> int:
        return len(steps[function]) + 2 * (self._subject(function) is not None)

    def _all_inner(self, function: Function) -> set[Function]:
        found: set[Function] = set()
        waiting = [function]
        while waiting:
            new = self._program.used_by(waiting.pop()) - found
            found |= new
            waiting += new
        return found

    def _steps(self, function: Function) -> list[Function]:
        """Return the functions that a research brings together, through private ones that only pass on to them."""
        found: dict[Function, None] = {}
        waiting = [function]
        seen = {function}
        while waiting:
            current = waiting.pop(0)
            used = [each for each in self._in_order(current) if each not in seen]
            seen.update(used)
            for each in used:
                if self._passes_on(each, function):
                    waiting.append(each)
                elif self._is_step(each):
                    found[each] = None
        return list(found)

    def _passes_on(self, function: Function, research: Function) -> bool:
        """Return True for a private function that is not a step but where the steps are."""
        if not function.is_private or function.module != research.module or self._named_step(function):
            return False
        return sum(self._is_step(each) for each in self._program.used_by(function)) >= _LEAST_STEPS

    def _is_step(self, function: Function) -> bool:
        if not _may_work(function) or re.search(self._signs["no_step"], function.name):
            return False
        if self._kinds.get(function, ("",))[0] in ("storage", "scraping", "ai", "similarity"):
            return False
        if self._is_model_client(function):
            return False
        return self._named_step(function) or self._works(function)

    def _named_step(self, function: Function) -> bool:
        return bool(re.search(self._signs["phase"]["names"], function.name))

    def _in_order(self, function: Function) -> list[Function]:
        used = self._program.used_by(function)
        return [each for each in self._program.functions if each in used]

    def _works(self, function: Function) -> bool:
        """Return True where, in the end, a page is fetched, a store used or a model called."""
        if function not in self._working:
            self._working[function] = False  # for circles
            self._working[function] = self._works_itself(function) or any(
                self._works(each) for each in self._program.used_by(function) if not _is_double(each)
            )
        return self._working[function]

    def _works_itself(self, function: Function) -> bool:
        outside = (self._signs[kind]["uses"] for kind in ("ai", "storage", "scraping"))
        return (
            function in self._kinds
            or any(_first(pattern, function.uses) for pattern in outside)
            or self._is_model_client(function)
        )

    # Model clients.

    @cached_property
    def _by_preset(self) -> bool:
        """Return True where a preset knows the library by which this program calls models."""
        return any(each.target != "pinecone" for each in self._presets_of_clients())

    def _presets_of_clients(self) -> Iterator[Candidate]:
        yield from self._presets(sign for sign in self._signs["presets"] if "unless" not in sign)

    def _presets_of_stores(self, kinds: set[str]) -> Iterator[Candidate]:
        """Yield presets of libraries that no function of the program's own stands in front of."""
        yield from self._presets(sign for sign in self._signs["presets"] if sign.get("unless", "") not in {*kinds, ""})

    def _presets(self, signs: Iterable[Mapping[str, str]]) -> Iterator[Candidate]:
        modules = [name for name in self._program.imports if not is_double_module(name)]
        imports = {whole for name in modules for whole in self._program.imports[name].values()}
        uses = {use for each in self._functions for use in each.uses}
        texts = {text for name in modules for text in self._program.texts[name]}
        for sign in signs:
            found = _first(sign["imports"], imports)
            told = "texts" not in sign or _first(sign["texts"], texts) or _first(sign["uses"], uses)
            if found and told:
                yield Candidate("preset", sign["preset"], sign["reason"].format(**{"import": found}))

    def _is_model_client(self, function: Function) -> bool:
        """Return True where a model is called over plain HTTP: the URL is recognised, its function is not watched."""
        posts = any(re.search(r"(^|\.)(post|request|send|fetch|urlopen|stream)$", use) for use in function.uses)
        speaks = {"messages", "model", "role"} <= set(function.texts) or {"prompt", "model"} <= set(function.texts)
        return posts and (speaks or any(re.search(self._signs["model_urls"], text) for text in function.texts))

    def _model_apis(self, presets: set[str]) -> Iterator[Candidate]:
        """Yield the model APIs that are called over plain HTTP and that neither the defaults nor a preset knows."""
        from theodore_otel.survey import model_urls

        texts = [
            text
            for name, found in self._program.texts.items()
            if not is_double_module(name)
            for text in found
            if text.startswith("http")
        ]
        for url in dict.fromkeys(texts):
            if not re.search(self._signs["model_urls"], url.partition("?")[0]) or "{}" in url:
                continue
            preset = model_urls.preset_of(url)
            if preset is None:
                yield Candidate("model_api", *model_urls.described(url))
            elif preset and preset not in presets:
                presets.add(preset)
                yield Candidate("preset", preset, f"{url} is called")

    # What can be read from arguments and results.

    def _fields(self, function: Function, kind: str) -> Iterator[tuple[str, Any]]:
        if kind == "research" and (subject := self._subject(function)):
            yield "company", f"arg.{subject}"
        for key, pattern in _ARGUMENTS.get(kind, {}).items():
            if name := _first(f"^({pattern})$", function.parameters):
                yield key, f"arg.{name}"
        if kind == "similarity":
            return
        record = self._program.class_of(function.returned)
        known = function.keys | set(record.fields if record else {})
        for key, pattern in {**_RESULTS[""], **_RESULTS.get(kind, {})}.items():
            if name := _first(f"^({pattern})$", known):
                yield key, f"result.{name}"
            elif key == "outcome" and record and (rule := self._status(record)):
                yield key, rule

    def _status(self, record: Class) -> dict[str, Any] | None:
        """Return the rule by which a record's status says success."""
        status = _first("^(status|state)$", record.fields)
        values = self._program.class_of(record.fields[status]) if status else None
        good = _first(f"^({_GOOD})$", values.constants) if values else None
        return {"path": f"result.{status}", "equals": values.constants[good]} if values and good else None


def _may_work(function: Function) -> bool:
    """Return False for what is never watched: doubles, interfaces, records, getters, what starts an instance."""
    owner = function.owner
    if re.match(r"__(?!call__)", function.name) or function.is_empty or _is_double(function):
        return False
    return not (owner and (owner.is_value or owner.is_abstract or _NO_OWNER.search(owner.name)))


def _is_double(function: Function) -> bool:
    return function.owner.is_double if function.owner else is_double_module(function.module)


def _first(pattern: str, names: Iterable[str]) -> str | None:
    return next((name for name in sorted(names) if re.search(pattern, name)), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
