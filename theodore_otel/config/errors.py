"""Turn what the model refuses into messages that name file, line, key path, what was expected and what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from theodore_otel.config.source import KeyPath, Source
from theodore_otel.errors import InputError

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "missing": "a value",
}
_LONGEST_SHOWN = 120
"""Characters of a value or key that a message repeats."""

Fields = list[tuple[type[BaseModel], FieldInfo]]

_KINDS = {
    str: "the string",
    int: "the number",
    float: "the number",
    bool: "",
    list: "a list",
    dict: "a mapping",
}


def explain(
    error: ValidationError, model: type[BaseModel], source: Source, merged: dict[str, Any] | None = None
) -> InputError:
    """Return the one error to show: a line for each problem, the first in the file first.

    `merged` is what was validated, when that is the file over what lies below it.
    """
    whole = source.data if merged is None else merged
    problems = sorted(_problem(detail, model, source, whole) for detail in error.errors())
    return InputError("\n".join(text for _, text in problems))


def _problem(detail: ErrorDetails, model: type[BaseModel], source: Source, merged: dict[str, Any]) -> tuple[int, str]:
    path = _written_path(detail["loc"], source.data, merged)
    text = _message(detail, path, model)
    key = dotted(path)
    named = text.partition(": ")[0]
    if named.startswith(f"{key}." if key else "") and source.line(tuple(named.split("."))):
        # A check of several keys names the one it is about.
        path, key = tuple(named.split(".")), ""
    line = source.line(path) or 0
    where = f"{source.name}:{line}" if line else source.name
    return line, f"{where}: {key}: {text}" if key else f"{where}: {text}"


def _written_path(loc: tuple[str | int, ...], own: Any, merged: Any) -> KeyPath:
    """Return a location as the file has it: without union tags and `[key]`, items counted in the file's own list."""
    path: list[str | int] = []
    for part in loc:
        is_tag = isinstance(merged, dict) and part not in merged and merged.get("type") == part
        if part == "[key]" or is_tag:
            continue
        item = _item(merged, part)
        written = own.index(item) if isinstance(own, list) and item in own else part
        path.append(written)
        own, merged = _item(own, written), item
    return tuple(path)


def _item(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None


def _message(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), detail["loc"], model)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_type(context, detail["input"])
    if kind == "value_error":
        got = (
            ""
            if "got" in str(context["error"]) or isinstance(detail["input"], dict)
            else f", got {_shown(detail['input'])}"
        )
        return f"{context['error']}{got}"
    if kind == "missing":
        return "this key is required and missing"
    if kind == "string_pattern_mismatch":
        return f"expected text {_form(context['pattern'], detail['loc'], model)}, got {_shown(detail['input'])}"
    expected = _EXPECTED.get(kind) or detail["msg"].removeprefix("Input should be ").replace(
        " or equal to", " or equal to"
    )
    return f"expected {expected}, got {_shown(detail['input'])}" + _hint(kind, detail["input"], context)


def _hint(kind: str, value: Any, context: dict[str, Any]) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "; put it in quotes"
    if kind == "literal_error" and isinstance(value, str):
        allowed = [part.strip("' ") for part in context["expected"].replace(" or ", ", ").split(", ")]
        begun = [each for each in allowed if value and each.startswith(value)]
        return f"; did you mean {begun[0]!r}?" if len(begun) == 1 else _near(value, allowed)
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | dict):
        return _KINDS[type(value)]
    return f"{_KINDS.get(type(value), 'the value')} {_cut(repr(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def dotted(path: KeyPath) -> str:
    """Return a key path as one line that a terminal can be sent."""
    return ".".join(_cut(text if (text := str(part)).isprintable() else repr(part)) for part in path)


def _unknown_key(key: str, loc: tuple[str | int, ...], model: type[BaseModel]) -> str:
    known = keys_at(model, loc[:-1])
    hint = _near(key, known) or elsewhere(model, key, tuple(str(part) for part in loc[:-1]))
    return f"unknown key{hint}" + (f" (known: {', '.join(known)})" if known else "")


def elsewhere(model: type[BaseModel], key: str, within: tuple[str, ...]) -> str:
    """Return a hint at the one place where such a key is known: below `within`, or else anywhere."""
    places = [path for path in _paths(model) if path[-1] == key]
    nearer = [path for path in places if path[: len(within)] == within] or places
    return f"; did you mean {'.'.join(nearer[0])!r}?" if len(nearer) == 1 else ""


def _paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all keys that the file's form names itself."""
    for name, field in fields_of(model).items():
        yield (*above, name)
        for section in _models(field.annotation):
            yield from _paths(section, (*above, name))


def _unknown_type(context: dict[str, Any], value: Any) -> str:
    if not isinstance(value, dict) or "type" not in value:
        return (
            "expected a mapping with `type`"
            if not isinstance(value, dict)
            else "type: this key is required and missing"
        )
    expected = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
    return (
        f"type: expected one of {', '.join(expected)}, got {_shown(value['type'])}{_near(str(value['type']), expected)}"
    )


def _form(pattern: str, loc: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Say how a text has to look: by the field's example where it has one."""
    owners = [owner for candidate in _annotations_at(model, loc[:-1]) for owner in _models(candidate)]
    fields = [fields_of(owner)[str(loc[-1])] for owner in owners if str(loc[-1]) in fields_of(owner)]
    examples = [example for field in fields for example in field.examples or ()]
    return f"such as {examples[0]}" if examples else f"of the form {pattern}"


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def keys_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are known where a location points, walking the model's annotations."""
    return sorted(
        {
            name
            for candidate in _annotations_at(model, loc)
            for model_ in _models(candidate)
            for name in fields_of(model_)
        }
    )


def fields_at(model: type[BaseModel], path: tuple[str, ...]) -> Fields:
    """Return the sections that know the key at a path, with what they say of it; none for a key the user named."""
    owners = [found for candidate in _annotations_at(model, path[:-1]) for found in _models(_item_of(candidate))]
    return [(owner, fields_of(owner)[path[-1]]) for owner in owners if path[-1] in fields_of(owner)]


def _item_of(annotation: Any) -> Any:
    """Return the annotation of a list's items, where the index was left out; any other as it is."""
    while get_origin(annotation) is list:
        annotation = get_args(annotation)[-1]
    return annotation


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a model's fields by the keys the file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _annotations_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[Any]:
    candidates: list[Any] = [model]
    for part in loc:
        candidates = [step for candidate in candidates for step in _descend(candidate, part)]
    return candidates


def _descend(annotation: Any, part: str | int) -> list[Any]:
    """Return the annotations one step below: a model's field, a map's or list's item, a union's tagged member."""
    if _is_model(annotation):
        return [fields_of(annotation)[str(part)].annotation] if part in fields_of(annotation) else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list and not str(part).isdigit():
        return _descend(_item_of(annotation), part)
    if origin in (dict, list):
        return [arguments[-1]]
    if origin is Annotated:
        return _descend(arguments[0], part)
    tagged = [member for member in arguments if _is_model(member) and _tag(member) == part]
    return tagged or [step for member in arguments for step in _descend(member, part)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if _is_model(annotation):
        return [annotation]
    if get_origin(annotation) in (dict, list):
        return []
    return [model for member in get_args(annotation) for model in _models(member)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("type")
    return get_args(field.annotation)[0] if field and get_args(field.annotation) else None
