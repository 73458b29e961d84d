"""What becomes of a claimed delivery: the only place that decides its fate.

Two decisions of ours. A retry whose due time would lie beyond `max_age` is not waited for: the
delivery is dead `expired` at once, because no attempt could follow (`exhausted` is kept for budgets
counted in attempts). A `Retry-After` only raises a delay, is capped by the policy, and may thereby
end a round too.
"""

from hookpost.core.model import (
    TRANSITIONS,
    Cause,
    DeadReason,
    Delivery,
    Outcome,
    Result,
    State,
    Transition,
)
from hookpost.core.retry import MINIMUM_DELAY, RetryPolicy

HOLDING = frozenset({429, 503})  # with Retry-After: the whole endpoint is asked to wait


def settle(
    delivery: Delivery, outcome: Outcome, policy: RetryPolicy, *, active_now: float, dice: float
) -> Transition:
    """Where a delivery goes after one attempt.

    `active_now` is the endpoint's active clock (UNIX seconds less the time paused or parked), by
    which `max_age` counts. `dice` in [0, 1) spreads the delay.
    """
    if outcome.result is Result.SUCCESS:
        return SUCCEEDED
    match outcome:
        case Outcome(result=Result.INTERRUPTED):
            return RELEASED
        case Outcome(result=Result.GONE):
            return _moved(Cause.GONE, DeadReason.GONE)
        case Outcome(permanent=True):
            return _moved(Cause.BLOCKED, DeadReason.BLOCKED)
        case Outcome(status=int(status)) if status in policy.reject_on:
            return _moved(Cause.REJECTED, DeadReason.REJECTED)
        case _:
            return _failed(delivery, outcome, policy, active_now, dice)


def expired(delivery: Delivery, policy: RetryPolicy, *, active_now: float) -> Transition | None:
    """The transition of a claimed delivery that is too old to be attempted, None: it is not."""
    if policy.max_age is None or active_now - delivery.round_started <= policy.max_age:
        return None
    return _moved(Cause.EXPIRED, DeadReason.EXPIRED)


def hold(outcome: Outcome, policy: RetryPolicy) -> float | None:
    """Seconds for which the whole endpoint was asked to wait, capped; None: it was not."""
    if outcome.retry_after is None or outcome.status not in HOLDING:
        return None
    return min(max(0.0, outcome.retry_after), policy.retry_after_max)


def _failed(
    delivery: Delivery, outcome: Outcome, policy: RetryPolicy, active_now: float, dice: float
) -> Transition:
    attempt = delivery.round_attempts + 1
    allowed = policy.attempts_allowed
    if allowed is not None and attempt >= allowed:
        return _moved(Cause.EXHAUSTED, DeadReason.EXHAUSTED)
    if outcome.result is Result.REUSED_CONNECTION:
        delay = MINIMUM_DELAY
    else:
        delay = policy.delay(attempt, dice)
    if outcome.retry_after is not None:
        delay = max(delay, min(outcome.retry_after, policy.retry_after_max))
    if policy.max_age is not None and active_now + delay - delivery.round_started > policy.max_age:
        return _moved(Cause.EXPIRED, DeadReason.EXPIRED)
    return Transition(state=State.PENDING, cause=Cause.FAILED, delay=delay)


def _moved(cause: Cause, reason: DeadReason | None = None) -> Transition:
    state = TRANSITIONS[State.IN_FLIGHT, cause]
    return Transition(state=state, cause=cause, reason=reason)


# The two that need no more than their cause, made once: one of them is every good delivery's.
SUCCEEDED = _moved(Cause.SUCCEEDED)
RELEASED = Transition(
    state=TRANSITIONS[State.IN_FLIGHT, Cause.RELEASED], cause=Cause.RELEASED, counted=False
)
