"""Plain YAML text → a value, by the core schema of YAML 1.2 and nothing else.

`on`, `no`, `10:30` and `2024-01-01` stay text. What a reader could take for two things (a leading
zero) or what no setting can mean (`.inf`, `.nan`) is refused with a remedy.
"""

import re

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.[0-9]*)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_LONGEST = 20  # characters of a number; no setting needs more


class ScalarMistake(ValueError):
    """A plain scalar that is refused; `code` is the diagnostic's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises ScalarMistake with the remedy."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _LEADING_ZERO.fullmatch(text):
        raise ScalarMistake(
            "leading-zero",
            f"{text} begins with a zero, which some read as octal; "
            "drop the zero, or write it in quotes if it is text",
        )
    if _NOT_FINITE.fullmatch(text):
        raise ScalarMistake("not-finite", f"{text} is not a number that a setting can have")
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text) or _FLOAT.fullmatch(text):
        return _number(text)
    return text


def _number(text: str) -> int | float:
    if len(text) > _LONGEST:
        raise ScalarMistake(
            "long-number",
            f"a number of {len(text)} characters; quote it if it is meant as text",
        )
    if _INT.fullmatch(text):
        return int(text)
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ScalarMistake("not-finite", f"{text} is too large for a number")
    return value
