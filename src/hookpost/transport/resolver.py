"""Name look-ups of one endpoint: own threads, own budget, every answer judged.

The loop's default executor is shared by everything, and uvloop gives look-ups two threads in all:
one dead name would stall every endpoint. Here each endpoint has at most LOOKUP_THREADS threads,
started when needed and daemonic, so that one stuck in the system's resolver holds neither the
loop nor another endpoint nor the end of the process. A name is looked up once for all who wait;
a look-up that outlived its budget may be overtaken by one more.

A failure is told to those who waited for it, and to nobody who comes later: a backlog without a
breaker would burn an attempt of each of its deliveries on it in no time. Whoever comes later waits
for a look-up of its own, with all others who do: as many attempts fail at once as there are places,
and the next ones only after another look-up.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

from hookpost.clock import Clock
from hookpost.core.addresses import EgressPolicy, judge

LOOKUP_THREADS = 2
LOOKUP_BUDGET = 2.0  # seconds; less where the endpoint's timeout is
# An answer is kept for the moment in which several connections open, or a receiver that closes
# after each request is served. Staleness is all it could do: every answer is judged again, and
# the judged address is the one dialled. A moved name is followed within a second.
ANSWER_KEPT_FOR = 1.0
# A name that failed is not asked again for this long: it spares the system's resolver, and with it
# everybody else on the machine. Those who wait for the next look-up must have most of their budget
# left for it.
FAILED_RESTS_FOR = 0.5
PART_OF_BUDGET = 0.25
NAMES_KEPT = 16

Lookup = Callable[[str], Iterable[str]]
"""A name in, its addresses as text out; may block; OSError when there are none."""


class Refused(PermissionError):
    """The egress policy denies an address."""


class LookupFailed(OSError):
    """The name has no address, or none in time."""


def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver; a scoped address keeps its scope and is refused by that."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    addresses = []
    for family, _, _, _, sockaddr in found:
        address = str(sockaddr[0])
        if family == socket.AF_INET6 and len(sockaddr) == 4 and sockaddr[3] and "%" not in address:
            address = f"{address}%{sockaddr[3]}"
        addresses.append(address)
    return addresses


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a name: addresses, or why there are none."""

    addresses: tuple[str, ...] = ()
    error: str = ""


@dataclass(slots=True, eq=False)
class _Flight:
    """One look-up, running or soon to be begun, and all who wait for it."""

    host: str
    waiters: set[asyncio.Future[_Answer]] = field(default_factory=set)
    begun: bool = False
    overdue: bool = False


class Resolver(AbstractResolver):
    """The resolver of one endpoint; lives on the loop that it was made on."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        timeout: float,
        clock: Clock,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._policy = policy
        self._budget = min(LOOKUP_BUDGET, timeout)
        self._rest = min(FAILED_RESTS_FOR, PART_OF_BUDGET * self._budget)
        self._clock = clock
        self._lookup = lookup
        self._loop = asyncio.get_running_loop()
        self._flights: dict[str, _Flight] = {}
        # what came last, and until when (monotonic) it is used; a failure: the name rests
        self._known: dict[str, tuple[_Answer, float]] = {}
        self._threads = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`, all of them judged.

        Raises LookupFailed, or Refused if the policy denies any one of them.
        """
        answer, until = self._known.get(host, (None, 0.0))
        left = until - self._clock.monotonic()
        if answer is None or answer.error or left <= 0:
            answer = await self._ask(host, rest=left)
        if answer.error:
            raise LookupFailed(answer.error)
        for address in answer.addresses:
            reason = judge(address, port, self._policy)
            if reason is not None:
                raise Refused(f"{host} has a denied address: {reason}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer.addresses
        ]

    async def close(self) -> None:
        """Forget what is known; running look-ups end by themselves and are not waited for."""
        self._known.clear()

    async def _ask(self, host: str, *, rest: float) -> _Answer:
        """Join the look-up of `host`, or begin one, in `rest` seconds; wait at most the budget."""
        waiter: asyncio.Future[_Answer] = self._loop.create_future()
        flight = self._flights.get(host)
        if flight is None or (flight.overdue and self._threads < LOOKUP_THREADS):
            flight = self._flights[host] = _Flight(host, {waiter})
            if rest > 0:
                self._loop.call_later(rest, self._begin, flight)
            else:
                self._begin(flight)
        flight.waiters.add(waiter)
        timer = self._loop.call_later(self._budget, self._give_up, flight, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            flight.waiters.discard(waiter)

    def _begin(self, flight: _Flight) -> None:
        """Look up in a thread of its own. If none is to be had, those who wait give up in time."""
        if not flight.waiters:
            self._flights.pop(flight.host, None)
            return
        if self._threads >= LOOKUP_THREADS:
            return
        thread = threading.Thread(
            target=self._look_up, args=(flight,), name="hookpost-lookup", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return  # the system gives no more threads
        self._threads += 1
        flight.begun = True

    def _look_up(self, flight: _Flight) -> None:
        """Runs in the thread. A name that cannot be encoded raises UnicodeError, not OSError."""
        try:
            addresses = tuple(dict.fromkeys(self._lookup(flight.host)))
            answer = _Answer(addresses) if addresses else _Answer(error="no address")
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) else None
            answer = _Answer(error=reason or str(error) or type(error).__name__)
        try:
            self._loop.call_soon_threadsafe(self._landed, flight, answer)
        except RuntimeError:
            return  # the loop has ended while the look-up hung: nobody waits any more

    def _landed(self, flight: _Flight, answer: _Answer) -> None:
        """A look-up has ended, perhaps too late for those who asked, but still worth knowing."""
        self._threads -= 1
        if self._flights.get(flight.host) is flight:
            del self._flights[flight.host]
        self._remember(flight.host, answer)
        for waiter in flight.waiters:
            if not waiter.done():
                waiter.set_result(answer)

    def _give_up(self, flight: _Flight, waiter: asyncio.Future[_Answer]) -> None:
        flight.overdue = True
        lacks = "answer" if flight.begun else "thread to ask in"
        if not waiter.done():
            waiter.set_result(_Answer(error=f"no {lacks} within {self._budget:g} s"))

    def _remember(self, host: str, answer: _Answer) -> None:
        if len(self._known) >= NAMES_KEPT:
            self._known.clear()
        used_for = self._rest if answer.error else ANSWER_KEPT_FOR
        self._known[host] = (answer, self._clock.monotonic() + used_for)
