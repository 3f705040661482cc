"""Compare what Elasticsearch has with what it has to have, and put what differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from theodore_otel.render.elasticsearch import Kind, Piece
from theodore_otel.search.client import known, read_answer

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_NO_HANDLER = (400, 405, 410)
"""How a server answers that does not have an API; 410: one without servers to look after."""
_OURS = "theodore-*"
_ADDED = ("created_date", "created_date_millis", "modified_date", "modified_date_millis")
"""What a server adds to what it was given."""


@dataclass(frozen=True)
class Change:
    """One piece, beside what the server has of it."""

    piece: Piece
    before: dict[str, Any] | None
    """What is there; None: nothing."""

    @property
    def state(self) -> Literal["new", "changed", "unchanged"]:
        """Say what putting it would do."""
        if self.before is None:
            return "new"
        return "unchanged" if _normal(self.before) == _normal(self.piece.body) else "changed"

    def diff(self) -> str:
        """Return a unified diff from what is there to what is put; empty when nothing changes."""
        if self.state == "unchanged":
            return ""
        before = _lines(self.before) if self.before is not None else []
        return "".join(difflib.unified_diff(before, _lines(self.piece.body), "server", self.piece.path))


@dataclass(frozen=True)
class Server:
    """What a server has of ours."""

    lifecycles: bool
    """Whether it can run lifecycle policies."""
    pieces: Mapping[tuple[Kind, str], dict[str, Any]]

    def compare(self, wanted: Sequence[Piece]) -> list[Change]:
        """Return each piece beside what is there."""
        return [Change(piece, self.pieces.get((piece.kind, piece.name))) for piece in wanted]


def look(client: Elasticsearch) -> Server:
    """Ask a server what it has.

    Raises:
        ApiError: when it does not say.
    """
    with read_answer():
        return _looked(client)


def _looked(client: Elasticsearch) -> Server:
    policies = _policies(client)
    components = known(lambda: client.cluster.get_component_template(name=_OURS), {"component_templates": []})
    indices = known(lambda: client.indices.get_index_template(name=_OURS), {"index_templates": []})
    found: dict[tuple[Kind, str], dict[str, Any]] = {
        **{
            ("lifecycle", name): {"policy": each["policy"]}
            for name, each in ({} if policies is None else policies).items()
        },
        **_by_name("component_template", components),
        **_by_name("index_template", indices),
    }
    return Server(policies is not None, found)


def _by_name(one: Literal["component_template", "index_template"], answer: Mapping[str, Any]) -> dict[Any, Any]:
    kind = f"{one}s"
    return {(kind, each["name"]): each[one] for each in answer[kind]}


def _policies(client: Elasticsearch) -> Mapping[str, Any] | None:
    """Return the server's lifecycle policies by name; None when it has no lifecycles."""
    from elasticsearch import ApiError

    try:
        found: Mapping[str, Any] = client.ilm.get_lifecycle().body
    except ApiError as error:
        if error.status_code in _NO_HANDLER:
            return None
        raise
    return found


def put(client: Elasticsearch, piece: Piece) -> None:
    """Give the server one piece, in the place of what it has.

    Raises:
        ApiError: when the server refuses it.
    """
    with read_answer():
        if piece.kind == "lifecycle":
            answer = client.ilm.put_lifecycle(name=piece.name, body=piece.body)
        elif piece.kind == "component_templates":
            answer = client.cluster.put_component_template(name=piece.name, body=piece.body)
        else:
            answer = client.indices.put_index_template(name=piece.name, body=piece.body)
        if answer["acknowledged"] is not True:
            raise ValueError("it does not say that it has taken it")


def _lines(body: Mapping[str, Any]) -> list[str]:
    return [f"{line}\n" for line in json.dumps(_normal(body), indent=2, sort_keys=True).splitlines()]


def _normal(value: Any) -> Any:
    """Return a body as it is compared: the server writes some numbers and booleans as text, and adds dates."""
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items() if key not in _ADDED}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
