"""What the proxy knows of the bytes that it let through."""

import time

import pytest
from chaos.proxy import Fault, Trip


@pytest.fixture
def trip() -> Trip:
    return Trip(Fault.RESET, strikes=30, stall=1.0)


def test_an_answer_has_passed_once_its_last_byte_has(trip: Trip) -> None:
    trip.let(10)
    assert trip.passed(10) is not None
    assert trip.passed(11) is None
    trip.let(12)
    between = trip.passed(11)
    assert between is not None
    assert between <= time.monotonic()


def test_a_reset_takes_with_it_what_passed_just_before(trip: Trip) -> None:
    trip.let(10)
    trip.reset = time.monotonic()
    assert trip.passed(10) is None
    trip.reset += 10.0
    assert trip.passed(10) is not None
