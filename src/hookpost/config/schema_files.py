"""JSON Schemas as files: one that is named, and those that its references lead to.

Nothing is ever fetched: a reference leads into the same file or to another one in the folder of the
schema that was named, or below it.
"""

import json
import os.path
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hookpost.config import files
from hookpost.config.diagnostics import quoted
from hookpost.core.envelope import MAX_DEPTH, too_deep
from hookpost.core.violations import Step, json_path

MOST_FILES = 200
"""Schema files of one configuration."""

DRAFTS = {
    "json-schema.org/draft/2020-12/schema": "2020-12",
    "json-schema.org/draft/2019-09/schema": "2019-09",
    "json-schema.org/draft-07/schema": "07",
    "json-schema.org/draft-06/schema": "06",
    "json-schema.org/draft-04/schema": "04",
}
DEFAULT = "2020-12"
_NO_SCHEMA = frozenset({"const", "enum", "default", "examples"})
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class SchemaMistake(ValueError):
    """Why a schema is not taken; the text, one line, names the file and the place in it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(
            "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in message)
        )
        self.code = code


@dataclass(slots=True, kw_only=True)
class Document:
    """One file. `anchors` are the places that have a name, as steps from the top."""

    path: Path
    text: str
    contents: Any
    draft: str | None
    anchors: dict[str, tuple[Step, ...]]

    @property
    def uri(self) -> str:
        """Its name in references that are whole."""
        return self.path.as_uri()


Place = tuple[Path, tuple[Step, ...]]
"""A part of a schema: its file, and the steps to it from the top."""


@dataclass(slots=True)
class Shelf:
    """All schema files that a configuration has read: each is read once."""

    documents: dict[Path, Document] = field(default_factory=dict)

    def gather(self, path: Path) -> list[Document]:
        """The file and all that its references lead to, itself first. Raises SchemaMistake."""
        path = Path(os.path.normpath(path))
        found = {path: self._document(path)}
        draft = found[path].draft or DEFAULT
        waiting = [path]
        while waiting:
            document = found[waiting.pop()]
            if document.draft not in (None, draft):
                raise SchemaMistake(
                    "bad-schema", f"{document.path} is of draft {document.draft}, {path} of {draft}"
                )
            for other in _others(document, path.parent):
                if other not in found:
                    found[other] = self._document(other)
                    waiting.append(other)
        for document in found.values():
            _check_references(document, found)
        return list(found.values())

    def _document(self, path: Path) -> Document:
        known = self.documents.get(path)
        if known is None:
            if len(self.documents) >= MOST_FILES:
                message = f"more than {MOST_FILES} schema files are named; use fewer"
                raise SchemaMistake("too-many-files", message)
            known = self.documents[path] = _read(path)
        return known


def _read(path: Path) -> Document:
    try:
        text = files.content(path)
    except files.Unreadable as mistake:
        if mistake.code == "too-large":
            raise SchemaMistake("too-large", f"{path} is larger than 1 MiB") from None
        shown = str(mistake)
        message = shown if str(path) in shown else f"{path}: {shown}"
        raise SchemaMistake(mistake.code, message) from None
    try:
        contents = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as mistake:
        place = f"{path}:{mistake.lineno}:{mistake.colno}"
        raise SchemaMistake("bad-schema", f"{place} is not JSON: {mistake.msg}") from None
    except (ValueError, RecursionError) as mistake:
        why = "it is nested too deep" if isinstance(mistake, RecursionError) else mistake
        raise SchemaMistake("bad-schema", f"{path} is not JSON: {why}") from None
    if too_deep(text.encode()):
        message = f"{path} is nested deeper than {MAX_DEPTH}; divide it by $defs"
        raise SchemaMistake("bad-schema", message)
    return _document(path, text, contents)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {quoted(twice)} stands twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _document(path: Path, text: str, contents: Any) -> Document:
    draft = None
    anchors: dict[str, tuple[Step, ...]] = {}
    if isinstance(contents, dict):
        draft = _draft(path, contents)
        contents.pop("$id", None)  # a file's name is where it lies
        if draft == "04":
            contents.pop("id", None)
    for steps, part in parts(contents):
        own = part.get("id" if draft == "04" else "$id")
        if isinstance(own, str):
            raise mistake_at(
                path,
                (*steps, "$id"),
                "a part has no $id of its own; give it an $anchor, or refer to it by #/…",
            )
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(part.get(key), str):
                anchors[part[key]] = steps
    return Document(path=path, text=text, contents=contents, draft=draft, anchors=anchors)


def _draft(path: Path, contents: dict[str, Any]) -> str | None:
    named = contents.get("$schema")
    if named is None:
        return None
    _, _, rest = str(named).rstrip("#").partition("://")
    draft = DRAFTS.get(rest)
    if draft is None:
        known = ", ".join(DRAFTS.values())
        raise mistake_at(path, ("$schema",), f"{quoted(named)} is no draft that is known: {known}")
    return draft


def parts(contents: Any) -> Iterator[tuple[tuple[Step, ...], dict[str, Any]]]:
    """Every object in which keywords may stand, with the steps to it."""
    waiting: list[tuple[tuple[Step, ...], Any]] = [((), contents)]
    while waiting:
        steps, value = waiting.pop()
        if isinstance(value, dict):
            yield steps, value
            waiting += [
                ((*steps, key), inner)
                for key, inner in value.items()
                if key not in _NO_SCHEMA and isinstance(inner, dict | list)
            ]
        elif isinstance(value, list):
            waiting += [((*steps, index), inner) for index, inner in enumerate(value)]


def _others(document: Document, folder: Path) -> Iterator[Path]:
    """The other files that a document refers to; every reference is judged."""
    for steps, part in parts(document.contents):
        for key in REFERENCES:
            reference = part.get(key)
            if not isinstance(reference, str):
                continue
            try:
                other = target(document.path, reference)
            except ValueError as mistake:
                raise mistake_at(document.path, (*steps, key), str(mistake)) from None
            if not other.is_relative_to(folder):
                message = f"{quoted(reference)} leads out of {folder}, where its schema lies"
                raise mistake_at(document.path, (*steps, key), message)
            yield other


def target(path: Path, reference: str) -> Path:
    """The file that a reference leads to. ValueError: none that is taken."""
    parts = urlsplit(reference)
    if parts.scheme or parts.netloc:
        raise ValueError(
            f"{quoted(reference)} is not taken: nothing is fetched; write #/… or the path of a file"
        )
    name = unquote(parts.path, errors="strict")
    if parts.query or "\0" in name:
        raise ValueError(f"{quoted(reference)} names no file")
    return Path(os.path.normpath(path.parent / name)) if name else path


def _check_references(document: Document, documents: Mapping[Path, Document]) -> None:
    for steps, part in parts(document.contents):
        for key in REFERENCES:
            reference = part.get(key)
            if isinstance(reference, str) and followed(documents, document.path, reference) is None:
                message = f"{quoted(reference)} leads nowhere"
                raise mistake_at(document.path, (*steps, key), message)


def followed(documents: Mapping[Path, Document], path: Path, reference: str) -> Place | None:
    """The place that a reference in a file leads to; None: there is none."""
    document = documents.get(target(path, reference))
    if document is None:
        return None
    fragment = unquote(urlsplit(reference).fragment)
    if fragment and not fragment.startswith("/"):
        steps = document.anchors.get(fragment)
        return None if steps is None else (document.path, steps)
    found: list[Step] = []
    value = document.contents
    for text in fragment.split("/")[1:]:
        name = text.replace("~1", "/").replace("~0", "~")
        step: Step = int(name) if isinstance(value, list) and name.isdecimal() else name
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
        found.append(step)
    return (document.path, tuple(found)) if isinstance(value, dict | bool) else None


def mistake_at(path: Path, steps: tuple[Step, ...], message: str) -> SchemaMistake:
    return SchemaMistake("bad-schema", f"{path} at {json_path('$', steps)}: {message}")
