"""What a YAML document may hold: JSON's kinds of values, in bounded number and depth, and text that files can hold."""

from __future__ import annotations

import re

import yaml

MOST_NODES = 200_000
DEEPEST = 64

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "merge"))
_COLLECTIONS = frozenset({f"{_TAG}map", f"{_TAG}seq"})
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class OutOfBoundsError(ValueError):
    """What stands on a line cannot be taken."""

    def __init__(self, line: int, text: str) -> None:
        """`line` counts from 1."""
        super().__init__(text)
        self.line = line


def check(root: yaml.Node, *, tags: bool) -> None:
    """Look at every node once, however often aliases repeat it; `tags` lets other kinds of values pass.

    Raises OutOfBoundsError.

    Aliases of aliases make a few lines stand for billions of nodes: they are counted before anything expands them.
    """
    _expanded(root, {}, 0, tags=tags)


def _expanded(node: yaml.Node, sizes: dict[int, int | None], depth: int, *, tags: bool) -> int:
    """Return of how many nodes this one consists when every alias is written out."""
    known = sizes.get(id(node), 0)
    if known is None or depth > DEEPEST:
        raise OutOfBoundsError(
            _line(node),
            "nested too deep, or an alias (*name) stands inside what it refers to"
            if known is None
            else f"nested too deep: expected {DEEPEST} levels at most",
        )
    if known:
        return known
    sizes[id(node)] = None
    _check_text(node)
    if not tags:
        _check_kind(node)
    total = 1 + sum(_expanded(child, sizes, depth + 1, tags=tags) for child in _children(node))
    if total > MOST_NODES:
        raise OutOfBoundsError(
            _line(node), f"expected {MOST_NODES:,} values at most, with every alias (*name) written out"
        )
    sizes[id(node)] = total
    return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_text(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode) and (found := _UNWRITABLE.search(node.value)):
        raise OutOfBoundsError(_line(node), f"expected text without the character U+{ord(found[0]):04X}")


def _check_kind(node: yaml.Node) -> None:
    if not isinstance(node, yaml.ScalarNode):
        if node.tag not in _COLLECTIONS:
            raise OutOfBoundsError(_line(node), f"expected a mapping or a list without a tag, got {_tag(node)}")
        return
    if node.tag not in _SCALARS:
        hint = "; put it in quotes" if not node.style else ""
        raise OutOfBoundsError(
            _line(node), f"expected a text, a number, true or false, got {_tag(node)} {node.value[:40]!r}{hint}"
        )


def _tag(node: yaml.Node) -> str:
    return "the date" if node.tag == f"{_TAG}timestamp" else f"the tag {node.tag.replace(_TAG, '!!')}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
