"""What tells one event from another: its id, or the values that a source names."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hookpost.core.settings import Source

_PREFIX = "key_"


def dedup_key(source: Source, event_id: str | None, document: Mapping[str, Any]) -> str | None:
    """The identity of an event inside its source; None: it is not compared with others.

    `event_id` is what came with the event, if anything did; `document` what expressions see. Where
    all values are missing, or one cannot be computed, there is no identity: two events of which
    nothing is known are two.
    """
    if source.dedup_window is None:
        return None
    if not source.dedup_key:
        return event_id
    try:
        values = [expression(document) for expression in source.dedup_key]
    except ValueError:
        return None
    if all(value is None for value in values):
        return None
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return _PREFIX + hashlib.sha256(text.encode()).hexdigest()
