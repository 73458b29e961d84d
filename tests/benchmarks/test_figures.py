import pytest
from bench.figures import Figure, Rounds, interleaved, line, percentile


def test_a_percentile_is_the_nearest_rank():
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def readings(*values: float):
    left = iter(values)
    return lambda: next(left)


def test_a_round_between_two_like_readings_is_kept_with_their_mean():
    rounds = interleaved(2, readings(100.0, 90.0, 100.0), lambda: {"rate": 50.0})
    assert [values["bare"] for values in rounds.kept] == [95.0, 95.0]
    assert rounds.ratio("rate", "bare") == [50.0 / 95.0] * 2
    assert not rounds.noisy
    assert rounds.thrown == []


def test_a_round_between_two_unlike_readings_is_thrown_away_and_another_is_run():
    rounds = interleaved(1, readings(100.0, 80.0, 81.0), lambda: {"rate": 50.0})
    assert [values["bare"] for values in rounds.kept] == [80.5]
    assert [values["bare"] for values in rounds.thrown] == [90.0]


def test_on_a_box_that_is_never_quiet_the_rounds_end_and_are_marked():
    rounds = interleaved(2, readings(*[100.0, 50.0] * 4), lambda: {"rate": 50.0})
    assert len(rounds.kept) == 6
    assert rounds.noisy


@pytest.mark.parametrize(
    ("least", "most", "ok"), [(0.75, None, True), (0.85, None, False), (None, None, None)]
)
def test_a_floor_judges_the_median_of_the_ratios(least, most, ok):
    figure = Figure(
        name="ingest", unit="events/s", rounds=[8.0], ratios=[0.7, 0.8, 0.9], least=least, most=most
    )
    assert figure.ok is ok


@pytest.mark.parametrize(("most", "ok"), [(3.0, True), (1.9, False)])
def test_a_ceiling_judges_the_median_of_the_values(most, ok):
    assert Figure(name="p50", unit="ms", rounds=[1.0, 2.0, 9.0], most=most).ok is ok


def test_a_line_says_what_was_missed_and_what_was_thrown_away():
    rounds = Rounds(kept=[{"rate": 5.0}], thrown=[{"rate": 1.0}], noisy=False)
    shown = line(
        Figure(
            name="ingest",
            unit="events/s",
            rounds=[5000.0, 6000.0, 7000.0],
            limit_name="bare handler",
            limits=[10000.0],
            ratios=[0.5, 0.6, 0.7],
            least=0.75,
            taken_in=rounds,
        )
    )
    assert "6,000 (5,000 to 7,000)" in shown
    assert "10,000 bare handler" in shown
    assert "MISSED" in shown
    assert "1 noisy rounds thrown away" in shown
