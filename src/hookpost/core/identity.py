"""Event ids: the rule that a publisher's id must keep, and the ids that are made here."""

import hashlib
import re

ID_LENGTH = 128  # characters
PREFIX = "evt_"

_ID = re.compile(r"[!-\-/-~]{1,128}")
_COUNTED = 1 << 24
_SALTED = 1 << 40


def check_id(text: str) -> str | None:
    """What is wrong with a publisher's event id; None: nothing.

    1-128 printable ASCII characters without space or dot: an id is signed as `id.timestamp.body`.
    """
    if _ID.fullmatch(text):
        return None
    if not text:
        return "the event id is empty"
    if len(text) > ID_LENGTH:
        return f"the event id has {len(text)} characters, at most {ID_LENGTH} are allowed"
    return "the event id may hold printable ASCII characters without space and dot only"


def derived_id(source: str, original: str) -> str:
    """The event id that stands for a provider's own id, the same each time."""
    text = f"{source}\n{original}".encode("utf-8", "surrogatepass")
    return PREFIX + hashlib.sha256(text).hexdigest()[:32]


class EventIds:
    """Makes ids that sort by time and are not made twice.

    48 bits of milliseconds, a counter of 24 bits that runs on over all milliseconds, and 40 bits
    drawn once (`dice` in [0, 1)), which keep two processes, or one that was restarted, apart.
    """

    __slots__ = ("_count", "_millisecond", "_prefix", "_salt")

    def __init__(self, dice: float) -> None:
        self._count = 0
        self._millisecond = -1
        self._prefix = ""
        self._salt = f"{int(dice * _SALTED) % _SALTED:010x}"

    def make(self, now: float) -> str:
        """A new id for UNIX time `now`, 32 characters."""
        self._count = count = (self._count + 1) % _COUNTED
        millisecond = int(now * 1000)
        if millisecond != self._millisecond:
            self._millisecond, self._prefix = millisecond, f"{PREFIX}{millisecond:012x}"
        return f"{self._prefix}{count:06x}{self._salt}"
