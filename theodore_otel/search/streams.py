"""Data streams that are there already: templates are taken up by their next backing index only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from theodore_otel.render.elasticsearch import MARK, Piece
from theodore_otel.search.client import known, read_answer

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_OURS = ("logs-theodore*", "traces-theodore*", "metrics-theodore*")


@dataclass(frozen=True)
class Existing:
    """Data streams and indices that stand under the names that the templates are for."""

    outdated: tuple[str, ...]
    """Data streams that write to a backing index made from other templates."""
    plain: tuple[str, ...]
    """Indices where data streams should be: made by a write that came before the templates."""


def look(client: Elasticsearch, wanted: Sequence[Piece]) -> Existing:
    """Ask a server what is there already.

    Raises:
        ApiError: when it does not say.
    """
    marks = _marks(wanted)
    with read_answer():
        return _looked(client, marks)


def _looked(client: Elasticsearch, marks: Mapping[str, str]) -> Existing:
    found = known(lambda: client.indices.resolve_index(name=_OURS), {"data_streams": [], "indices": []})
    writing = {each["name"]: each["backing_indices"][-1] for each in found["data_streams"] if each["name"] in marks}
    made_from = _made_from(client, list(writing.values()))
    return Existing(
        tuple(name for name, index in writing.items() if made_from[index] != marks[name]),
        tuple(each["name"] for each in found["indices"] if each["name"] in marks),
    )


def roll_over(client: Elasticsearch, name: str) -> str:
    """Let a data stream write to a new backing index from now on, and return the index' name.

    Raises:
        ApiError: when the server refuses it.
    """
    with read_answer():
        made = str(client.indices.rollover(alias=name)["new_index"])
    return "".join(c for c in made if c.isprintable())


def _marks(wanted: Sequence[Piece]) -> dict[str, str]:
    """Return what the backing indices of each data stream say they were made from."""
    return {
        name: piece.body["template"]["mappings"]["_meta"][MARK]
        for piece in wanted
        if piece.kind == "index_templates"
        for name in piece.body["index_patterns"]
    }


def _made_from(client: Elasticsearch, indices: Sequence[str]) -> dict[str, str | None]:
    """Return what each index says it was made from."""
    if not indices:
        return {}
    found = client.indices.get_mapping(index=list(indices), filter_path="*.mappings._meta").body
    return {name: found.get(name, {}).get("mappings", {}).get("_meta", {}).get(MARK) for name in indices}
