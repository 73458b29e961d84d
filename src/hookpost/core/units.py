"""Text with a unit → a number, and back: `10m` is 600.0 seconds, `1MiB` 1048576 bytes, `50/s` 50.0.

Every function raises ValueError with one sentence that says what is wrong and how to write it.
"""

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_NUMBER = r"(\d{1,12}(?:\.\d{1,6})?)"
_DURATION = re.compile(_NUMBER + r"\s?([A-Za-z]*)", re.ASCII)
_SIZE = re.compile(r"(\d{1,16}(?:\.\d{1,6})?)\s?([A-Za-z]*)", re.ASCII)
_RATE = re.compile(_NUMBER + r"\s?/\s?([A-Za-z]*)", re.ASCII)

LONGEST = 3650 * 86400.0
"""Seconds: no duration may be longer; ten years is surely a slip of the keyboard."""


def duration(text: str) -> float:
    """Seconds of a number with one unit: ms, s, m, h or d. Zero is allowed, signs are not.

    Raises ValueError for anything else, and above LONGEST.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("a duration is a number and a unit, as in 1500ms, 10s, 5m, 2h or 7d")
    number, unit = found.groups()
    if unit not in _SECONDS:
        raise ValueError(_unit_mistake(number, unit, "ms, s, m, h or d", f"{number}s"))
    seconds = float(number) / 1000.0 if unit == "ms" else float(number) * _SECONDS[unit]
    if seconds > LONGEST:
        raise ValueError("the longest duration is 3650d")
    return seconds


def size(text: str) -> int:
    """Whole bytes of a number with one unit: B, KiB to TiB, or KB to TB (powers of 1000).

    Raises ValueError for anything else, for fractions of a byte, and above 1024 TiB.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("a size is a number and a unit, as in 64KiB, 1MiB or 10GiB")
    number, unit = found.groups()
    if unit not in _BYTES:
        raise ValueError(_unit_mistake(number, unit, "B, KiB, MiB, GiB or TiB", f"{number}MiB"))
    count = float(number) * _BYTES[unit]
    if count != int(count):
        raise ValueError("a size is a whole number of bytes")
    if count > 1 << 50:
        raise ValueError("the largest size is 1024TiB")
    return int(count)


def rate(text: str) -> float:
    """Tokens a second of `50/s`, `300/m`, `1000/h` or `5000/d`.

    Raises ValueError for anything else, and for a rate of nothing.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("a rate is a number over a time, as in 50/s, 300/m or 1000/h")
    number, unit = found.groups()
    if unit not in _PER:
        raise ValueError(_unit_mistake(number, unit, "s, m, h or d after the slash", f"{number}/s"))
    per_second = float(number) / _PER[unit]
    if per_second <= 0:
        raise ValueError("a rate of 0 lets nothing through; use `paused: true` to hold an endpoint")
    if per_second > 1_000_000:
        raise ValueError("the highest rate is 1000000/s")
    return per_second


def _unit_mistake(number: str, unit: str, units: str, example: str) -> str:
    if not unit:
        return f"{number} has no unit; write {units}, as in {example}"
    return f'"{unit}" is no unit here; write {units}, as in {example}'


def duration_text(seconds: float) -> str:
    """The shortest form that `duration` reads back as the same number (to a millisecond)."""
    milliseconds = round(seconds * 1000)
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds >= length and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def size_text(count: int) -> str:
    """The shortest form that `size` reads back as the same number."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count >= _BYTES[unit] and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"
