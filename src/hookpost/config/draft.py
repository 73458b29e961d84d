"""A file whose form is checked, on its way to a Config: sound values, and where each stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from hookpost.config import nodes
from hookpost.config.diagnostics import Mark, Path, Report
from hookpost.config.files import Tree
from hookpost.config.schema import Json
from hookpost.core.event_types import EventType
from hookpost.core.secrets import Secret
from hookpost.core.settings import ClientTls, Jwt, Tls


@dataclass(slots=True, kw_only=True)
class Draft:
    """What the checks read and the build uses.

    `data` holds the sound values only; what was reported is left out, a refused list item is None.
    `material` are the texts of files that belong to the configuration, by the key that names them.
    `schemas` are the sound JSON Schemas, by the absolute path of their file.
    `secrets` has a name for every configured secret and None where there is no value.
    """

    tree: Tree
    root: nodes.Table
    data: Json
    report: Report
    environ: Mapping[str, str]
    wall: float
    misspelled: set[tuple[Path, str]] = field(default_factory=set)
    secrets: dict[str, Secret | None] = field(default_factory=dict)
    schemas: dict[FilePath, EventType] = field(default_factory=dict)
    material: dict[Path, str] = field(default_factory=dict)
    tls: Tls | None = None
    client_tls: dict[Path, ClientTls] = field(default_factory=dict)
    jwts: dict[str, Jwt] = field(default_factory=dict)

    def names(self, section: str) -> list[str]:
        """The names in a map, the unsound entries too."""
        return nodes.keys(self.root, (section,))

    def entries(self, section: str) -> Iterator[tuple[str, Json]]:
        """A map's sound entries in file order."""
        found = self.data.get(section)
        for name, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, dict):
                yield name, value

    def listed(self, value: Any) -> list[Any]:
        """The sound items of a list; nothing where it is absent."""
        return [item for item in value if item is not None] if isinstance(value, list) else []

    def part(self, *path: str) -> Json:
        """A map inside the sound values; empty where it is absent."""
        value: Any = self.data
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def endpoint(self, name: str) -> Json:
        """An endpoint's values, those of `endpoint_defaults` under its own, key by key."""
        return {**self.part("endpoint_defaults"), **self.part("endpoints", name)}

    def home(self, name: str, key: str) -> Path:
        """Where an endpoint's value stands: its own key, or that of `endpoint_defaults`."""
        own: Path = ("endpoints", name, key)
        shared: Path = ("endpoint_defaults", key)
        return shared if not self.written(own) and self.written(shared) else own

    def written(self, path: Path) -> bool:
        """Whether somebody wrote this key, sound or not, perhaps with a slip in its name."""
        parent = nodes.find(self.root, path[:-1])
        last = path[-1]
        if parent is None:
            return False
        if last in parent.lost or (path[:-1], last) in self.misspelled:
            return True
        return nodes.find(self.root, path) is not None

    def mark(self, path: Path) -> Mark:
        """Where a value stands, or the nearest thing around it."""
        return nodes.value_mark(self.root, path)

    def error(self, path: Path, code: str, message: str, suggestion: str | None = None) -> None:
        """A mistake in a value."""
        self.report.error(self.mark(path), path, code, message, suggestion)

    def name_error(self, path: Path, code: str, message: str) -> None:
        """A mistake in a key."""
        self.report.error(nodes.key_mark(self.root, path), path, code, message)

    def warning(self, path: Path, code: str, message: str) -> None:
        """A warning about a value."""
        self.report.warning(self.mark(path), path, code, message)

    def name_warning(self, path: Path, code: str, message: str) -> None:
        """A warning about a named thing as a whole."""
        self.report.warning(nodes.key_mark(self.root, path), path, code, message)
