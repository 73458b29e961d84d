"""Filters and transforms of any text over bodies of any kind: an answer, in bounded work, and only
JSON of a bounded length is ever kept to be sent.
"""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.bodies import any_bodies
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.sockets import looped
from tests.fuzz.spent import bounded
from tests.fuzz.test_expressions import _any_expression, _doubling
from tests.ingest_rig import Rig, WebRig, a_rig, a_snapshot, a_source, request, served

from hookpost.config.expressions import ExpressionMistake, compile_formula
from hookpost.core.envelope import strict_json
from hookpost.core.fanout import carrying
from hookpost.core.model import EndpointId, Format, Payload
from hookpost.core.payload import render
from hookpost.core.settings import Extractor, Subscription

# of the library, for literals as it once wrote them
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

LARGEST = 20_000
MODES = [mode for mode in Payload if mode is not Payload.THIN]  # which has a link in its place

_leaves = st.sampled_from(
    ["data", "data.a", "data.a.b", "data[0]", "data.*", "headers", "type", "@", "'x'", "`1`",
     "`null`", "to_number('nan')", "to_number('inf')", "time", "source", "id", "`true`", "`1e999`",
     "data[*].a", '"\\ud800"', '`"\\ud800"`', "headers.\"content-type\"", "`{\"\\ud800\": 1}`"]
)  # fmt: skip
_grown = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["==", "<", "&&", "||", "|"]), inner),
        st.builds("{{b: {}, a: {}}}".format, inner, inner),
        st.builds("[{0}, {0}]".format, inner),
        st.builds("!{}".format, inner),
        st.builds(
            "{}({})".format,
            st.sampled_from(["length", "keys", "to_string", "to_array", "values", "type"]),
            inner,
        ),
        st.builds("contains({}, {})".format, inner, inner),
    ),
    max_leaves=6,
)
_texts = st.one_of(_grown, _grown, _any_expression, _doubling)
_wide = st.integers(1, 600).map(lambda n: json.dumps([{"a": [i, "é"]} for i in range(n)]).encode())
_bodies = st.one_of(
    any_bodies,
    st.binary(max_size=40),
    _wide,
    st.sampled_from([b'{"a":{"b":true}}', b'"\\ud800"', b"1e999", b"true", b"[" * 64 + b"]" * 64]),
)


class Road:
    """The real listener over an outbox in memory, on a loop that stays."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.rig: Rig
        self.web: WebRig

    async def start(self) -> None:
        self.rig = a_rig(a_snapshot())
        self.web = await self.stack.enter_async_context(served(self.rig))

    def subscribe(self, filters: list[str], transforms: list[str]) -> None:
        """A subscription for each text that compiles, and one that takes what is left."""
        found = [
            Subscription(name=f"s{number}", endpoints=("crm", "audit")[number % 2 :], **{key: text})
            for number, (key, text) in enumerate(
                [("filter", one) for one in _compiled(filters)]
                + [("transform", one) for one in _compiled(transforms)]
            )
        ]
        found.append(Subscription(name="rest", endpoints=("crm", "audit")))
        raw = a_source("raw", format=Format.RAW, event_type=Extractor(value="t"))
        snapshot = a_snapshot(a_source(), raw, subscriptions=found, max_body=LARGEST)
        names = [one.name for one in found]
        self.rig.metrics.configure(
            sources=["billing", "raw"], endpoints=["crm"], secrets={}, subscriptions=names
        )
        self.rig.reload(snapshot)

    async def ask(self, body: bytes, target: str) -> int:
        self.rig.outbox.events.clear()
        self.rig.clock.advance(2.0)
        with bounded(SECONDS):
            reply = await self.web.once(request(body, target=target))
        return reply.status


def _compiled(texts: list[str]) -> list[Any]:
    made = []
    for text in texts:
        try:
            made.append(compile_formula(text))
        except ExpressionMistake:
            continue
    return made


@pytest.fixture
def road() -> Iterator[tuple[Any, Road]]:
    with looped("asyncio") as runner:
        made = Road()
        runner.run(made.start())
        yield runner.run, made
        runner.run(made.stack.aclose())


@fuzzed(150)
@given(
    st.lists(_texts, max_size=3),
    st.lists(_texts, min_size=1, max_size=3),
    _bodies,
    st.booleans(),
)
def test_any_event_has_an_answer_and_what_is_kept_for_it_is_json(
    road: tuple[Any, Road], filters: list[str], transforms: list[str], body: bytes, raw: bool
) -> None:
    run, made = road
    count("expressions", len(filters) + len(transforms))
    made.subscribe(filters, transforms)
    status = run(made.ask(body, "/in/raw" if raw else "/in/billing"))
    assert status in (202, 400, 413, 422), status
    for event, owed in made.rig.outbox.events:
        assert set(owed) == {EndpointId(1), EndpointId(2)}, "the last one takes every event"
        assert len(set(owed)) == len(owed)
        for data in (event.transformed or {}).values():
            if data is None:
                continue
            assert len(data) <= LARGEST
            strict_json(data)
            for mode in MODES:
                sent = render(carrying(event, data), mode).body
                assert data in sent, "every mode sends JSON as the bytes that were made"


@fuzzed(20)
@given(st.lists(_doubling, min_size=20, max_size=60), _wide)
def test_many_greedy_expressions_cost_no_more_than_one(
    road: tuple[Any, Road], texts: list[str], body: bytes
) -> None:
    run, made = road
    count("expressions", len(texts))
    made.subscribe([f"{text} == `1`" for text in texts], texts)
    assert run(made.ask(body, "/in/raw")) == 202
