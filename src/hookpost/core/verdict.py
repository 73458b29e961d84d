"""What an HTTP status and a Retry-After mean for a delivery."""

import re
from datetime import UTC, datetime

from hookpost.core.model import Result

RETRY_AFTER_BOUND = 1e9  # seconds; more than 31 years says nothing more


def result_of(status: int, success: frozenset[int]) -> Result:
    """The result of an attempt that was answered with `status`.

    `success` wins over everything. 401 and 407 are `auth`: the receiver wants other credentials
    than the ones sent. 403 is not: firewalls say it for many other reasons. A final status below
    300 that is no success (1xx, or 2xx left out of `success`) counts as `http_3xx`: answered, but
    neither taken, refused nor failed. RFC 9110, section 15: what is outside 100-599 is treated
    like 5xx.
    """
    if status in success:
        return Result.SUCCESS
    match status:
        case 401 | 407:
            return Result.AUTH
        case 410:
            return Result.GONE
        case 429:
            return Result.RATE_LIMITED
    match status // 100:
        case 1 | 2 | 3:
            return Result.HTTP_3XX
        case 4:
            return Result.HTTP_4XX
        case _:
            return Result.HTTP_5XX


_SECONDS = re.compile(r"[0-9]+", re.ASCII)
_MONTH = r"(?P<month>[A-Z][a-z]{2})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        # Sun, 06 Nov 1994 08:49:37 GMT
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        # Sunday, 06-Nov-94 08:49:37 GMT
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        # Sun Nov  6 08:49:37 1994
        rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def retry_after(value: str | None, wall: float) -> float | None:
    """Seconds to wait, from a Retry-After header (RFC 9110, 10.2.3); None if it says nothing.

    `wall` is UNIX seconds by the wall clock, since dates are told by it. Between 0 (also for a
    date in the past) and RETRY_AFTER_BOUND. Garbage is None; nothing is ever raised.
    """
    if value is None:
        return None
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0") or "0"
        # int() of thousands of digits raises; ten of them are over the bound already
        return RETRY_AFTER_BOUND if len(digits) > 10 else min(float(digits), RETRY_AFTER_BOUND)
    for pattern in _DATES:
        found = pattern.fullmatch(text)
        if found is not None:
            at = _moment(found.groupdict(), wall)
            return None if at is None else min(max(0.0, at - wall), RETRY_AFTER_BOUND)
    return None


def _moment(fields: dict[str, str], wall: float) -> float | None:
    """UNIX seconds of a matched date; None if there is no such day or time."""
    if fields["month"] not in _MONTHS:
        return None
    year = int(fields["year"])
    try:
        if len(fields["year"]) == 2:
            # two digits that would lie over 50 years ahead mean the century before
            this_year = datetime.fromtimestamp(wall, UTC).year
            year += this_year - this_year % 100
            if year > this_year + 50:
                year -= 100
        return datetime(
            year,
            _MONTHS.index(fields["month"]) + 1,
            int(fields["day"]),
            int(fields["hour"]),
            int(fields["minute"]),
            min(int(fields["second"]), 59),  # a leap second is the one before
            tzinfo=UTC,
        ).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
