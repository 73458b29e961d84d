"""The gateway's own events, from what happens to who is told: real outbox, scripted receivers.

`crm` gets what publishers send; `ops` is subscribed to `hookpost.**` and nothing else.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock, an_event
from tests.dispatching import BROKEN, KEY, OK, Bench, ScriptedReceiver, an_endpoint

from hookpost.config.expressions import compile_formula
from hookpost.core.alerts import AlertRule, Operational
from hookpost.core.breaker import BreakerPolicy
from hookpost.core.model import EndpointId, Outcome, Result, State
from hookpost.core.retry import RetryPolicy
from hookpost.core.secrets import Secret
from hookpost.core.settings import (
    AdminListener,
    Config,
    Endpoint,
    Listen,
    Storage,
    Subscription,
    UnixAddress,
)
from hookpost.core.signing import standard_webhooks
from hookpost.metrics import Metrics
from hookpost.services.alerts import NOTES, WINDOW, Alerts
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.endpoint_alerts import PACE
from hookpost.services.reload import snapshot_of
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import EndpointSpec, Selection
from hookpost.storage.sqlite import SqliteOutbox

RULE = AlertRule(consecutive_failures=3, min_attempts=10, failure_ratio=0.5, window=100.0)
PATIENT = RetryPolicy(max_age=1e9, schedule=(1.0,) * 500, backoff=None)
ONCE = RetryPolicy(max_attempts=1)
GONE = Outcome(result=Result.GONE, status=410, error="410 from the receiver")
SLOW_DOWN = Outcome(
    result=Result.RATE_LIMITED, status=429, error="429 from the receiver", retry_after=50.0
)
TO_OPS = Subscription(name="alerts", events=("hookpost.**",), endpoints=("ops",))


class _Kept:
    """A receiver that goes on when a reload or a restart closes the way to it."""

    def __init__(self, receiver: ScriptedReceiver) -> None:
        self.post = receiver.post

    async def close(self) -> None:
        pass


class Watched:
    """A dispatcher over crm and ops, and what ops was sent."""

    def __init__(self, outbox: SqliteOutbox, clock: FakeClock) -> None:
        self.outbox = outbox
        self.clock = clock
        self.crm, self.ops = ScriptedReceiver(OK), ScriptedReceiver(OK)
        self.metrics = Bench(outbox, clock).metrics
        self.dispatcher: Dispatcher | None = None
        self.current: Current | None = None
        self._events = 0

    async def snapshot(
        self, *endpoints: Endpoint, rule: AlertRule = RULE, subscription: Subscription = TO_OPS
    ) -> Snapshot:
        everybody = [*endpoints, an_endpoint("ops", retry=ONCE)]
        if any(endpoint.name == "ops" for endpoint in endpoints):
            everybody.pop()
        specs = [
            EndpointSpec(name=each.name, paused=each.paused, renamed_from=each.renamed_from)
            for each in everybody
        ]
        records = await self.outbox.apply_endpoints(specs, self.clock.now())
        config = Config(
            path=Path("gateway.yaml"),
            listen=Listen(admin=AdminListener(address=UnixAddress(Path("admin.sock")))),
            storage=Storage(path=Path("outbox.db")),
            endpoints={each.name: each for each in everybody},
            subscriptions=(subscription,),
            alerts=rule,
        )
        return snapshot_of(config, records)

    async def begin(self, *endpoints: Endpoint, **options: Any) -> None:
        self.current = Current(await self.snapshot(*endpoints, **options))
        self.alerts = Alerts(
            self.current, self.outbox, Metrics(self.clock), self.clock, lambda: 0.5
        )
        receivers = {"crm": self.crm, "ops": self.ops}
        self.dispatcher = Dispatcher(
            self.current,
            self.outbox,
            lambda endpoint: _Kept(receivers.get(endpoint.name, self.crm)),
            self.clock,
            self.metrics,
            lambda: 0.5,
            self.alerts,
        )
        await self.dispatcher.start()

    async def reload(self, *endpoints: Endpoint, **options: Any) -> None:
        assert self.current is not None
        self.current.snapshot = await self.snapshot(*endpoints, **options)
        self.running.apply(self.current.snapshot)

    async def restart(self, *endpoints: Endpoint, **options: Any) -> None:
        await self.running.drain(10.0)
        path = self.outbox._path
        await self.outbox.close()
        self.outbox = await SqliteOutbox.open(path, clock=self.clock)
        await self.begin(*endpoints, **options)

    @property
    def running(self) -> Dispatcher:
        assert self.dispatcher is not None
        return self.dispatcher

    async def settled(self) -> None:
        """Until all that is due has been attempted and told: puts and attempts breed others."""
        async with asyncio.timeout(10):
            quiet = 0
            while quiet < 2:
                before = self.crm.hits, self.ops.hits
                await self.outbox.update_endpoint(self.number("ops"), self.clock.now())
                await self.running.idle()
                await self.outbox.pending_ages()  # a round through a reader's thread
                quiet = quiet + 1 if before == (self.crm.hits, self.ops.hits) else 0

    def number(self, endpoint: str) -> EndpointId:
        assert self.current is not None
        return self.current.snapshot.endpoint_ids[endpoint]

    async def put(self, count: int = 1, to: str = "crm", **event: Any) -> None:
        for _ in range(count):
            self._events += 1
            fields = {"id": f"evt_{self._events}", "accepted_at": self.clock.now(), **event}
            await self.outbox.put(an_event(**fields), [self.number(to)])
            await self.settled()

    def look(self) -> None:
        """What is done every few seconds."""
        self.alerts.look()
        self.running.look()

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The types, without `hookpost.`, and the data of what ops was sent."""
        bodies = [json.loads(body) for _, _, body in self.ops.received]
        return [(body["eventType"].removeprefix("hookpost."), body["data"]) for body in bodies]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    clock = FakeClock()
    watched = Watched(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield watched
    if watched.dispatcher is not None:
        await watched.dispatcher.drain(10.0)
    await watched.outbox.close()


def _dead(endpoint: str) -> Selection:
    return Selection(endpoint=endpoint, states=frozenset({State.DEAD}))


def crm(**overrides: Any) -> Endpoint:
    return an_endpoint("crm", **{"retry": ONCE, **overrides})


# -- failing and recovered -----------------------------------------------------------------------


async def test_an_endpoint_that_fails_is_told_of_once_and_its_recovery_too(
    watched: Watched,
) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN)
    began = watched.clock.now()
    await watched.put(5)
    failing = [data for kind, data in watched.told if kind == "endpoint.failing"]
    assert failing == [
        {
            "endpoint": "crm",
            "attempts": 3,
            "failures": 3,
            "failureRatio": 1.0,
            "consecutiveFailures": 3,
            "window": 100.0,
            "lastError": {"kind": "http_5xx", "status": 500},
            "since": "2025-06-15T15:06:40.000Z",
        }
    ]
    assert began == 1_750_000_000.0
    watched.crm.answers(OK)
    await watched.put(4)
    assert "endpoint.recovered" not in watched.kinds  # 5 of 9 is above a half
    await watched.put()
    assert watched.kinds.count("endpoint.recovered") == 1
    recovered = watched.told[-1][1]
    assert recovered["failureRatio"] == 0.5
    assert recovered["since"] == "2025-06-15T15:06:40.000Z"


async def test_it_recovers_without_traffic_once_the_failures_lie_before_the_window(
    watched: Watched,
) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN, BROKEN, BROKEN, OK)
    await watched.put(4)
    watched.look()
    await watched.settled()
    assert "endpoint.recovered" not in watched.kinds
    watched.clock.advance(RULE.window)
    watched.look()
    await watched.settled()
    assert watched.kinds[-1] == "endpoint.recovered"


async def test_the_rule_of_the_file_says_when(watched: Watched) -> None:
    await watched.begin(crm(), rule=AlertRule(consecutive_failures=1))
    watched.crm.answers(BROKEN)
    await watched.put()
    assert "endpoint.failing" in watched.kinds


async def test_a_reload_keeps_what_was_counted_and_brings_its_rule(watched: Watched) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN)
    await watched.put(2)
    await watched.reload(crm(timeout=1.0))
    await watched.put(1)
    assert watched.kinds.count("endpoint.failing") == 1
    await watched.reload(crm(), rule=AlertRule(consecutive_failures=1000))
    await watched.put(3)
    assert watched.kinds.count("endpoint.failing") == 1


async def test_a_renamed_endpoint_is_told_of_by_its_new_name(watched: Watched) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN)
    await watched.put(2)
    await watched.reload(an_endpoint("shop", retry=ONCE, renamed_from="crm"))
    await watched.put(1, to="shop")
    assert [data["endpoint"] for kind, data in watched.told if kind == "endpoint.failing"] == [
        "shop"
    ]


async def test_a_restart_forgets_no_alarm_that_was_told(watched: Watched) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN)
    await watched.put(3)
    await watched.restart(crm())
    await watched.put(3)
    assert watched.kinds.count("endpoint.failing") == 1
    watched.crm.answers(OK)
    await watched.restart(crm())
    await watched.put()
    assert watched.kinds[-1] == "endpoint.recovered"
    assert watched.told[-1][1]["since"] == "2025-06-15T15:06:40.000Z"


async def test_what_does_not_count_for_the_breaker_does_not_count_here(watched: Watched) -> None:
    await watched.begin(crm(retry=ONCE))
    watched.crm.answers(Outcome(result=Result.RATE_LIMITED, status=429, error="429"))
    await watched.put(12)
    assert "endpoint.failing" not in watched.kinds


async def test_who_subscribes_later_is_told_of_what_still_lasts(watched: Watched) -> None:
    nobody = Subscription(name="alerts", events=("hookpost.config.*",), endpoints=("ops",))
    await watched.begin(crm(), subscription=nobody)
    watched.crm.answers(BROKEN)
    await watched.put(4)
    assert watched.ops.hits == 0
    await watched.reload(crm())
    watched.look()
    await watched.settled()
    assert watched.kinds == ["endpoint.failing"]


async def test_an_endpoint_that_flaps_is_told_of_in_pairs_and_not_too_often(
    watched: Watched,
) -> None:
    rule = AlertRule(consecutive_failures=1, failure_ratio=1.0)
    await watched.begin(crm(), rule=rule)
    watched.crm.answers(*[BROKEN, OK] * 20)
    await watched.put(8)
    kinds = [kind for kind in watched.kinds if kind.startswith("endpoint")]
    assert kinds == ["endpoint.failing", "endpoint.recovered"]
    watched.clock.advance(PACE)
    await watched.put(1)
    kinds = [kind for kind in watched.kinds if kind.startswith("endpoint")]
    assert kinds == ["endpoint.failing", "endpoint.recovered", "endpoint.failing"]


# -- never recursive -----------------------------------------------------------------------------


async def test_what_happens_to_the_gateways_own_events_raises_none(watched: Watched) -> None:
    breaker = BreakerPolicy(consecutive_failures=2, open_for=1.0)
    ops = an_endpoint("ops", retry=ONCE, circuit_breaker=breaker)
    await watched.begin(crm(), ops)
    watched.ops.answers(BROKEN)
    watched.crm.answers(BROKEN)
    await watched.put(6)
    for _ in range(30):
        watched.clock.advance(20.0)
        watched.look()
        await watched.settled()
    own = [data.get("endpoint") for _, data in watched.told]
    assert set(own) == {"crm"}
    assert watched.outbox.sources()["hookpost"].accepted == 1 + 6  # failing, and the dead ones
    gone = await watched.outbox.count(_dead("ops"))
    assert gone == 7


async def test_a_410_to_the_gateways_own_event_is_not_told_of(watched: Watched) -> None:
    await watched.begin(crm(), an_endpoint("ops", retry=ONCE))
    watched.ops.answers(GONE)
    watched.crm.answers(BROKEN)
    await watched.put(1)
    watched.ops.answers(OK)
    await watched.running.resume(watched.number("ops"))
    await watched.settled()
    assert watched.kinds == ["delivery.dead", "endpoint.resumed"]


async def test_what_an_endpoint_of_both_kinds_fails_at_is_told_without_end_to_nobody(
    watched: Watched,
) -> None:
    to_itself = Subscription(name="alerts", events=("hookpost.**",), endpoints=("crm",))
    await watched.begin(crm(), subscription=to_itself)
    watched.crm.answers(BROKEN)
    await watched.put(4)
    for _ in range(10):
        watched.clock.advance(20.0)
        watched.look()
        await watched.settled()
    assert watched.outbox.sources()["hookpost"].accepted == 1 + 4


# -- breakers, holds, pauses ---------------------------------------------------------------------


async def test_a_breaker_is_told_of_when_it_opens_and_when_it_closes(watched: Watched) -> None:
    breaker = BreakerPolicy(consecutive_failures=2, open_for=30.0, max_open_for=30.0)
    await watched.begin(crm(circuit_breaker=breaker, retry=PATIENT))
    watched.crm.answers(BROKEN)
    await watched.put(2)
    assert watched.told == [
        (
            "breaker.opened",
            {
                "endpoint": "crm",
                "openFor": 30.0,
                "lastError": {"kind": "http_5xx", "status": 500},
                "since": "2025-06-15T15:06:40.000Z",
            },
        )
    ]
    watched.clock.advance(31.0)  # a failed probe opens it again: that is no news
    await watched.settled()
    assert watched.crm.hits == 3
    watched.crm.answers(OK)
    watched.clock.advance(61.0)
    await watched.settled()
    opened = [kind for kind in watched.kinds if kind.startswith("breaker")]
    assert opened == ["breaker.opened", "breaker.closed"]


async def test_a_breaker_that_the_file_switches_off_is_told_of_as_closed(watched: Watched) -> None:
    breaker = BreakerPolicy(consecutive_failures=2, open_for=30.0)
    await watched.begin(crm(circuit_breaker=breaker))
    watched.crm.answers(BROKEN)
    await watched.put(2)
    await watched.restart(crm(circuit_breaker=breaker))
    await watched.reload(crm())
    await watched.settled()
    assert [kind for kind in watched.kinds if kind.startswith("breaker")] == [
        "breaker.opened",
        "breaker.closed",
    ]


async def test_an_endpoint_that_asks_for_time_is_told_of_as_held(watched: Watched) -> None:
    await watched.begin(crm(retry=PATIENT))
    watched.crm.answers(SLOW_DOWN)
    await watched.put()
    assert watched.told == [
        (
            "endpoint.held",
            {"endpoint": "crm", "by": "hold", "until": "2025-06-15T15:07:30.000Z"},
        )
    ]


async def test_an_endpoint_without_a_live_key_is_told_of_as_held(watched: Watched) -> None:
    key = Secret(name="old", value=KEY.value, not_after=1.0)
    await watched.begin(crm(signing=standard_webhooks(key)))
    await watched.put()
    assert watched.told == [
        ("endpoint.held", {"endpoint": "crm", "by": "no_live_key", "until": None})
    ]


async def test_pauses_are_told_of_by_whoever_made_them(watched: Watched) -> None:
    await watched.begin(crm())
    number = watched.number("crm")
    await watched.running.pause(number)
    await watched.running.resume(number)
    await watched.settled()
    await watched.reload(crm(paused=True))
    await watched.settled()
    await watched.reload(crm())
    await watched.settled()
    watched.crm.answers(GONE)
    await watched.put()
    await watched.running.resume(number)
    await watched.settled()
    told = [(kind, data.get("by")) for kind, data in watched.told]
    assert [one for one in told if one[0].startswith("endpoint")] == [
        ("endpoint.paused", "operator"),
        ("endpoint.resumed", None),
        ("endpoint.paused", "file"),
        ("endpoint.resumed", None),
        ("endpoint.gone", None),
        ("endpoint.resumed", None),
    ]


# -- dead letters --------------------------------------------------------------------------------


async def test_a_dead_letter_is_told_of_without_its_data(watched: Watched) -> None:
    await watched.begin(crm())
    watched.crm.answers(BROKEN)
    await watched.put(body=b'{"card": "4111"}')
    assert watched.told == [
        (
            "delivery.dead",
            {
                "id": 1,
                "endpoint": "crm",
                "reason": "exhausted",
                "originalEvent": {
                    "eventId": "evt_1",
                    "eventType": "invoice.paid",
                    "source": "billing",
                    "sequence": 1,
                    "acceptedAt": "2025-06-15T15:06:40.000Z",
                },
                "error": {
                    "message": "500 from the receiver",
                    "kind": "http_5xx",
                    "status": 500,
                    "timestamp": "2025-06-15T15:06:40.000Z",
                },
                "attempts": 1,
                "addedAt": "2025-06-15T15:06:40.000Z",
                "status": "failed",
            },
        )
    ]


async def test_a_storm_of_dead_letters_is_told_of_in_part_and_counted(watched: Watched) -> None:
    await watched.begin(crm(), rule=AlertRule(consecutive_failures=10**6, failure_ratio=1.0))
    watched.crm.answers(BROKEN)
    await watched.put(NOTES + 5)
    assert len(watched.told) == NOTES
    watched.clock.advance(WINDOW)
    watched.look()
    await watched.settled()
    assert len(watched.told) == NOTES + 1
    newest = watched.told[-1][1]
    assert (newest["originalEvent"]["eventId"], newest["suppressed"]) == (f"evt_{NOTES + 5}", 4)
    watched.clock.advance(WINDOW)
    watched.look()
    assert watched.alerts._notes == {}


# -- putting -------------------------------------------------------------------------------------


async def test_nothing_is_stored_that_nobody_wants(watched: Watched) -> None:
    everything = Subscription(name="all", events=("**", "*.*.*"), endpoints=("ops",))
    await watched.begin(crm(), subscription=everything)
    watched.crm.answers(BROKEN)
    await watched.put(5)
    assert not watched.alerts.tell(Operational.CONFIG_RELOADED, {})
    assert "hookpost" not in watched.outbox.sources()


@pytest.mark.parametrize(
    ("sources", "wanted"), [(None, True), (("hookpost",), True), (("billing",), False)]
)
async def test_a_subscription_gets_them_by_default_or_by_name(
    watched: Watched, sources: tuple[str, ...] | None, wanted: bool
) -> None:
    one = Subscription(name="a", sources=sources, events=("hookpost.*.dead",), endpoints=("ops",))
    await watched.begin(crm(), subscription=one)
    assert watched.alerts.tell(Operational.DELIVERY_DEAD, {}) is wanted
    assert not watched.alerts.tell(Operational.CONFIG_RELOADED, {})


async def test_a_filter_looks_into_them_and_a_transform_makes_what_is_sent(
    watched: Watched,
) -> None:
    one = Subscription(
        name="alerts",
        events=("hookpost.**",),
        endpoints=("ops",),
        filter=compile_formula("data.reason == 'exhausted'"),
        transform=compile_formula("{who: data.endpoint}"),
    )
    await watched.begin(crm(), subscription=one)
    assert not watched.alerts.tell(Operational.DELIVERY_DEAD, {"reason": "expired"})
    told = {"reason": "exhausted", "endpoint": "crm"}
    assert watched.alerts.tell(Operational.DELIVERY_DEAD, told)
    await watched.settled()
    assert watched.told == [("delivery.dead", {"who": "crm"})]


def _and_tell(emit: Callable[[logging.LogRecord], None], written: asyncio.Event) -> Any:
    def emitted(record: logging.LogRecord) -> None:
        emit(record)
        written.set()

    return emitted


async def test_what_cannot_be_stored_is_lost_with_a_line_in_the_log(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.begin(crm())
    await watched.running.drain(0.0)
    await watched.outbox.close()
    written = asyncio.Event()
    monkeypatch.setattr(caplog.handler, "emit", _and_tell(caplog.handler.emit, written))
    with caplog.at_level(logging.WARNING, "hookpost.alerts"):
        assert watched.alerts.tell(Operational.CONFIG_RELOADED, {})
        async with asyncio.timeout(10):
            await written.wait()
    assert caplog.messages == ["alert.lost"]
