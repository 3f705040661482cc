"""Write the generated parts of docs/: `python -m theodore_otel.render.docs [--check]`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. What is guaranteed comes from guarantees.yaml, keys
and their meaning from the model, what OpenTelemetry's variables do from the table that is checked in Theodore.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from theodore_otel.config.base import Section
from theodore_otel.config.destinations import AnyDestination
from theodore_otel.config.guarantees import QUEUES, Guarantee, guarantees, pipelines
from theodore_otel.instrument import variables
from theodore_otel.render.files import RenderedFile, stale, write
from theodore_otel.render.lanes import SIGNALS

_FOLDER = Path(__file__).parents[2] / "docs"
_FILES = ("destinations.md", "settings.md")
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z0-9 ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(check: bool) -> int:
    """Write the generated parts, or with `check` only say whether they are current. Returns the exit code."""
    files = [RenderedFile(name, generate((_FOLDER / name).read_text(encoding="utf-8"))) for name in _FILES]
    if check and (old := stale(files, _FOLDER)):
        names = ", ".join(file.path for file in old)
        sys.stderr.write(f"docs/ is stale ({names}); run: python -m theodore_otel.render.docs\n")
        return 1
    if not check:
        write(files, _FOLDER)
    return 0


def generate(text: str) -> str:
    """Return the text with its generated parts as they should be."""
    return _PART.sub(lambda match: f"{match[1]}{_part(match['name'])}{match[3]}", text)


def types() -> dict[str, type[Any]]:
    """Return the model of each type of destination."""
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(AnyDestination)}


def _part(name: str) -> str:
    if name == "overview":
        return _overview()
    if name == "pipelines":
        return _table(
            ("part", "lost when the collector is killed", "when it is stopped or reads its configuration again"),
            [(each.part, each.killed, each.stopped) for each in pipelines()],
        )
    if name == "otel variables":
        return _table(("variable", "in Theodore"), [(f"`{row.name}`", row.use + _told(row)) for row in variables.TABLE])
    return _type(name)


def _told(row: variables.Variable) -> str:
    return f": {row.told}" if row.use == "told" else ""


def _overview() -> str:
    rows = [
        (
            f"[{kind}](#{kind}){_variant(row)}",
            ", ".join(row.signals),
            QUEUES[row.queue],
            f"**{row.audit}**: {row.why}" if row.audit else "-",
        )
        for kind, given in guarantees().items()
        for row in given
    ]
    return _table(("type", "signals", "queue", "audit and security records"), rows)


def _type(kind: str) -> str:
    model = types()[kind]
    rows = [
        (f"`{name}`", _default(field), _meaning(name, field, model))
        for name, field in model.model_fields.items()
        if name != "type" and (name != "categories" or "logs" in model.takes)
    ]
    return _table(("key", "default", "what"), rows) + "\n" + "\n".join(_guaranteed(guarantees()[kind])) + "\n"


def _guaranteed(rows: Sequence[Guarantee]) -> Iterator[str]:
    for row in rows:
        who = f"{_and(row.signals)}{_variant(row)}: " if len(rows) > 1 else ""
        yield f"- **Down** {who}{row.down}"
        yield f"- **Killed** {who}{row.killed}"
        yield f"- **Refused** {who}{row.refused}"


def _variant(row: Guarantee) -> str:
    said = [f"without `{key}`" if value is None else f"`{key}: {value}`" for key, value in row.when.items()]
    return f" ({', '.join(said)})" if said else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if isinstance(value, Section):
        said = {key: default for key, default in value.model_dump().items() if default not in (None, False)}
        value = said or {"enabled": False}
    return "-" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _meaning(name: str, field: FieldInfo, model: type[Any]) -> str:
    if name == "signals" and len(model.takes) < len(SIGNALS):
        return "No other signals can go there."
    said = (field.description or "").removesuffix(".")
    return f"{said}, such as `{field.examples[0]}`." if field.examples and "host:port" not in said else f"{said}."


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
