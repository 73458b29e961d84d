"""Where data does not fit a schema: a path into it, and what is wanted there."""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

MOST = 20
"""Violations told of one event."""
LONGEST_PATH = 300
LONGEST_MESSAGE = 300
_LONGEST_NAME = 64
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

Step = str | int


class Violation(NamedTuple):
    """One place that does not fit. `path` is a JSONPath (RFC 9535): `$.data.items[3].price`.

    Of the data neither shows more than the names of members. Both are bounded in length; what was
    cut ends in `…`.
    """

    path: str
    message: str


def violation(root: str, steps: Iterable[Step], message: str) -> Violation:
    """A violation at these steps below `root`."""
    return Violation(json_path(root, steps), cut(message, LONGEST_MESSAGE))


def json_path(root: str, steps: Iterable[Step]) -> str:
    """`root` and the steps below it: `.name`, `["odd name"]` or `[3]`."""
    parts = [root]
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif len(step) <= _LONGEST_NAME and _PLAIN.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append(f"[{json.dumps(cut(step, _LONGEST_NAME))}]")
    return cut("".join(parts), LONGEST_PATH)


def cut(text: str, most: int) -> str:
    """The text, in at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
