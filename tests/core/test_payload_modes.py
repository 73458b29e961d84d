"""A delivery keeps the payload mode that it was put with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.model import Payload
from hookpost.core.payload_modes import MOST, ModeSince, changed, mode_of

MODES = [mode.value for mode in Payload]


def test_nothing_remembered_is_the_mode_of_now() -> None:
    assert mode_of((), 7, Payload.RAW) is Payload.RAW


def test_a_change_counts_from_the_next_delivery_on() -> None:
    modes = changed(changed((), "auto", 1), "raw", 11)
    assert modes == (ModeSince(1, "auto"), ModeSince(11, "raw"))
    found = [mode_of(modes, number, Payload.ENVELOPE) for number in (1, 10, 11, 99)]
    assert found == [Payload.AUTO, Payload.AUTO, Payload.RAW, Payload.RAW]


def test_the_same_mode_again_changes_nothing() -> None:
    modes = changed((), "auto", 1)
    assert changed(modes, "auto", 50) == modes


def test_a_mode_that_no_delivery_had_is_forgotten() -> None:
    modes = changed(changed(changed((), "auto", 1), "raw", 11), "auto", 11)
    assert modes == (ModeSince(1, "auto"),)


@given(st.lists(st.tuples(st.sampled_from(MODES), st.integers(0, 3)), max_size=MOST))
def test_every_delivery_has_the_mode_that_was_in_force(steps: list[tuple[str, int]]) -> None:
    modes: tuple[ModeSince, ...] = ()
    put: list[str] = []
    for mode, deliveries in steps:
        modes = changed(modes, mode, len(put) + 1)
        put += [mode] * deliveries
    for number, mode in enumerate(put, 1):
        assert mode_of(modes, number, Payload.AUTO) == mode


def test_only_so_many_changes_are_remembered() -> None:
    modes: tuple[ModeSince, ...] = ()
    for number in range(1, 200):
        modes = changed(modes, MODES[number % 2], number)
    assert len(modes) == MOST


@pytest.mark.parametrize("number", [0, 1, 5])
def test_what_is_older_than_all_that_is_remembered_has_the_oldest_mode(number: int) -> None:
    assert mode_of([ModeSince(6, "raw")], number, Payload.AUTO) is Payload.RAW
