"""Look-ups on their own threads: judged whole, bounded in time, isolated from everything else."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_network

import pytest
from tests.builders import FakeClock
from tests.transport.receiver import LOOPBACK, OK, Open, Receiver, answering

from hookpost.core.addresses import Allowance, EgressPolicy
from hookpost.core.model import Result
from hookpost.transport.resolver import (
    ANSWER_KEPT_FOR,
    LOOKUP_THREADS,
    LookupFailed,
    Refused,
    Resolver,
    system_lookup,
)

PUBLIC = EgressPolicy()


class Names:
    """A look-up by a table; counts; a name without entry fails as the system would."""

    def __init__(self, **table: list[str]) -> None:
        self.table = {name.replace("_", "."): answer for name, answer in table.items()}
        self.asked: list[str] = []

    def __call__(self, host: str) -> Iterable[str]:
        self.asked.append(host)
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.table[host]


class Stuck:
    """A look-up that hangs in its thread until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked = 0

    def __call__(self, host: str) -> Iterable[str]:
        self.asked += 1
        assert self.let_go.wait(30)
        return ["127.0.0.1"]


@pytest.fixture
def stuck() -> Iterable[Stuck]:
    stuck = Stuck()
    yield stuck
    stuck.let_go.set()
    for thread in threading.enumerate():
        if thread.name == "hookpost-lookup":
            thread.join(5)


def resolver(
    lookup: Callable[[str], Iterable[str]],
    *,
    policy: EgressPolicy = PUBLIC,
    timeout: float = 5.0,
    clock: FakeClock | None = None,
) -> Resolver:
    return Resolver(policy, timeout=timeout, clock=clock or FakeClock(), lookup=lookup)


async def test_a_name_gives_its_addresses_once_each_and_in_order() -> None:
    names = Names(crm_example=["8.8.8.8", "2606:4700::1", "8.8.8.8"])
    found = await resolver(names).resolve("crm.example", 443)
    assert [(answer["host"], answer["port"], answer["family"]) for answer in found] == [
        ("8.8.8.8", 443, socket.AF_INET),
        ("2606:4700::1", 443, socket.AF_INET6),
    ]


@pytest.mark.parametrize(
    "bad",
    ["10.0.0.5", "127.0.0.1", "::ffff:10.0.0.5", "fe80::1%2", "fe80::1", "nonsense", "0x7f.1"],
)
async def test_one_denied_answer_among_good_ones_refuses_the_name(bad: str) -> None:
    names = Names(crm_example=["8.8.8.8", bad])
    with pytest.raises(Refused, match=r"crm\.example"):
        await resolver(names).resolve("crm.example", 443)


async def test_64_answers_are_all_judged() -> None:
    answers = [f"8.8.8.{i}" for i in range(1, 64)]
    assert len(await resolver(Names(a_example=answers)).resolve("a.example", 443)) == 63
    with pytest.raises(Refused):
        await resolver(Names(a_example=[*answers, "10.0.0.1"])).resolve("a.example", 443)


async def test_an_empty_answer_is_a_failed_look_up() -> None:
    with pytest.raises(LookupFailed, match="no address"):
        await resolver(Names(crm_example=[])).resolve("crm.example", 443)


async def test_an_unknown_name_tells_the_systems_reason() -> None:
    with pytest.raises(LookupFailed, match="not known"):
        await resolver(Names()).resolve("crm.example", 443)


async def test_a_name_that_cannot_be_encoded_is_a_failed_look_up() -> None:
    with pytest.raises(LookupFailed):
        await resolver(system_lookup).resolve(f"{'x' * 64}.example", 443)


async def test_an_answer_is_kept_briefly_and_then_asked_again() -> None:
    clock, names = FakeClock(), Names(crm_example=["8.8.8.8"])
    subject = resolver(names, clock=clock)
    await subject.resolve("crm.example", 443)
    clock.advance(ANSWER_KEPT_FOR - 0.01)
    await subject.resolve("crm.example", 443)
    assert len(names.asked) == 1
    clock.advance(0.02)
    await subject.resolve("crm.example", 443)
    assert len(names.asked) == 2


async def test_a_kept_answer_is_judged_for_the_port_that_is_asked() -> None:
    names = Names(crm_example=["10.0.0.5"])
    allowance = Allowance(network=ip_network("10.0.0.0/8"), port=8443)
    subject = resolver(names, policy=EgressPolicy(name="lan", allow=(allowance,)))
    await subject.resolve("crm.example", 8443)
    with pytest.raises(Refused):
        await subject.resolve("crm.example", 8444)
    assert len(names.asked) == 1


async def test_a_failure_is_told_to_nobody_who_asks_later() -> None:
    names = Names()
    subject = resolver(names, timeout=0.1)
    with pytest.raises(LookupFailed):
        await subject.resolve("crm.example", 443)
    names.table["crm.example"] = ["8.8.8.8"]
    assert await subject.resolve("crm.example", 443)
    assert len(names.asked) == 2


async def test_a_failed_name_rests_and_then_one_look_up_serves_all_who_wait() -> None:
    loop, names = asyncio.get_running_loop(), Names()
    subject = resolver(names, timeout=0.2)
    for look_ups in (1, 2, 3):
        started = loop.time()
        asking = [subject.resolve("crm.example", 443) for _ in range(20)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(answer) for answer in answers} == {LookupFailed}
        assert {str(answer) for answer in answers} == {"Name or service not known"}
        assert len(names.asked) == look_ups
        assert look_ups == 1 or loop.time() - started > 0.04


async def test_a_name_that_failed_long_ago_is_asked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hookpost.transport.resolver.FAILED_RESTS_FOR", 60.0)
    monkeypatch.setattr("hookpost.transport.resolver.PART_OF_BUDGET", 60.0)
    clock, names = FakeClock(), Names()
    subject = resolver(names, clock=clock)
    with pytest.raises(LookupFailed):
        await subject.resolve("crm.example", 443)
    clock.advance(60.01)
    names.table["crm.example"] = ["8.8.8.8"]
    assert await subject.resolve("crm.example", 443)


async def test_a_look_up_that_everybody_left_is_not_begun() -> None:
    names = Names()
    subject = resolver(names, timeout=0.1)
    with pytest.raises(LookupFailed):
        await subject.resolve("crm.example", 443)
    leaving = subject.resolve("crm.example", 443)
    leaving.send(None)  # it waits
    with pytest.raises(asyncio.CancelledError):
        leaving.throw(asyncio.CancelledError)
    for _ in range(2):  # as long as the name rests, and longer
        with pytest.raises(LookupFailed):
            await subject.resolve("other.example", 443)
    assert names.asked == ["crm.example", "other.example", "other.example"]
    names.table["crm.example"] = ["8.8.8.8"]
    assert await subject.resolve("crm.example", 443)


async def test_a_backlog_burns_few_attempts_on_a_name_that_fails(open_transport: Open) -> None:
    url, names = "http://crm.example/", Names()
    transport = open_transport(url, lookup=names, timeout=1.0, concurrency=4)
    loop = asyncio.get_running_loop()
    ended, end = 0, loop.time() + 0.7

    async def lane() -> None:
        nonlocal ended
        while loop.time() < end:
            assert (await transport.post(url, (), b"x")).result is Result.DNS
            ended += 1

    await asyncio.gather(*(lane() for _ in range(4)))
    assert ended == 4 * len(names.asked) <= 16  # four, and four more when the name has rested


async def test_many_who_ask_for_one_name_share_one_look_up(stuck: Stuck) -> None:
    subject = resolver(stuck, policy=LOOPBACK)
    asking = [asyncio.ensure_future(subject.resolve("crm.example", 80)) for _ in range(20)]
    for task in asking[:5]:
        task.cancel()  # who leaves takes nobody along
    stuck.let_go.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(answer, list) for answer in answers) == 15
    assert stuck.asked == 1


async def test_a_hung_look_up_ends_at_its_budget_and_nobody_fails_sooner(stuck: Stuck) -> None:
    loop = asyncio.get_running_loop()
    subject = resolver(stuck, timeout=0.05)
    for _ in range(5):
        started = loop.time()
        with pytest.raises(LookupFailed, match=r"no answer within 0\.05 s"):
            await subject.resolve("crm.example", 443)
        assert loop.time() - started > 0.04
    assert stuck.asked == LOOKUP_THREADS  # at most two hang for one endpoint
    with pytest.raises(LookupFailed, match=r"no thread to ask in within 0\.05 s"):
        await subject.resolve("other.example", 443)
    assert stuck.asked == LOOKUP_THREADS


async def test_a_late_answer_is_still_used(stuck: Stuck) -> None:
    subject = resolver(stuck, policy=LOOPBACK, timeout=0.05)
    with pytest.raises(LookupFailed):
        await subject.resolve("crm.example", 443)
    joining = asyncio.ensure_future(subject.resolve("crm.example", 443))
    stuck.let_go.set()
    assert await joining


async def test_no_thread_to_be_had_is_a_failed_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    subject = resolver(Names(crm_example=["8.8.8.8"]), timeout=0.05)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LookupFailed, match="no thread"):
            await subject.resolve("crm.example", 443)
    assert await subject.resolve("crm.example", 443)


async def test_hung_look_ups_of_one_endpoint_do_not_delay_another(
    open_transport: Open, stuck: Stuck
) -> None:
    async with Receiver(answering(OK)) as receiver:
        hung = open_transport("http://dead.example/", lookup=stuck, timeout=0.5)
        waiting = [
            asyncio.ensure_future(hung.post("http://dead.example/", (), b"x")) for _ in range(8)
        ]
        url = receiver.url(host="good.example")
        good = open_transport(url, lookup=Names(good_example=["127.0.0.1"]))
        loop = asyncio.get_running_loop()
        started = loop.time()
        for _ in range(20):
            assert (await good.post(url, (), b"x")).ok
        assert loop.time() - started < 0.4
        assert not any(task.done() for task in waiting)
        outcomes = await asyncio.gather(*waiting)
    assert {outcome.result for outcome in outcomes} <= {Result.DNS, Result.TIMEOUT}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (["127.0.0.1"], Result.SUCCESS),
        (["127.0.0.1", "10.0.0.1"], Result.BLOCKED),
        (["169.254.169.254"], Result.BLOCKED),
        (["127.0.0.1", "::1%1"], Result.BLOCKED),
        ([], Result.DNS),
    ],
)
async def test_the_whole_answer_decides_and_a_refused_name_connects_nowhere(
    open_transport: Open, answer: list[str], result: Result
) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url("/x?token=canary", host="crm.example")
        outcome = await open_transport(url, lookup=Names(crm_example=answer)).post(url, (), b"x")
        assert receiver.connections == (1 if result is Result.SUCCESS else 0)
    assert outcome.result is result
    assert not outcome.permanent
    assert "canary" not in outcome.error
    assert (outcome.error == "") == outcome.ok


async def test_an_unknown_name_is_dns(open_transport: Open) -> None:
    url = "http://nobody.example/"
    outcome = await open_transport(url, lookup=Names()).post(url, (), b"x")
    assert outcome.result is Result.DNS
    assert "nobody.example" in outcome.error


async def test_a_rebinding_name_never_reaches_what_was_not_judged(open_transport: Open) -> None:
    dialled: list[str] = []
    clock = FakeClock()
    answers = iter(["127.0.0.1", *["127.9.9.9", "10.0.0.1"] * 5])

    def rebinding(host: str) -> Iterable[str]:
        return [next(answers)]

    only = EgressPolicy(
        name="lan", allow=(Allowance(network=ip_network("127.0.0.1/32")),), require_https=False
    )
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url(host="rebind.example")
        transport = open_transport(url, lookup=rebinding, egress=only, keepalive=0.0, clock=clock)
        connector = transport._connector
        original = connector._open

        def noted(address: tuple[object, ...]) -> socket.socket:
            dialled.append(address[4][0])  # type: ignore[index]
            return original(address)

        connector._socket_factory = noted
        results = []
        for _ in range(10):
            results.append((await transport.post(url, (), b"x")).result)
            clock.advance(60)
        assert receiver.connections == 1
    assert results == [Result.SUCCESS, *[Result.BLOCKED] * 9]
    assert dialled == ["127.0.0.1"]


async def test_the_next_address_is_tried_when_the_first_refuses(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url(host="crm.example")
        names = Names(crm_example=["127.0.0.2", "127.0.0.1"])  # nobody listens on the first
        assert (await open_transport(url, lookup=names).post(url, (), b"x")).ok


def test_a_hung_look_up_does_not_hold_the_end_of_the_process() -> None:
    program = """
import asyncio, threading
from hookpost.clock import SystemClock
from hookpost.core.addresses import EgressPolicy
from hookpost.transport.resolver import LookupFailed, Resolver

async def main():
    hang = lambda host: threading.Event().wait()
    subject = Resolver(EgressPolicy(), timeout=0.05, clock=SystemClock(), lookup=hang)
    try:
        await subject.resolve("hung.example", 443)
    except LookupFailed as error:
        print(error)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "no answer within 0.05 s"
    assert done.stderr == ""


def test_the_systems_own_look_up_finds_loopback() -> None:
    assert set(system_lookup("localhost")) & {"127.0.0.1", "::1"}
