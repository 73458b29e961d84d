"""YAML text → nodes: one pass over the parser's events.

The parser's own composer is not used: it recurses, lets the last of two equal keys win, and
expands aliases without end. Here depth, size and expansion are bounded.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from hookpost.config import syntax
from hookpost.config.diagnostics import Mark, Path, Report, quoted
from hookpost.config.nodes import Entry, Items, Node, Table, Text
from hookpost.config.scalars import ScalarMistake, resolve

LARGEST = 1 << 20
"""Bytes of one file."""
MOST_NODES = 100_000
"""Values in one file, aliases expanded."""


class _Stop(Exception):
    """The rest of the file cannot be read; the diagnostic is already in the report."""


def read(text: str, file: str, report: Report) -> Node | None:
    """The file's one document, or None if it is empty or broken (then the report says why)."""
    reader = _Reader(file, report)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.YAMLError as mistake:
        syntax.tell(mistake, text, file, report)
        return None
    except _Stop:
        return None
    return reader.root


def read_partly(text: str) -> Node | None:
    """As much of a possibly broken file as was read before its first mistake."""
    reader = _Reader("", Report())
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except (yaml.YAMLError, _Stop):
        reader.give_up()
    return reader.root


@dataclass(slots=True)
class _Frame:
    node: Table | Items
    anchor: str | None
    key: Text | None = None
    skip: bool = False  # the value to come belongs to a key that was refused


class _Reader:
    """Builds nodes from events; every step is constant work but for closing a level."""

    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report
        self.root: Node | None = None
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0
        self._nodes = 0

    def give_up(self) -> None:
        """Close what is open, so that what was read of it can be found."""
        while self._frames:
            self._attach(self._frames.pop().node)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.DocumentStartEvent():
                self._document(event)
            case yaml.MappingStartEvent():
                self._open(event, Table(mark=self._mark(event)))
            case yaml.SequenceStartEvent():
                self._open(event, Items(mark=self._mark(event)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                frame = self._frames.pop()
                self._close(frame.node, frame.anchor)
            case yaml.AliasEvent():
                self._alias(event)
            case _:
                pass  # stream and document ends carry nothing

    def _mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _top(self) -> Mark:
        return Mark(self.file, 1, 1)

    def _error(self, event: yaml.Event, code: str, message: str) -> None:
        self.report.error(self._mark(event), self._path(), code, message)

    def _path(self) -> Path:
        path: list[str | int] = []
        for frame in self._frames:
            if isinstance(frame.node, Items):
                path.append(len(frame.node.items))
            elif frame.key is not None:
                path.append(frame.key.raw)
        return tuple(path)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            message = "a second document begins here; keep one document in a file"
            self._error(event, "several-documents", message)
            raise _Stop
        if event.version is not None and event.version != (1, 2):
            message = "files are read as YAML 1.2; remove the %YAML line"
            self.report.error(self._top(), (), "yaml-version", message)

    def _open(self, event: Any, node: Table | Items) -> None:
        if len(self._frames) >= syntax.DEEPEST:
            message = f"maps and lists are nested deeper than {syntax.DEEPEST} levels"
            self._error(event, "nested-too-deep", message)
            raise _Stop
        self._tag(event)
        self._frames.append(_Frame(node, event.anchor))

    def _tag(self, event: Any) -> bool:
        if event.tag is None:
            return True
        message = (
            f"tags are not taken, and {quoted(event.tag)} is one; remove it (text: use quotes)"
        )
        self._error(event, "tag", message)
        return False

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        is_plain = event.style in (None, "")
        text, mark = event.value, self._mark(event)
        node = Text(mark=mark, value=text, raw=text, plain=is_plain)
        sound = self._tag(event)
        if self._expects_key():
            self._key(event, node)
            return
        if sound and is_plain and event.implicit[0]:
            try:
                node.value = resolve(text)
            except ScalarMistake as mistake:
                self._error(event, mistake.code, str(mistake))
                sound = False
        self._attach(node if sound else None)
        if event.anchor is not None and sound:
            self._anchors[event.anchor] = node

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        if any(frame.anchor == name for frame in self._frames):
            message = f"*{name} stands inside what it names and would never end; write it out"
            self._error(event, "endless-alias", message)
            node: Node | None = None
        else:
            node = self._anchors.get(name)
            if node is None:
                message = f"*{name} names nothing; put &{name} before the value it repeats"
                self._error(event, "unknown-alias", message)
        if self._expects_key():
            self._key(event, node)
        else:
            self._attach(node)

    def _expects_key(self) -> bool:
        if not self._frames:
            return False
        frame = self._frames[-1]
        return isinstance(frame.node, Table) and frame.key is None and not frame.skip

    def _key(self, event: yaml.Event, node: Node | None) -> None:
        frame = self._frames[-1]
        frame.skip = True
        if node is None or not isinstance(frame.node, Table):
            return
        if not isinstance(node, Text):
            self._error(event, "key-not-text", "a key must be text")
        elif node.plain and node.raw == "<<":
            message = "merge keys are not taken; write the keys out, or use endpoint_defaults"
            self._error(event, "merge-key", message)
        elif node.raw == "" or (node.plain and node.raw in ("~", "null")):
            self._error(event, "key-not-text", "a key must be text; this one is empty")
        elif node.raw in frame.node.entries or node.raw in frame.node.lost:
            self._twice(event, frame.node, node.raw)
        else:
            frame.skip = False
            frame.key = Text(mark=self._mark(event), value=node.raw, raw=node.raw, plain=True)

    def _twice(self, event: yaml.Event, table: Table, key: str) -> None:
        first = table.entries.get(key)
        place = f" (first in line {first.mark.line})" if first is not None else ""
        path = (*self._path(), key)
        message = f"this key is given twice{place}; keep one"
        self.report.error(self._mark(event), path, "duplicate-key", message)

    def _close(self, node: Table | Items, anchor: str | None) -> None:
        children = (
            [entry.node for entry in node.entries.values()]
            if isinstance(node, Table)
            else node.items
        )
        node.weight = 1 + sum(child.weight for child in children)
        node.height = 1 + max((child.height for child in children), default=0)
        self._bounded(node)
        if anchor is not None:
            self._anchors[anchor] = node
        if self._expects_key():
            message = "a key must be text, not a map or a list"
            self.report.error(node.mark, self._path(), "key-not-text", message)
            self._frames[-1].skip = True
            return
        self._attach(node)

    def _bounded(self, node: Node) -> None:
        if node.weight > MOST_NODES:
            code, message = "too-large", f"more than {MOST_NODES} values, with aliases expanded"
        elif node.height + len(self._frames) > syntax.DEEPEST + 1:
            code, message = "nested-too-deep", f"aliases nest deeper than {syntax.DEEPEST} levels"
        else:
            return
        self.report.error(node.mark, self._path(), code, message)
        raise _Stop

    def _attach(self, node: Node | None) -> None:
        """Give a finished value to what is around it; None was refused and is left out."""
        self._nodes += 1
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        if isinstance(frame.node, Items):
            if node is None:
                frame.node.lost.add(len(frame.node.items))
            else:
                frame.node.items.append(node)
        elif frame.key is not None:
            if node is None:
                frame.node.lost.add(frame.key.raw)
            else:
                frame.node.entries[frame.key.raw] = Entry(mark=frame.key.mark, node=node)
        frame.key, frame.skip = None, False
