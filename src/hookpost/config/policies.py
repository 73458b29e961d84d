"""Retry policies, circuit breakers, rate limits and egress policies: checked and built."""

from typing import Any

from hookpost.config import values
from hookpost.config.draft import Draft
from hookpost.config.schema import Json
from hookpost.core import units
from hookpost.core.addresses import EgressPolicy
from hookpost.core.alerts import AlertRule
from hookpost.core.breaker import BreakerPolicy
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import STANDARD, Backoff, Jitter, RetryPolicy


def durations(data: Json, *keys: str) -> dict[str, Any]:
    """The seconds of those keys that are given."""
    return {key: units.duration(data[key]) for key in keys if key in data}


def given(data: Json, *keys: str) -> dict[str, Any]:
    """The values of those keys that are given."""
    return {key: data[key] for key in keys if key in data}


def alerts(data: Json) -> AlertRule:
    """When an endpoint is failing."""
    counts = {
        key: int(data[key]) for key in ("min_attempts", "consecutive_failures") if key in data
    }
    return AlertRule(**durations(data, "window"), **given(data, "failure_ratio"), **counts)


# -- retry -----------------------------------------------------------------------------------


def retry_policy(data: Json) -> RetryPolicy:
    """A retry policy of sound values."""
    inner = data.get("backoff", {})
    schedule = data.get("schedule")
    return RetryPolicy(
        **given(data, "max_attempts"),
        **durations(data, "max_age", "retry_after_max"),
        backoff=None if schedule is not None else backoff(inner),
        schedule=tuple(units.duration(delay) for delay in schedule) if schedule else None,
        jitter=Jitter(data.get("jitter", inner.get("jitter", "equal"))),
        reject_on=statuses(data.get("reject_on", [])),
    )


def backoff(data: Json) -> Backoff:
    """Exponential delays of sound values."""
    multiplier = {"multiplier": float(data["multiplier"])} if "multiplier" in data else {}
    return Backoff(**durations(data, "initial", "max"), **multiplier)


def statuses(items: list[Any]) -> frozenset[int]:
    """All statuses that a list of statuses and classes names."""
    return frozenset().union(*(values.status(item) for item in items if item is not None))


def retry_policies(data: Json) -> dict[str, RetryPolicy]:
    """By name, the built-in one under those of the file."""
    own = data.get("retry_policies", {})
    return {"standard": STANDARD, **{name: retry_policy(value) for name, value in own.items()}}


def check_retry(draft: Draft) -> None:
    """Report retry policies that never end, or whose parts contradict each other."""
    for name, data in draft.entries("retry_policies"):
        path = ("retry_policies", name)
        if draft.written((*path, "schedule")):
            _check_schedule(draft, path, data)
            continue
        if not any(draft.written((*path, key)) for key in ("max_attempts", "max_age")):
            message = "a delivery would be tried for ever; give max_attempts or max_age"
            draft.name_error(path, "endless-retry", message)
        if "jitter" in data:
            message = "with a backoff the jitter stands inside it: backoff: {jitter: …}"
            draft.error((*path, "jitter"), "misplaced-key", message)
        inner = data.get("backoff", {})
        delays = backoff(inner)
        if delays.initial > delays.max:
            message = (
                f"the first delay, {units.duration_text(delays.initial)}, is longer than "
                f"the longest, {units.duration_text(delays.max)}; raise max or lower initial"
            )
            draft.error((*path, "backoff"), "contradiction", message)
        _check_age(draft, path, data, delays.initial)


def _check_schedule(draft: Draft, path: tuple[str, ...], data: Json) -> None:
    if draft.written((*path, "backoff")):
        message = "give schedule or backoff, not both"
        draft.error((*path, "backoff"), "one-of", message)
    schedule = [units.duration(delay) for delay in draft.listed(data.get("schedule"))]
    if not schedule:
        return
    allowed = data.get("max_attempts")
    if allowed is not None and allowed > len(schedule) + 1:
        message = (
            f"{allowed} attempts are never reached: the schedule's {len(schedule)} delays make "
            f"{len(schedule) + 1}; lengthen it, or drop max_attempts"
        )
        draft.warning((*path, "max_attempts"), "unreachable-limit", message)
    _check_age(draft, path, data, schedule[0])


def _check_age(draft: Draft, path: tuple[str, ...], data: Json, first: float) -> None:
    if "max_age" not in data:
        return
    if units.duration(data["max_age"]) <= first:
        message = (
            f"{data['max_age']} ends before the second attempt, which is due after "
            f"{units.duration_text(first)}; raise it, or say max_attempts: 1"
        )
        draft.warning((*path, "max_age"), "unreachable-limit", message)


# -- circuit breakers ------------------------------------------------------------------------


def breaker_policy(data: Json) -> BreakerPolicy:
    """A circuit breaker of sound values."""
    ratio: dict[str, Any] = {}
    if "failure_ratio" in data:
        ratio["failure_ratio"] = float(data["failure_ratio"])
    counts = given(data, "min_attempts", "consecutive_failures", "probes")
    return BreakerPolicy(
        **durations(data, "window", "open_for", "max_open_for"),
        **ratio,
        **{key: int(value) for key, value in counts.items()},
    )


def breakers(data: Json) -> dict[str, BreakerPolicy | None]:
    """By name, the built-in ones under those of the file; None for `none`."""
    own = data.get("circuit_breakers", {})
    built = {name: breaker_policy(value) for name, value in own.items()}
    return {"standard": BreakerPolicy(), "none": None, **built}


def check_breakers(draft: Draft) -> None:
    """Report circuit breakers whose parts contradict each other."""
    for name, data in draft.entries("circuit_breakers"):
        policy = breaker_policy(data)
        if policy.open_for > policy.max_open_for:
            message = (
                f"open_for, {units.duration_text(policy.open_for)}, is longer than max_open_for, "
                f"{units.duration_text(policy.max_open_for)}; raise max_open_for"
            )
            draft.name_error(("circuit_breakers", name), "contradiction", message)


# -- rate limits -----------------------------------------------------------------------------


def rate_limits(data: Json) -> dict[str, RateLimit | None]:
    """By name; None for `none`."""
    own = data.get("rate_limits", {})
    built = {
        name: RateLimit(rate=units.rate(value["rate"]), burst=int(value["burst"]))
        for name, value in own.items()
    }
    return {"none": None, **built}


# -- egress ----------------------------------------------------------------------------------


def egress_policy(name: str, data: Json) -> EgressPolicy:
    """An egress policy of sound values."""
    return EgressPolicy(
        name=name,
        allow=tuple(values.allowance(item) for item in data.get("allow", []) if item is not None),
        **given(data, "require_https"),
    )


def egress_policies(data: Json) -> dict[str, EgressPolicy]:
    """By name, the built-in one under those of the file."""
    own = data.get("egress_policies", {})
    built = {name: egress_policy(name, value) for name, value in own.items()}
    return {"public": EgressPolicy(), **built}


def check_egress(draft: Draft) -> None:
    """Warn of a policy that allows every address there is."""
    for name, data in draft.entries("egress_policies"):
        for index, text in enumerate(data.get("allow", [])):
            if text is None or values.allowance(text).network.prefixlen > 0:
                continue
            message = f"{text} allows every address, this machine's own too; name the networks"
            draft.warning(("egress_policies", name, "allow", index), "wide-egress", message)
