"""In which order an endpoint's deliveries are attempted: the key of each, and who is its head.

Theory. Deliveries of one endpoint that share a *key* form a line, in the order in which they joined
it: when they were committed, or when they were replayed or moved to the endpoint. The first of a
line is its *head*, and the head alone may be attempted; whoever joins a line that is not empty is
*blocked* until all before it have left. A delivery leaves when its end is committed: delivered,
dead or cancelled. A head that fails and waits for its next attempt stays the head. A delivery
without a key stands in no line. So the only decisions are these two: does one that joins wait
(somebody is in the line), and who may go when one leaves (whoever joined first of those left).

The key is a number made at acceptance and kept with the delivery: a change of `ordering` counts for
what is put from then on. Equal values have equal keys whatever the expression, so that a rewritten
expression keeps the order; two values that share a key by chance are merely ordered, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from hookpost.core.expression import Formula
from hookpost.core.model import EndpointId
from hookpost.core.written import written

LARGEST = 64 << 10
"""Bytes of a key's value as JSON."""

FIFO_KEY = 0
"""The one line of an endpoint that is `fifo`."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """One line for each value of `key`; None: one for all (`fifo`)."""

    key: Formula | None = None

    @property
    def text(self) -> str:
        """As a person would name it."""
        return "fifo" if self.key is None else f"by key {self.key.text}"


Keys = Mapping[EndpointId, int]
"""An event's key at each endpoint where it has one; a signed number of 64 bits."""


def key_of(value: Any) -> int | None:
    """The key of a value, None for null: such an event is not ordered.

    Raises Oversized or Unwritable (ValueErrors) for a value that cannot be one.
    """
    if value is None:
        return None
    digest = blake2b(written(value, LARGEST), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
