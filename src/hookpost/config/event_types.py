"""The event types of a source: checked with their schemas, and built."""

import hashlib
from pathlib import Path as FilePath

from hookpost.config.diagnostics import Path
from hookpost.config.draft import Draft
from hookpost.config.event_schemas import compiled
from hookpost.config.schema import Json
from hookpost.config.schema_files import Document, SchemaMistake, Shelf
from hookpost.core.event_types import EventType, EventTypes
from hookpost.core.patterns import RESERVED, Pattern


def check(draft: Draft) -> None:
    """Report types that cannot come and schemas that cannot be used; compile the others."""
    shelf = Shelf()
    for name, data in draft.entries("sources"):
        for text, entry in _entries(data).items():
            path: Path = ("sources", name, "event_types", text)
            if text.startswith(f"{RESERVED}."):
                message = f"types that begin with {RESERVED}. are refused from publishers; drop it"
                draft.name_error(path, "reserved-type", message)
            if "schema" in entry:
                _compile(draft, (*path, "schema"), entry["schema"], shelf)


def _compile(draft: Draft, path: Path, written: str, shelf: Shelf) -> None:
    file = _file(draft, path, written)
    known = draft.schemas.get(file)
    if known is None:
        try:
            documents = shelf.gather(file)
            known = EventType(
                schema=str(file), digest=_digest(documents), validate=compiled(documents)
            )
        except SchemaMistake as mistake:
            draft.error(path, mistake.code, str(mistake))
            return
        draft.schemas[file] = known
    draft.material[path] = known.digest


def _file(draft: Draft, path: Path, written: str) -> FilePath:
    return draft.tree.directory(draft.mark(path)) / written


def _digest(documents: list[Document]) -> str:
    """The same for the same files, wherever they lie."""
    digest = hashlib.sha256()
    for document in documents:
        inner = hashlib.sha256(document.text.encode()).digest()
        digest.update(inner)
    return digest.hexdigest()


def _entries(data: Json) -> dict[str, Json]:
    found = data.get("event_types", {})
    return {text: entry for text, entry in found.items() if isinstance(entry, dict)}


def build(draft: Draft, name: str, data: Json) -> EventTypes | None:
    """The types of a source without mistakes; None where it lists none."""
    if "event_types" not in data:
        return None
    exact: dict[str, EventType] = {}
    patterns: list[tuple[Pattern, EventType]] = []
    for text, entry in _entries(data).items():
        found = EventType()
        if "schema" in entry:
            path = ("sources", name, "event_types", text, "schema")
            found = draft.schemas[_file(draft, path, entry["schema"])]
        if "*" in text:
            patterns.append((Pattern.parse(text), found))
        else:
            exact[text] = found
    return EventTypes(exact, tuple(patterns))
