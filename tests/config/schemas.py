"""A JSON Schema in a directory, compiled."""

import json
from pathlib import Path
from typing import Any

from hookpost.config.event_schemas import compiled
from hookpost.config.schema_files import Shelf
from hookpost.core.event_types import Validate


def compile_in(directory: Path, schema: Any, **others: Any) -> Validate:
    """What judges by `schema`, with other files beside it: `name="…"` is name.json."""
    for name, contents in {"schema": schema, **others}.items():
        (directory / f"{name}.json").write_text(json.dumps(contents), encoding="utf-8")
    return compiled(Shelf().gather(directory / "schema.json"))
