"""Which payload a delivery has: the one its endpoint had when the delivery was put.

A configuration may change an endpoint's `payload` while deliveries wait. Every attempt of a
delivery sends the same bytes all the same, so the endpoint's row remembers from which delivery on
each mode counts: delivery numbers only grow.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hookpost.core.model import Payload

MOST = 64  # changes that are remembered, the latest


class ModeSince(NamedTuple):
    """A mode, and the number of the first delivery that has it."""

    delivery: int
    mode: str


def mode_of(modes: Sequence[ModeSince], delivery: int, otherwise: Payload) -> Payload:
    """The mode of a delivery; `otherwise` where nothing is remembered."""
    for since in reversed(modes):
        if delivery >= since.delivery:
            return Payload(since.mode)
    return Payload(modes[0].mode) if modes else otherwise


def changed(modes: Sequence[ModeSince], mode: str, next_delivery: int) -> tuple[ModeSince, ...]:
    """The modes once `mode` counts for what is put from now on."""
    if modes and modes[-1].mode == mode:
        return tuple(modes)
    kept = [since for since in modes if since.delivery < next_delivery]
    if kept and kept[-1].mode == mode:  # it was another for no delivery at all
        return tuple(kept)
    return (*kept, ModeSince(next_delivery, mode))[-MOST:]
