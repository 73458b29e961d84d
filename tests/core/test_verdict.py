"""Statuses and Retry-After: a closed table, and a parser that nothing upsets."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.model import Result
from hookpost.core.settings import SUCCESS
from hookpost.core.verdict import RETRY_AFTER_BOUND, result_of, retry_after

NOW = datetime(2025, 6, 15, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.SUCCESS),
        (204, Result.SUCCESS),
        (299, Result.SUCCESS),
        (101, Result.HTTP_3XX),
        (300, Result.HTTP_3XX),
        (308, Result.HTTP_3XX),
        (400, Result.HTTP_4XX),
        (401, Result.AUTH),
        (403, Result.HTTP_4XX),
        (407, Result.AUTH),
        (408, Result.HTTP_4XX),
        (410, Result.GONE),
        (429, Result.RATE_LIMITED),
        (499, Result.HTTP_4XX),
        (500, Result.HTTP_5XX),
        (503, Result.HTTP_5XX),
        (599, Result.HTTP_5XX),
        (0, Result.HTTP_5XX),
        (600, Result.HTTP_5XX),
        (999, Result.HTTP_5XX),
    ],
)
def test_a_status_has_one_result(status: int, result: Result) -> None:
    assert result_of(status, SUCCESS) is result


@pytest.mark.parametrize("status", [200, 302, 401, 404, 410, 429, 500])
def test_what_the_endpoint_lists_as_success_wins(status: int) -> None:
    assert result_of(status, frozenset({status})) is Result.SUCCESS


def test_a_2xx_that_is_not_listed_is_no_success() -> None:
    assert result_of(204, frozenset({200})) is Result.HTTP_3XX


@given(st.integers(min_value=0, max_value=999), st.frozensets(st.integers(100, 599)))
def test_every_status_is_success_exactly_when_listed(status: int, success: frozenset[int]) -> None:
    assert (result_of(status, success) is Result.SUCCESS) == (status in success)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        ("1000000000", RETRY_AFTER_BOUND),
        ("1000000001", RETRY_AFTER_BOUND),
        ("9" * 5000, RETRY_AFTER_BOUND),
        ("0" * 5000 + "9", 9.0),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("1_0", None),
        ("١٢", None),
        ("nan", None),
        ("inf", None),
        ("5, 6", None),
        ("soon", None),
        ("Sun, 15 Jun 2025 12:01:00 GMT", 60.0),
        ("Sunday, 15-Jun-25 12:01:00 GMT", 60.0),
        ("Sun Jun 15 12:01:00 2025", 60.0),
        ("Tue Jul  1 12:00:00 2025", 16 * 86400.0),
        ("Sun, 15 Jun 2025 11:00:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Monday, 15-Jun-76 12:00:00 GMT", 0.0),
        ("Sun, 15 Jun 2025 12:01:60 GMT", 119.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_BOUND),
        ("Sun, 31 Feb 2025 12:00:00 GMT", None),
        ("Sun, 15 Jux 2025 12:00:00 GMT", None),
        ("Sun, 15 Jun 0000 12:00:00 GMT", None),
        ("Sun, 15 Jun 2025 25:00:00 GMT", None),
        ("Sun, 15 Jun 2025 12:00:00 +0200", None),
        ("sun, 15 jun 2025 12:00:00 gmt", None),
        ("2025-06-15T12:01:00Z", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=60), st.floats(min_value=-1e12, max_value=1e12))
def test_whatever_is_sent_the_answer_is_none_or_bounded(value: str, wall: float) -> None:
    seconds = retry_after(value, wall)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_BOUND


@given(
    st.datetimes(min_value=datetime(2025, 6, 15, 12), max_value=datetime(2050, 1, 1)),  # noqa: DTZ001
)
def test_the_three_forms_of_a_date_mean_the_same(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    wanted = min(moment.timestamp() - NOW, RETRY_AFTER_BOUND)
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"):
        assert retry_after(moment.strftime(form), NOW) == wanted
