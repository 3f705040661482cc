"""What a rendered configuration takes from the environment and from files, checked before the collector starts.

The collector reads such a value as YAML, expands `${...}` in it again, makes `$` of `$$`, and takes an unset variable
for empty. A secret that would not arrive as it is, is refused here, by its name and never by its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from theodore_otel.config.base import Secret
from theodore_otel.config.source import Source
from theodore_otel.errors import InputError
from theodore_otel.render.references import Reference, in_string, references, strings

PLACEHOLDER = "a" * 32
"""Stands for an unset secret in `validate`: text to YAML, and hexadecimal, as some destinations want their keys."""

_FILE_VARIABLE = "THEODORE_OTEL_SECRET_{}"


def resolve(text: str, environment: Mapping[str, str], source: Source) -> tuple[str, dict[str, str]]:
    """Check every reference; return the configuration and the variables it needs besides `environment`.

    The collector would keep a file's last newline, which breaks a header: files are read here, trimmed, and handed
    over as variables. Raises InputError naming everything that is unset, empty or would be mangled, and the key in
    `source` that asks for it.
    """
    more: dict[str, str] = {}
    problems: list[str] = []
    for reference in references(text):
        value, problem = _value(reference, environment)
        if problem:
            problems.append(f"{_asked_by(reference, source)}: {reference} {problem}")
        elif reference.kind == "file" and value is not None:
            text, variable = _as_variable(text, reference, len(more))
            more[variable] = value
    if problems:
        raise InputError("\n".join(problems))
    return text, more


def read_secret(secret: Secret, environment: Mapping[str, str], key: str) -> str:
    """Return the secret that the configuration's `key` refers to, for a client of our own.

    Raises:
        InputError: as `resolve` does, when it is unset, empty or would be mangled.
    """
    reference = Reference("env", secret.env, False) if secret.env else Reference("file", str(secret.file), False)
    value, problem = _value(reference, environment)
    if problem or value is None:
        raise InputError(f"{key}: {reference} {problem}")
    return value


def with_placeholders(text: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the configuration and the variables that let it be validated where its secrets are not."""
    more: dict[str, str] = {}
    for reference in references(text):
        value, problem = _value(reference, environment)
        if reference.kind == "file":
            text, variable = _as_variable(text, reference, len(more))
            more[variable] = PLACEHOLDER if problem or value is None else value
        elif problem:
            more[reference.name] = PLACEHOLDER
    return text, more


def _as_variable(text: str, reference: Reference, number: int) -> tuple[str, str]:
    variable = _FILE_VARIABLE.format(number)
    return text.replace(f"${{file:{reference.name}}}", f"${{env:{variable}}}"), variable


def _value(reference: Reference, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the value, or what is wrong with it."""
    if reference.kind == "env":
        value = environment.get(reference.name)
        if value is None:
            return None, None if reference.has_default else "is not set"
    else:
        try:
            value = Path(reference.name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            return None, f"cannot be read: {reason}"
    if reference.has_default and not value:
        return value, None
    return value, _complaint(value) or (_unquotable(value) if reference.in_statement else None)


def _unquotable(value: str) -> str | None:
    if set(value) & set('"\\$'):
        return "holds a quote, a backslash or a dollar sign, which would break the statement it stands in"
    return None


def _complaint(value: str) -> str | None:
    if not value.strip():
        return "is empty"
    if "\n" in value or "\r" in value:
        return "holds a newline, which would break the request it is sent in"
    for mangled in ("${", "$$"):
        if mangled in value:
            return f"holds {mangled!r}, which the collector would expand"
    try:
        read = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return None  # what is no YAML, the collector takes as it is
    if read is None or isinstance(read, dict | list):
        return "would be read as YAML (null, a list or a mapping) and not as text"
    return None


def _asked_by(reference: Reference, source: Source) -> str:
    """Return file, line and key path that ask for the reference; the file alone when a template does."""
    for path, value in strings(source.data, ()):
        key = path[:-1] if path[-1] == reference.kind and value == reference.name else path
        if key != path or reference in in_string(value):
            line = source.line(key)
            return f"{source.name}{f':{line}' if line else ''}: {'.'.join(map(str, key))}"
    return source.name
