"""Admission: the order of the gate, and limits that hold whatever happens."""

import base64
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hookpost.core import breaker as circuit
from hookpost.core.breaker import Breaker, BreakerPolicy, Closed, HalfOpen, Open, dump
from hookpost.core.credentials import BearerAuth
from hookpost.core.gate import Gate, Held, HeldBy, Room, Ticket
from hookpost.core.model import EndpointCounts, EndpointId, EndpointRecord
from hookpost.core.ratelimit import RateLimit
from hookpost.core.secrets import Secret
from hookpost.core.settings import Endpoint
from hookpost.core.signing import standard_webhooks

NOW = 1000.0
WALL = 1_750_000_000.0
KEY = b"whsec_" + base64.b64encode(b"k" * 24)


def an_endpoint(**overrides: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "name": "crm",
        "url": "https://crm.example.com/",
        "concurrency": 4,
        "circuit_breaker": None,
    }
    fields.update(overrides)
    return Endpoint(**fields)


def a_record(**overrides: Any) -> EndpointRecord:
    return EndpointRecord(id=EndpointId(1), name="crm", **overrides)


def a_gate(record: EndpointRecord | None = None, **endpoint: Any) -> Gate:
    return Gate(an_endpoint(**endpoint), record or a_record(fresh=True), NOW)


def held_by(gate: Gate, now: float = NOW, wall: float = WALL) -> HeldBy | None:
    admitted = gate.admit(now, wall)
    return admitted.by if isinstance(admitted, Held) else None


def start(gate: Gate, now: float = NOW) -> Ticket:
    ticket = gate.start(now, WALL)
    assert isinstance(ticket, Ticket)
    return ticket


def test_an_idle_gate_has_room_for_its_concurrency() -> None:
    assert a_gate().admit(NOW, WALL) == Room(4)


def test_room_is_the_smallest_of_what_is_left() -> None:
    gate = a_gate(rate_limit=RateLimit(rate=1.0, burst=3))
    assert gate.admit(NOW, WALL) == Room(3)
    start(gate)
    start(gate)
    assert gate.admit(NOW, WALL) == Room(1)


def test_the_first_closed_door_in_the_order_of_the_contract_answers() -> None:
    dead = Secret(name="old", value=KEY, not_after=WALL - 1)
    gate = a_gate(
        a_record(paused_by_operator=True, counts=EndpointCounts(created=1)),
        signing=standard_webhooks(dead),
        circuit_breaker=BreakerPolicy(),
        rate_limit=RateLimit(rate=1.0, burst=1),
        concurrency=1,
    )
    gate.removed = True
    gate.hold(NOW + 10)
    gate.breaker = Open(NOW + 20, 30.0)
    gate.in_flight = 1
    seen = [held_by(gate)]
    gate.removed = False
    seen.append(held_by(gate))
    gate.paused = False
    seen.append(held_by(gate))
    gate.resize(
        an_endpoint(
            circuit_breaker=BreakerPolicy(), rate_limit=RateLimit(rate=1.0, burst=1), concurrency=1
        ),
        NOW,
    )
    seen.append(held_by(gate))
    gate.hold_until = None
    seen.append(held_by(gate))
    gate.breaker = Closed()
    seen.append(held_by(gate))
    gate.in_flight = 0
    seen.append(held_by(gate))
    assert seen == [
        HeldBy.REMOVED,
        HeldBy.PAUSED,
        HeldBy.NO_LIVE_KEY,
        HeldBy.HOLD,
        HeldBy.BREAKER,
        HeldBy.CONCURRENCY,
        HeldBy.RATE,
    ]


def test_what_is_held_says_for_how_long() -> None:
    soon = Secret(name="new", value=KEY, not_before=WALL + 60)
    assert a_gate(signing=standard_webhooks(soon)).admit(NOW, WALL) == Held(
        HeldBy.NO_LIVE_KEY, 60.0
    )
    gate = a_gate()
    gate.hold(NOW + 7)
    assert gate.admit(NOW, WALL) == Held(HeldBy.HOLD, 7.0)
    assert gate.admit(NOW + 7, WALL) == Room(4)


def test_a_secret_that_is_no_signing_key_never_lives() -> None:
    assert (
        held_by(a_gate(signing=standard_webhooks(Secret(name="bad", value=b"x"))))
        is HeldBy.NO_LIVE_KEY
    )


def test_a_token_is_taken_by_a_start_and_by_nothing_else() -> None:
    gate = a_gate(rate_limit=RateLimit(rate=0.001, burst=2), concurrency=1)
    ticket = start(gate)
    for _ in range(50):
        assert gate.admit(NOW, WALL) == Held(HeldBy.CONCURRENCY)
        assert isinstance(gate.start(NOW, WALL), Held)
    gate.finish(ticket, ok=True, now=NOW)
    assert gate.admit(NOW, WALL) == Room(1)


def test_a_start_that_did_not_happen_gives_place_and_token_back() -> None:
    gate = a_gate(rate_limit=RateLimit(rate=0.001, burst=1))
    gate.cancel(start(gate), NOW)
    assert gate.in_flight == 0
    assert gate.admit(NOW, WALL) == Room(1)


@given(st.lists(st.tuples(st.sampled_from([True, True, True, False, None]), st.floats(-3, 9))))
@example([(True, 1.0), (True, 5.9), (True, 0.2), (False, 0.0), (True, 6.0), (True, -0.1)])
def test_successes_counted_by_the_number_make_the_breaker_that_each_alone_would(
    ended: list[tuple[bool | None, float]],
) -> None:
    policy = BreakerPolicy(window=60.0, min_attempts=6, consecutive_failures=3)
    gate = a_gate(circuit_breaker=policy, concurrency=1000)
    expected: Breaker = Closed()
    now = NOW
    for ok, passed in ended:
        now += passed
        ticket = gate.start(now, WALL)
        if isinstance(ticket, Held):
            break
        expected = circuit.started(circuit.admit(expected, policy, now)[0])
        moved = gate.finish(ticket, ok=ok, now=now)
        before = expected
        expected = circuit.record(before, policy, era=ticket.era, ok=ok, now=now)
        assert moved is (type(expected) is not type(before))
    assert gate.breaker == expected


def test_a_key_that_was_alive_is_not_trusted_beyond_its_time() -> None:
    old = Secret(name="old", value=KEY, not_after=WALL + 10)
    new = Secret(name="new", value=KEY, not_before=WALL + 20, not_after=WALL + 30)
    gate = a_gate(signing=standard_webhooks(old, new))
    seen = [held_by(gate, NOW, WALL + later) for later in (0, 10, 15, 20, 30, 31, 5)]
    dead = HeldBy.NO_LIVE_KEY
    assert seen == [None, None, dead, None, None, dead, None]


def test_a_shorter_hold_never_shortens_a_longer_one() -> None:
    gate = a_gate()
    assert gate.hold(NOW + 100)
    assert not gate.hold(NOW + 5)
    assert held_by(gate, NOW + 50) is HeldBy.HOLD


def test_half_open_admits_its_probes_and_a_hung_one_frees_its_place_at_its_timeout() -> None:
    gate = a_gate(circuit_breaker=BreakerPolicy(probes=2, open_for=30.0))
    gate.breaker = Open(NOW, 30.0, 1)
    first = start(gate)
    start(gate)
    assert gate.admit(NOW, WALL) == Held(HeldBy.BREAKER)
    assert gate.finish(first, ok=False, now=NOW + 3)
    assert gate.admit(NOW + 3, WALL) == Held(HeldBy.BREAKER, 60.0)


def test_a_429_as_a_probe_leaves_the_circuit_half_open() -> None:
    gate = a_gate(circuit_breaker=BreakerPolicy())
    gate.breaker = Open(NOW, 30.0, 1)
    assert not gate.finish(start(gate), ok=None, now=NOW)
    assert gate.admit(NOW, WALL) == Room(1)


# -- restarts --------------------------------------------------------------------------------


RATED = {"rate_limit": RateLimit(rate=10.0, burst=100), "concurrency": 1000}


@pytest.mark.parametrize(
    ("record", "room"),
    [
        (a_record(fresh=True), Room(100)),
        (a_record(counts=EndpointCounts()), Room(100)),
        (a_record(counts=EndpointCounts(created=5), tokens=7.5, tokens_at=0.0), Room(7)),
        (a_record(counts=EndpointCounts(created=5), tokens=1e9, tokens_at=0.0), Room(100)),
        (a_record(counts=EndpointCounts(created=5)), Held(HeldBy.RATE, 0.1)),
        (a_record(counts=EndpointCounts(replayed=5)), Held(HeldBy.RATE, 0.1)),
    ],
)
def test_a_bucket_starts_no_fuller_than_it_was(record: EndpointRecord, room: Room | Held) -> None:
    assert a_gate(record, **RATED).admit(NOW, WALL) == room


def test_a_hold_and_an_open_breaker_survive_a_restart() -> None:
    record = a_record(hold_until=NOW + 60, breaker=dump(Open(NOW + 90, 30.0)))
    gate = a_gate(record, circuit_breaker=BreakerPolicy())
    assert gate.admit(NOW, WALL) == Held(HeldBy.HOLD, 60.0)
    assert gate.admit(NOW + 61, WALL) == Held(HeldBy.BREAKER, 29.0)


def test_a_hold_kept_under_a_wrong_clock_lasts_no_longer_than_one_could() -> None:
    gate = a_gate(a_record(hold_until=9e12))
    assert gate.admit(NOW, WALL) == Held(HeldBy.HOLD, 3600.0)


@pytest.mark.parametrize("by", ["paused_by_file", "paused_by_operator", "gone"])
def test_whoever_has_paused_it_holds_it(by: str) -> None:
    assert held_by(a_gate(a_record(**{by: True}))) is HeldBy.PAUSED


# -- reloads ---------------------------------------------------------------------------------


def test_a_reload_keeps_places_tokens_hold_and_breaker() -> None:
    policy = BreakerPolicy()
    gate = a_gate(concurrency=3, rate_limit=RateLimit(rate=0.001, burst=4), circuit_breaker=policy)
    start(gate)
    start(gate)
    gate.breaker = HalfOpen(30.0, 0, 1)
    gate.resize(
        an_endpoint(
            concurrency=20, rate_limit=RateLimit(rate=0.001, burst=50), circuit_breaker=policy
        ),
        NOW,
    )
    assert gate.in_flight == 2
    assert gate.admit(NOW, WALL) == Room(1)
    gate.breaker = Closed()
    assert gate.admit(NOW, WALL) == Room(2)


def test_a_limit_that_is_switched_on_again_has_saved_nothing() -> None:
    gate = a_gate(rate_limit=RateLimit(rate=1.0, burst=5))
    gate.resize(an_endpoint(), NOW)
    assert gate.admit(NOW, WALL) == Room(4)
    gate.resize(an_endpoint(rate_limit=RateLimit(rate=1.0, burst=5)), NOW)
    assert gate.admit(NOW, WALL) == Held(HeldBy.RATE, 1.0)


def test_a_lowered_concurrency_starts_nothing_until_enough_have_ended() -> None:
    gate = a_gate(concurrency=3)
    tickets = [start(gate) for _ in range(3)]
    gate.resize(an_endpoint(concurrency=1), NOW)
    gate.finish(tickets[0], ok=True, now=NOW)
    gate.finish(tickets[1], ok=True, now=NOW)
    assert held_by(gate) is HeldBy.CONCURRENCY
    gate.finish(tickets[2], ok=True, now=NOW)
    assert gate.admit(NOW, WALL) == Room(1)


class AnyInterleaving(RuleBasedStateMachine):
    """Starts, ends, holds and reloads in any order: the limits hold at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.policy = BreakerPolicy(consecutive_failures=3, open_for=10.0, probes=2)
        self.endpoint = self.configured(concurrency=3, burst=5)
        self.gate = Gate(self.endpoint, a_record(fresh=True), NOW)
        self.tickets: list[Ticket] = []
        self.starts: list[float] = []
        self.largest = 5

    def configured(self, concurrency: int, burst: int) -> Endpoint:
        return an_endpoint(
            concurrency=concurrency,
            rate_limit=RateLimit(rate=2.0, burst=burst),
            circuit_breaker=self.policy,
        )

    @rule(seconds=st.floats(0.0, 8.0))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def starts_one(self) -> None:
        breaker, held = self.gate.breaker, self.gate.hold_until
        before = self.gate.in_flight
        ticket = self.gate.start(self.now, WALL)
        if isinstance(ticket, Held):
            assert self.gate.in_flight == before
            return
        assert held is None or self.now >= held
        assert not isinstance(breaker, Open) or self.now >= breaker.until
        assert before < self.endpoint.concurrency
        self.tickets.append(ticket)
        self.starts.append(self.now)

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 100), ok=st.sampled_from([True, False, False, None]))
    def ends_one(self, which: int, ok: bool | None) -> None:
        ticket = self.tickets.pop(which % len(self.tickets))
        self.gate.finish(ticket, ok=ok, now=self.now)

    @rule(seconds=st.floats(0.0, 5.0))
    def is_held(self, seconds: float) -> None:
        self.gate.hold(self.now + seconds)

    @rule(concurrency=st.integers(1, 6), burst=st.integers(1, 10))
    def is_reloaded(self, concurrency: int, burst: int) -> None:
        self.endpoint = self.configured(concurrency, burst)
        self.largest = max(self.largest, burst)
        self.gate.resize(self.endpoint, self.now)

    @invariant()
    def what_is_counted_is_what_runs(self) -> None:
        assert self.gate.in_flight == len(self.tickets)

    @invariant()
    def probes_are_bounded(self) -> None:
        breaker = self.gate.breaker
        if isinstance(breaker, HalfOpen):
            probes = [ticket for ticket in self.tickets if ticket.era == breaker.era]
            assert breaker.probing == len(probes) <= self.policy.probes

    @invariant()
    def the_rate_holds_in_every_window(self) -> None:
        for first, begun in enumerate(self.starts):
            window = self.now - begun
            assert len(self.starts) - first <= 2.0 * window + self.largest + 1e-3


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_signing_key_and_credential_must_both_live() -> None:
    key = Secret(name="key", value=KEY, not_after=WALL + 10)
    token = Secret(name="token", value=b"t", not_before=WALL + 5, not_after=WALL + 20)
    gate = a_gate(signing=standard_webhooks(key), auth=BearerAuth(token=token))
    assert gate.admit(NOW, WALL) == Held(HeldBy.NO_LIVE_KEY, 5.0)
    assert gate.admit(NOW, WALL + 5) == Room(4)
    assert gate.admit(NOW, WALL + 10) == Room(4)
    assert gate.admit(NOW, WALL + 11) == Held(HeldBy.NO_LIVE_KEY)
    alone = a_gate(signing=None, auth=BearerAuth(token=token))
    assert alone.admit(NOW, WALL + 20) == Room(4)
    assert alone.admit(NOW, WALL + 21) == Held(HeldBy.NO_LIVE_KEY)
