"""Media types: what a source may be sent, apart from whether it can be read."""

import re
from collections.abc import Sequence

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # RFC 6838, 4.2
_TYPE = re.compile(rf"{_NAME}/(?:{_NAME}|\*)", re.ASCII)


def pattern(text: str) -> str:
    """A media type or `type/*`, in lower case. Raises ValueError for what is neither."""
    if _TYPE.fullmatch(text) is None:
        raise ValueError("write a media type without parameters, as in application/json or text/*")
    return text.lower()


def takes(patterns: Sequence[str], content_types: Sequence[str]) -> bool:
    """Whether a request has one Content-Type, and it is of these; its parameters are ignored."""
    if len(content_types) != 1:
        return False
    kind = content_types[0].partition(";")[0].strip(" \t").lower()
    main, slash, _ = kind.partition("/")
    return kind in patterns or f"{main}{slash}*" in patterns
