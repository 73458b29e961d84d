"""When an endpoint is failing, when it has recovered: cases, and a model that forgets nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.alerts import SLOTS, Alarm, AlertRule, Operational, Tried, Turn
from hookpost.core.patterns import check_type, reserved

RULE = AlertRule()  # above 0.1 over more than 10 attempts, or 10 in a row, in 5 minutes
START = 1_750_000_000.0


def run(alarm: Alarm, outcomes: str, *, at: float = START, apart: float = 1.0) -> list[str]:
    """The turns: `+` an attempt that went well, `-` one that failed; each as `turn@index`."""
    turns = []
    for index, outcome in enumerate(outcomes):
        turn = alarm.finished(ok=outcome == "+", now=at + index * apart)
        if turn is not None:
            turns.append(f"{turn}@{index}")
    return turns


@pytest.mark.parametrize(
    ("outcomes", "turns"),
    [
        ("-" * 9, []),
        ("-" * 10, ["failing@9"]),
        ("-" * 30, ["failing@9"]),
        ("+" * 9 + "-", []),  # ten attempts are not more than ten
        ("+" * 9 + "--", ["failing@10"]),  # 2 of 11
        ("+" * 10 + "-", []),  # 1 of 11 is below a tenth
        ("+" * 18 + "--", []),  # 2 of 20 is a tenth, not above it
        ("+" * 17 + "--", ["failing@18"]),
        ("-" * 10 + "+", ["failing@9"]),  # 10 of 11 is still above
        ("-" * 10 + "+" * 89, ["failing@9"]),
        ("-" * 10 + "+" * 90, ["failing@9", "recovered@99"]),
        ("-" * 10 + "+" * 90 + "-", ["failing@9", "recovered@99", "failing@100"]),
    ],
)
def test_an_endpoint_is_failing_above_the_ratio_or_after_so_many_in_a_row(
    outcomes: str, turns: list[str]
) -> None:
    assert run(Alarm(RULE), outcomes) == turns


@pytest.mark.parametrize(
    ("rule", "outcomes", "turns"),
    [
        (AlertRule(failure_ratio=0.5), "+-" * 20, []),
        (AlertRule(failure_ratio=0.5), "--+" * 4, ["failing@10"]),
        (AlertRule(min_attempts=2), "+--", ["failing@2"]),
        (AlertRule(consecutive_failures=2), "--", ["failing@1"]),
        (AlertRule(failure_ratio=1.0), "-" * 10, ["failing@9"]),
        (AlertRule(failure_ratio=1.0), "-" * 10 + "+", ["failing@9", "recovered@10"]),
    ],
)
def test_the_rule_says_when(rule: AlertRule, outcomes: str, turns: list[str]) -> None:
    assert run(Alarm(rule), outcomes) == turns


def test_failures_outside_the_window_do_not_count() -> None:
    slow = AlertRule(window=100.0)
    assert run(Alarm(slow), "+-" * 30, apart=30.0) == []
    assert run(Alarm(slow), "-" * 10, apart=1000.0) == ["failing@9"]  # in a row, however slowly


def test_it_recovers_when_what_failed_is_over_and_the_last_went_well() -> None:
    alarm = Alarm(RULE)
    assert run(alarm, "-" * 10 + "+") == ["failing@9"]
    assert alarm.since == START + 9
    assert alarm.look(START + 200) is None
    assert alarm.look(START + 311) is Turn.RECOVERED
    assert alarm.since is None
    assert alarm.look(START + 312) is None


def test_time_alone_never_recovers() -> None:
    alarm = Alarm(RULE)
    run(alarm, "-" * 10)
    assert alarm.look(START + 1e6) is None


def test_after_a_restart_the_first_success_recovers_and_nothing_less() -> None:
    alarm = Alarm(RULE, since=START)
    assert alarm.look(START + 1000) is None
    assert run(alarm, "---", at=START + 1000) == []
    assert Alarm(RULE, since=START).finished(ok=True, now=START + 1000) is Turn.RECOVERED


def test_another_rule_keeps_what_was_counted() -> None:
    alarm = Alarm(RULE)
    run(alarm, "-" * 5)
    alarm.rule = AlertRule(consecutive_failures=6)
    assert alarm.finished(ok=False, now=START + 6) is Turn.FAILING
    assert alarm.tried(START + 6) == Tried(6, 6, 6)


def test_the_types_are_the_gateways_own() -> None:
    assert all(reserved(kind) and check_type(kind) is None for kind in Operational)


rules = st.builds(
    AlertRule,
    failure_ratio=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    min_attempts=st.integers(1, 12),
    consecutive_failures=st.integers(1, 12),
    window=st.sampled_from([10.0, 60.0, 300.0]),
)
histories = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0, 400.0])), max_size=80
)


@given(rules, histories)
def test_no_history_makes_it_disagree_with_a_model_that_forgets_nothing(
    rule: AlertRule, history: list[tuple[bool, float]]
) -> None:
    alarm, now, seen, was_failing = Alarm(rule), START, [], False
    for ok, later in history:
        now += later
        turn = alarm.finished(ok=ok, now=now)
        seen.append((now, ok))
        streak = next((n for n, (_, well) in enumerate(reversed(seen)) if well), len(seen))
        tried = alarm.tried(now)
        whole = [well for at, well in seen if at > now - rule.window]
        surely = [well for at, well in seen if at > now - rule.window * (1 - 1 / SLOTS)]
        assert len(surely) <= tried.attempts <= len(whole)
        assert surely.count(False) <= tried.failures <= whole.count(False)
        assert tried.streak == streak
        above = tried.failures > rule.failure_ratio * tried.attempts
        ill = streak >= rule.consecutive_failures or (above and tried.attempts > rule.min_attempts)
        expected = None
        if not was_failing and not ok and ill:
            expected = Turn.FAILING
        elif was_failing and ok and not above:
            expected = Turn.RECOVERED
        assert turn is expected
        was_failing = was_failing != (expected is not None)
        assert (alarm.since is not None) == was_failing
        assert len(alarm._slots) <= SLOTS


@given(histories)
def test_windows_of_changing_length_stay_small(history: list[tuple[bool, float]]) -> None:
    alarm, now = Alarm(RULE), START
    for index, (ok, later) in enumerate(history):
        alarm.rule = AlertRule(window=(10.0, 300.0, 3600.0)[index % 3])
        now += later
        alarm.finished(ok=ok, now=now)
        assert len(alarm._slots) <= 2 * SLOTS
