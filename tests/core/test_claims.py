"""What a verified token says: for this gateway, and now."""

import json
from typing import Any

import pytest

from hookpost.core.claims import hold

NOW = 1_750_000_000.0
GOOD: dict[str, Any] = {"iss": "id", "aud": "us", "exp": NOW + 60}


def held(payload: bytes, at: float = NOW) -> bool:
    return hold(payload, issuer="id", audience="us", leeway=10.0, at=at)


def said(**claims: Any) -> bool:
    return held(json.dumps(GOOD | claims).encode())


def test_issuer_audience_and_an_end_are_enough() -> None:
    assert said()
    assert said(sub="anybody", scope="everything")
    assert said(aud=["them", "us"])


@pytest.mark.parametrize("name", GOOD)
def test_none_of_them_may_be_missing(name: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key != name}
    assert not held(json.dumps(rest).encode())


@pytest.mark.parametrize("wrong", ["ID", "id ", "", None, ["id"], 1, {"id": 1}])
def test_the_issuer_is_exactly_that(wrong: object) -> None:
    assert not said(iss=wrong)


@pytest.mark.parametrize("wrong", ["us!", "u", "usus", None, [], ["them"], [["us"]], {"us": 1}, 1])
def test_the_audience_is_or_holds_ours(wrong: object) -> None:
    assert not said(aud=wrong)


@pytest.mark.parametrize(
    ("claim", "edge", "after"),
    [("exp", NOW - 10.0, True), ("nbf", NOW + 10.0, False), ("iat", NOW + 10.0, False)],
)
def test_clocks_may_differ_by_the_leeway_and_no_more(claim: str, edge: float, after: bool) -> None:
    """`exp` is the first moment at which a token does not count, the others the first at which."""
    assert said(**{claim: edge}) is not after
    assert said(**{claim: edge + 0.01}) is after
    assert said(**{claim: edge - 0.01}) is not after


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["1750000060", None, True, [], {}, float("inf"), float("-inf"), float("nan"), 10**400]
)
def test_a_time_that_is_none_does_not_count(claim: str, value: object) -> None:
    assert not said(**{claim: value})


def test_a_time_far_away_is_none() -> None:
    assert not said(exp=10**13)
    assert not said(nbf=-(10**13))


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"id"', b"{", b"\xff", b"[" * 5000, b'{"exp": ' + b"1" * 5000]
)
def test_what_is_no_object_says_nothing(payload: bytes) -> None:
    assert not held(payload)
