"""The windows against a model: a dict of rows, effects that arrive late, refills that race."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hookpost.storage.sqlite import windows
from hookpost.storage.sqlite.windows import (
    BYTES,
    FEW_ROWS,
    LAST_ID,
    ROWS,
    START,
    Budget,
    Entry,
    Window,
)

PAGE = 3  # so that a refill often stops half-way


def entry(number: int, next_at: float = 0.0, size: int = 1) -> Entry[int]:
    return (next_at, number, size, number)


def test_a_fresh_delivery_waits_in_memory_until_the_window_is_full() -> None:
    window: Window[int] = Window(Budget())
    assert all(window.fresh(entry(number)) for number in range(1, ROWS + 1))
    assert not window.fresh(entry(ROWS + 1))
    assert window.disk_next_at == 0.0
    assert [e[1] for e in window.take(3, 0.0)] == [1, 2, 3]
    assert not window.fresh(entry(ROWS + 2))  # there is room, but disk comes first


def test_a_window_is_bounded_in_bytes_but_never_below_one() -> None:
    window: Window[int] = Window(Budget())
    assert window.fresh(entry(1, size=2 * BYTES))
    assert not window.fresh(entry(2, size=1))
    assert window.bytes == 2 * BYTES


def test_windows_share_a_budget_and_each_keeps_a_few() -> None:
    budget = Budget(limit=0)
    window: Window[int] = Window(budget)
    taken = [window.fresh(entry(number)) for number in range(1, FEW_ROWS + 2)]
    assert taken == [True] * FEW_ROWS + [False]
    window.take(10, 0.0)
    assert budget.used == FEW_ROWS - 10
    window.close()
    assert budget.used == 0


def test_a_row_spilled_while_a_refill_runs_is_not_lost() -> None:
    window: Window[int] = Window(Budget())
    window.open(pending=True)
    epoch = window.begin_refill()
    window.spill(1.0, 7)  # committed after the refill's snapshot
    window.merge(epoch, [entry(1)], (5.0, LAST_ID), inf)
    assert window.disk_next_at == 1.0
    assert window.cursor < (1.0, 7)


def test_a_row_settled_while_a_refill_runs_is_not_given_again() -> None:
    window: Window[int] = Window(Budget())
    window.fresh(entry(1))
    window.take(1, 0.0)
    window.spill(0.0, 2)
    epoch = window.begin_refill()
    window.leave(1)  # settled: the refill's snapshot still has it
    window.merge(epoch, [entry(1), entry(2)], (5.0, LAST_ID), inf)
    assert [e[1] for e in window.take(9, 9.0)] == [2]


def test_a_refill_begun_before_the_endpoint_left_changes_nothing() -> None:
    window: Window[int] = Window(Budget())
    window.open(pending=True)
    epoch = window.begin_refill()
    window.close()
    window.open(pending=True)
    window.merge(epoch, [entry(1)], (5.0, LAST_ID), inf)
    assert (window.cursor, window.disk_next_at) == (START, -inf)
    assert not window.waiting


class Racing(RuleBasedStateMachine):
    """The disk commits at once; memory hears of it later, in order; a refill reads in between."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[int] = Window(Budget())
        self.disk: dict[int, float] = {}  # pending rows as committed
        self.effects: list[tuple[str, int, float]] = []
        self.claimed: set[int] = set()
        self.settling: set[int] = set()
        self.number = 0
        self.now = 0.0
        self.refill: tuple[int, tuple[float, int]] | None = None
        self.read: tuple[list[Entry[int]], tuple[float, int], float] | None = None

    @rule(late=st.booleans())
    def put(self, late: bool) -> None:
        self.number += 1
        self.disk[self.number] = self.now
        self.effects.append(("fresh", self.number, self.now))
        if not late:
            self.hear()

    @rule()
    def hear(self) -> None:
        for kind, number, next_at in self.effects:
            if kind == "fresh":
                self.window.fresh(entry(number, next_at))
                continue
            self.settling.discard(number)
            self.window.leave(number)
            if kind == "pending":
                self.window.spill(next_at, number)
        self.effects.clear()

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        for _, number, _, _ in self.window.take(limit, self.now):
            assert number in self.disk, "claimed though it is over"
            assert number not in self.claimed | self.settling, "claimed twice"
            assert self.disk[number] <= self.now, "claimed before it is due"
            self.claimed.add(number)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), delay=st.none() | st.integers(0, 5), late=st.booleans())
    def settle(self, data: st.DataObject, delay: int | None, late: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.claimed)))
        self.claimed.remove(number)
        self.settling.add(number)
        if delay is None:
            del self.disk[number]
            self.effects.append(("over", number, 0.0))
        else:
            self.disk[number] = self.now + delay
            self.effects.append(("pending", number, self.now + delay))
        if not late:
            self.hear()

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.claimed)))
        self.claimed.remove(number)
        self.window.give_back([entry(number, 0.0)])

    @precondition(lambda self: self.disk)
    @rule(data=st.data(), over=st.booleans())
    def a_person_changes(self, data: st.DataObject, over: bool) -> None:
        """Reserve, commit, let go, as a bulk verb does."""
        self.hear()
        number = data.draw(st.sampled_from(sorted(self.disk)))
        if number in self.claimed | self.settling:
            return
        self.window.reserve({number})
        if over:
            del self.disk[number]
            self.effects.append(("over", number, 0.0))
        else:
            self.disk[number] = min(self.disk[number], self.now)
            self.effects.append(("pending", number, self.disk[number]))

    @precondition(lambda self: self.disk and not self.effects)
    @rule(data=st.data())
    def replay_something(self, data: st.DataObject) -> None:
        """A row that was over comes back at the tail, under its old number."""
        free = sorted(set(range(1, self.number + 1)) - set(self.disk) - self.settling)
        if free:
            number = data.draw(st.sampled_from(free))
            self.disk[number] = self.now
            self.window.spill(self.now, number)

    @precondition(lambda self: self.refill is None and self.window.lacks(self.now))
    @rule()
    def refill_begins(self) -> None:
        self.refill = (self.window.begin_refill(), self.window.cursor)

    @precondition(lambda self: self.refill is not None and self.read is None)
    @rule()
    def refill_reads(self) -> None:
        assert self.refill is not None
        cursor = self.refill[1]
        after = sorted((at, n) for n, at in self.disk.items() if (at, n) > cursor)
        due = [position for position in after if position[0] <= self.now]
        entries = [entry(number, at) for at, number in due[:PAGE]]
        if len(due) > PAGE:
            self.read = (entries, due[PAGE - 1], due[PAGE - 1][0])
        else:
            later = [at for at, _ in after if at > self.now]
            self.read = (entries, (self.now, LAST_ID), min(later, default=inf))

    @precondition(lambda self: self.read is not None)
    @rule()
    def refill_ends(self) -> None:
        assert self.refill is not None
        assert self.read is not None
        self.window.merge(self.refill[0], *self.read)
        self.refill = self.read = None

    @precondition(lambda self: not self.claimed and not self.settling)
    @rule()
    def the_endpoint_leaves_and_returns(self) -> None:
        self.hear()
        self.window.close()
        self.window.open(pending=bool(self.disk))
        self.refill = self.read = None

    @invariant()
    def nothing_is_out_of_sight(self) -> None:
        if self.effects or self.refill is not None:
            return
        for number, next_at in self.disk.items():
            if number not in self.window.held:
                assert (next_at, number) > self.window.cursor
                assert next_at >= self.window.disk_next_at

    @invariant()
    def what_is_waiting_is_weighed(self) -> None:
        assert self.window.bytes == sum(e[2] for e in self.window.waiting)
        assert {e[1] for e in self.window.waiting} <= self.window.held

    def teardown(self) -> None:
        """When all is quiet, every due delivery is claimed, once."""
        self.hear()
        if self.refill is not None:
            if self.read is None:
                self.refill_reads()
            self.refill_ends()
        for _ in range(3 * self.number + 9):
            self.claim(4)
            if self.window.lacks(self.now):
                self.refill_begins()
                self.refill_reads()
                self.refill_ends()
        due = {number for number, at in self.disk.items() if at <= self.now}
        assert due <= self.claimed


Racing.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRacing = Racing.TestCase


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(0, 7))
def test_reserved_deliveries_are_not_taken(numbers: list[int], reserved: int) -> None:
    window: Window[int] = Window(Budget())
    for number in numbers:
        window.fresh(entry(number))
    window.reserve({reserved})
    assert reserved not in {e[1] for e in window.take(99, 0.0)}
    assert reserved in window.held


def test_the_limits_are_those_that_the_architecture_states() -> None:
    assert (windows.ROWS, windows.BYTES, windows.ALL_BYTES) == (1000, 4 << 20, 40 << 20)
