"""The promises, held over many seeds; and the proof that they could be seen broken."""

import logging
from collections.abc import Iterator

import pytest
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.scenario import simulate

SEEDS, BUNDLE = 200, 10
ENOUGH = 150  # seeds in which every mutant is caught, most of them in the first


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the gateways say is not what is looked at, and it is a lot."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, BUNDLE))
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, first + BUNDLE):
        result = simulate(seed)
        assert result.violation is None, result.shown()


def test_a_seed_is_one_run_to_the_byte() -> None:
    first, again, other = simulate(4), simulate(4), simulate(5)
    assert first.digest == again.digest
    assert first.digest != other.digest


@pytest.mark.parametrize("name", MUTANTS)
def test_a_gateway_that_breaks_a_promise_is_caught(name: str) -> None:
    with mutated(name):
        assert any(simulate(seed).violation for seed in range(ENOUGH)), f"{name} passes for good"
