"""The circuit opens when it must, probes, and is remembered."""

import pytest

from hookpost.core import breaker as circuit
from hookpost.core.breaker import Breaker, BreakerPolicy, Closed, HalfOpen, Open, admit, record
from hookpost.core.model import Outcome, Result

POLICY = BreakerPolicy(
    window=60.0, min_attempts=20, failure_ratio=0.5, consecutive_failures=10,
    open_for=30.0, max_open_for=100.0, probes=1,
)  # fmt: skip


def run(breaker: Breaker, verdicts: str, now: float = 0.0, step: float = 0.0) -> Breaker:
    """`+` well, `-` ill, `?` no verdict, one after the other, `step` seconds apart."""
    for verdict in verdicts:
        ok = {"+": True, "-": False, "?": None}[verdict]
        breaker = record(breaker, POLICY, era=breaker.era, ok=ok, now=now)
        now += step
    return breaker


def test_it_opens_at_the_tenth_failure_in_a_row_and_not_at_the_ninth() -> None:
    assert isinstance(run(Closed(), "-" * 9), Closed)
    assert run(Closed(), "-" * 10, now=5.0) == Open(35.0, 30.0, 1)


def test_a_success_ends_a_row() -> None:
    assert isinstance(run(Closed(), "-" * 9 + "+" + "-" * 9), Closed)


def test_it_opens_when_half_of_twenty_failed() -> None:
    assert isinstance(run(Closed(), "+-" * 9 + "-"), Closed)
    assert isinstance(run(Closed(), "+-" * 10), Open)


def test_what_is_older_than_the_window_does_not_count() -> None:
    early = run(Closed(), "+-" * 9, now=0.0)
    assert isinstance(run(early, "+-", now=61.0), Closed)
    assert isinstance(run(early, "+-", now=59.0), Open)


def test_no_verdict_neither_counts_nor_ends_a_row() -> None:
    assert isinstance(run(Closed(), "-" * 9 + "?" * 50 + "-"), Open)
    assert run(Closed(), "?" * 50) == Closed()


def test_the_window_takes_bounded_memory_at_any_rate() -> None:
    breaker = run(Closed(), "+" * 5000, step=0.1)
    assert isinstance(breaker, Closed)
    assert len(breaker.slots) <= circuit.SLOTS + 1


def test_open_admits_nothing_until_its_time_and_then_as_many_as_there_are_probes() -> None:
    breaker: Breaker = Open(30.0, 30.0, 1)
    assert admit(breaker, POLICY, 10.0) == (breaker, 0, 20.0)
    breaker, room, _ = admit(breaker, POLICY, 30.0)
    assert (breaker, room) == (HalfOpen(30.0, 0, 1), 1)
    assert admit(circuit.started(breaker), POLICY, 30.0)[1] == 0


def test_a_probe_that_succeeds_closes_it_with_a_clean_slate() -> None:
    assert run(HalfOpen(30.0, 1, 4), "+") == Closed(0, (), 4)


def test_each_failed_round_doubles_the_time_up_to_the_maximum() -> None:
    breaker: Breaker = Open(30.0, 30.0, 1)
    lasted = []
    for _ in range(4):
        assert isinstance(breaker, Open)
        breaker, _, _ = admit(breaker, POLICY, breaker.until)
        breaker = run(circuit.started(breaker), "-", now=1000.0)
        assert isinstance(breaker, Open)
        lasted.append(breaker.open_for)
    assert lasted == [60.0, 100.0, 100.0, 100.0]


def test_several_probes_that_fail_together_double_it_once() -> None:
    probing = HalfOpen(30.0, 3, 1)
    first = record(probing, POLICY, era=1, ok=False, now=0.0)
    second = record(first, POLICY, era=1, ok=False, now=0.0)
    assert first == second == Open(60.0, 60.0, 2)


def test_a_probe_without_a_verdict_frees_its_place() -> None:
    assert run(HalfOpen(30.0, 1, 1), "?") == HalfOpen(30.0, 0, 1)


@pytest.mark.parametrize("ok", [True, False, None])
def test_a_slow_attempt_from_before_the_opening_is_no_probe(ok: bool | None) -> None:
    probing = HalfOpen(30.0, 1, 2)
    assert record(probing, POLICY, era=1, ok=ok, now=0.0) is probing


def test_another_url_makes_it_half_open_whatever_it_was() -> None:
    assert circuit.half_opened(Closed(9, (), 3), POLICY) == HalfOpen(30.0, 0, 4)
    assert circuit.half_opened(Open(9e9, 80.0, 3), POLICY) == HalfOpen(80.0, 0, 4)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(result=Result.SUCCESS, status=204), True),
        (Outcome(result=Result.TIMEOUT), False),
        (Outcome(result=Result.DNS), False),
        (Outcome(result=Result.CONNECT), False),
        (Outcome(result=Result.TLS), False),
        (Outcome(result=Result.HTTP_3XX, status=302), False),
        (Outcome(result=Result.HTTP_4XX, status=404), False),
        (Outcome(result=Result.HTTP_5XX, status=503, retry_after=5.0), False),
        (Outcome(result=Result.AUTH, status=401), False),
        (Outcome(result=Result.BLOCKED), False),
        (Outcome(result=Result.BLOCKED, permanent=True), None),
        (Outcome(result=Result.RATE_LIMITED, status=429), None),
        (Outcome(result=Result.GONE, status=410), None),
        (Outcome(result=Result.REUSED_CONNECTION), None),
        (Outcome(result=Result.INTERRUPTED), None),
    ],
)
def test_what_each_outcome_says_of_the_receiver(outcome: Outcome, verdict: bool | None) -> None:
    assert circuit.judged(outcome) is verdict


def test_open_survives_a_restart_until_its_time() -> None:
    text = circuit.dump(Open(1050.0, 60.0, 7))
    kept = circuit.load(text, POLICY, 1000.0)
    assert admit(kept, POLICY, 1049.0)[1] == 0
    assert admit(kept, POLICY, 1050.0)[1] == 1


def test_half_open_begins_to_probe_anew_after_a_restart() -> None:
    kept = circuit.load(circuit.dump(HalfOpen(60.0, 1, 7)), POLICY, 0.0)
    assert admit(kept, POLICY, 0.0)[1] == 1
    assert run(circuit.started(kept), "-", now=0.0) == Open(100.0, 100.0, kept.era + 1)


def test_a_row_of_failures_survives_a_restart() -> None:
    kept = circuit.load(circuit.dump(run(Closed(), "-" * 9)), POLICY, 0.0)
    assert isinstance(run(kept, "-"), Open)


def test_a_clock_set_back_over_a_restart_keeps_it_open_no_longer_than_the_maximum() -> None:
    kept = circuit.load(circuit.dump(Open(9e9, 60.0)), POLICY, 1000.0)
    assert admit(kept, POLICY, 1100.0)[1] == 1


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"state": "open"}', '{"state": 7}'])
def test_an_unreadable_text_means_closed(text: str | None) -> None:
    assert circuit.load(text, POLICY, 0.0) == Closed()
    assert circuit.about(text) is None


def test_the_text_says_which_url_it_is_about() -> None:
    assert circuit.about(circuit.dump(Closed(), "abc")) == "abc"
