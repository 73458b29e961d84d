"""Event type patterns: which types does a subscription want.

A type is split into segments at its dots. In a pattern `*` stands for exactly one segment and
`**` for one or more, anywhere. Types that begin with `hookpost.` are the gateway's own: only a
pattern whose first segment is literally `hookpost` matches them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

TYPE_LENGTH = 128  # characters
RESERVED = "hookpost"
_RESERVED_PREFIX = RESERVED + "."


def check_type(text: str) -> str | None:
    """What is wrong with an event type, as a sentence; None: nothing. 1-128 printable characters.

    A space is printable; control, format (bidi) and surrogate characters are not.
    """
    if not text:
        return "the event type is empty"
    if len(text) > TYPE_LENGTH:
        return f"the event type has {len(text)} characters, at most {TYPE_LENGTH} are allowed"
    if not text.isprintable():
        return "the event type holds a character that is not printable"
    return None


def reserved(event_type: str) -> bool:
    """Whether the type is one of the gateway's own: no publisher may send it."""
    return event_type.startswith(_RESERVED_PREFIX)


def own_pattern(text: str) -> bool:
    """Whether a pattern is for the gateway's own types, and for no others."""
    return text.partition(".")[0] == RESERVED


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern. `first` is its first segment where that is literal, else None.

    Matching walks all positions at once, one bit for each: bit i of a state says that the
    first i segments of the pattern are used up. One pass over the type, whatever the stars.
    """

    text: str
    first: str | None
    length: int
    literals: Mapping[str, int]  # segment -> the positions that it steps over
    wild: int  # the positions that any segment steps over
    sticky: int  # the positions just after a `**`: any segment may stay there

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern; ValueError says what is wrong and what to write."""
        wrong = check_type(text)
        if wrong is not None:
            raise ValueError(f"event pattern {text[:TYPE_LENGTH]!a}: {wrong}")
        segments = text.split(".")
        literals: dict[str, int] = {}
        wild = sticky = 0
        for position, segment in enumerate(segments):
            bit = 1 << position
            if segment in ("*", "**"):
                wild |= bit
                sticky |= bit << 1 if segment == "**" else 0
            elif not segment:
                raise ValueError(f"event pattern {text!a}: empty segment; remove the extra dot")
            elif "*" in segment:
                raise ValueError(
                    f"event pattern {text!a}: segment {segment!a}: a star stands for whole "
                    'segments only; write "*" (exactly one) or "**" (one or more)'
                )
            else:
                literals[segment] = literals.get(segment, 0) | bit
        first = None if wild & 1 else segments[0]
        return cls(text, first, len(segments), literals, wild, sticky)

    def matches(self, event_type: str) -> bool:
        """Whether the type fits. Linear in the type's length."""
        if self.first != RESERVED and event_type.startswith(_RESERVED_PREFIX):
            return False
        literals, wild, sticky = self.literals, self.wild, self.sticky
        state = 1
        for segment in event_type.split("."):
            state = (state & (literals.get(segment, 0) | wild)) << 1 | (state & sticky)
            if not state:
                return False
        return bool(state >> self.length)
