"""The OAuth token of one endpoint: fetched once for all attempts that wait, kept in memory.

A failure is told to those who waited for it and to nobody who comes later; the next fetch begins
FAILED_RESTS_FOR after it, so that a backlog does not hammer a token server that is down.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hookpost.clock import Clock
from hookpost.core.credentials import (
    NoToken,
    OAuth2,
    Token,
    refusal_of,
    token_of,
    token_request,
)
from hookpost.core.model import Outcome, Result
from hookpost.transport.failures import one_line

FAILED_RESTS_FOR = 0.5  # seconds

Ask = Callable[[str, Sequence[tuple[str, str]], bytes], Awaitable[Outcome]]
"""POST to a URL; the outcome's answer is the whole body, as far as it is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """One token; `until` is a monotonic reading."""

    text: str = field(repr=False)
    until: float


class Tokens:
    """Lives on the loop that it was made on."""

    def __init__(self, oauth: OAuth2, ask: Ask, clock: Clock) -> None:
        self._oauth = oauth
        self._ask = ask
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._grant: Grant | None = None
        self._flight: asyncio.Task[Grant | Outcome] | None = None
        self._rest_until = 0.0  # by the loop's clock
        self._where = urlsplit(oauth.token_url).hostname or ""

    @property
    def held(self) -> Grant | None:
        """The token that can be used at once."""
        grant = self._grant
        if grant is not None and self._clock.monotonic() >= grant.until:
            grant = self._grant = None
        return grant

    async def fetch(self, within: float) -> Grant | Outcome:
        """A token from the server, or why there is none after at most `within` seconds.

        All who ask meanwhile share one request, which outlives those who gave up waiting.
        """
        flight = self._flight
        if flight is None:
            flight = self._flight = self._loop.create_task(self._fly(), name="token")
            flight.add_done_callback(self._landed)
        done, _ = await asyncio.wait({flight}, timeout=max(within, 0.0))
        if not done:
            return self._failed(f"no answer within {within:.3g} s")
        return self._failed("it was cut off") if flight.cancelled() else flight.result()

    def refused(self, grant: Grant) -> None:
        """The endpoint does not take this token: use it no more."""
        if self._grant is grant:
            self._grant = None

    async def close(self) -> None:
        """End a fetch that is on its way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})

    def _landed(self, flight: "asyncio.Task[Grant | Outcome]") -> None:
        self._flight = None
        if not flight.cancelled() and isinstance(flight.result(), Outcome):
            self._rest_until = self._loop.time() + FAILED_RESTS_FOR

    async def _fly(self) -> Grant | Outcome:
        rest = self._rest_until - self._loop.time()
        if rest > 0:
            await _rested(self._loop, rest)
        asked_at = self._clock.monotonic()
        outcome = await self._ask(self._oauth.token_url, *token_request(self._oauth))
        if not outcome.ok:
            why = f"{outcome.error}{refusal_of(outcome.answer)}"
            return self._failed(why, retry_after=outcome.retry_after)
        try:
            token: Token = token_of(outcome.answer)
        except NoToken as mistake:
            return self._failed(str(mistake))
        self._grant = Grant(token.text, asked_at + token.lifetime)
        return self._grant

    def _failed(self, why: str, *, retry_after: float | None = None) -> Outcome:
        text = one_line(f"no token from {self._where}: {why}")
        return Outcome(result=Result.AUTH, error=text, retry_after=retry_after)


async def _rested(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()
