"""A YAML file as nodes that know where they stand.

A part that was refused is left out and remembered in `lost`, so that one mistake gives one
diagnostic.
"""

from dataclasses import dataclass, field
from typing import Any

from hookpost.config.diagnostics import Mark, Path
from hookpost.config.scalars import Scalar


@dataclass(slots=True, kw_only=True)
class Node:
    """A value. `weight` counts the nodes in it with aliases expanded, `height` its levels."""

    mark: Mark
    weight: int = 1
    height: int = 1
    lost: set[str | int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Text(Node):
    """A scalar; `plain` says that it was written without quotes."""

    value: Scalar
    raw: str
    plain: bool


@dataclass(slots=True, kw_only=True)
class Items(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One key of a map with its value."""

    mark: Mark
    node: Node


@dataclass(slots=True, kw_only=True)
class Table(Node):
    """A map; keys are always text, as written."""

    entries: dict[str, Entry] = field(default_factory=dict)


def plain(node: Node) -> Any:
    """The value alone: dict, list, text, number, bool or None; nothing is shared."""
    match node:
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case Items():
            return [plain(item) for item in node.items]
        case Text():
            return node.value
    raise AssertionError(node)


def find(root: Node, path: Path) -> Node | None:
    """The node at a path, or None."""
    node = root
    for step in path:
        match node:
            case Table() if isinstance(step, str) and step in node.entries:
                node = node.entries[step].node
            case Items() if isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            case _:
                return None
    return node


def keys(root: Node, path: Path) -> list[str]:
    """The keys of the map at a path; none where there is no map."""
    node = find(root, path)
    return list(node.entries) if isinstance(node, Table) else []


def key_mark(root: Node, path: Path) -> Mark:
    """Where the key of `path` stands; of a list item, or at the top, where the value does."""
    for length in range(len(path), 0, -1):
        parent = find(root, path[: length - 1])
        step = path[length - 1]
        if isinstance(parent, Table) and isinstance(step, str) and step in parent.entries:
            return parent.entries[step].mark
        if isinstance(parent, Items) and isinstance(step, int) and step < len(parent.items):
            return parent.items[step].mark
    return root.mark


def value_mark(root: Node, path: Path) -> Mark:
    """Where the value of `path` stands, or of the nearest thing around it that exists."""
    node = find(root, path)
    return node.mark if node is not None else key_mark(root, path)
