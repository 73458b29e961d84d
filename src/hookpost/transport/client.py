"""One endpoint's transport on aiohttp's connector and parser: one POST in, one Outcome out.

The status decides. Once the head of an answer is there, nothing that follows (a broken, endless
or slow body, the deadline itself) changes what it said: a 2xx that was seen is never sent again.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import Any

from aiohttp import ClientError, ClientRequest, StreamReader
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from hookpost.clock import Clock
from hookpost.core.addresses import judge, literal, url_mistake
from hookpost.core.credentials import telling
from hookpost.core.model import ANSWER_KEPT, Outcome, Result
from hookpost.core.settings import Endpoint
from hookpost.core.verdict import result_of, retry_after
from hookpost.transport.connector import ANSWER_READ, GuardedConnector, Progress
from hookpost.transport.failures import failed, one_line, outcome_of
from hookpost.transport.request import Writing
from hookpost.transport.resolver import Lookup, Resolver, system_lookup
from hookpost.transport.tunnel import Tunnel

log = logging.getLogger("hookpost.transport")

HIDDEN = b"***"  # in place of a credential that an answer repeats

_CLOSED = Outcome(result=Result.INTERRUPTED, error="the endpoint's transport is closed")


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a URL leads and how its requests begin.

    The connector is asked with a request of aiohttp's that is never sent: one for all attempts.
    """

    request: ClientRequest
    key: ConnectionKey
    writing: Writing | None  # None: it names an address, which is looked up for each attempt


@dataclass(frozen=True, slots=True)
class _Aim:
    """A URL made ready, or the outcome of every attempt at it that is refused beforehand."""

    text: str
    host: str
    where: str
    to: _Route | Outcome


class AiohttpTransport:
    """`Transport` for one endpoint: own connections, resolver and guard.

    Lives on the loop that it was made on. A changed `egress`, `success`, `timeout`, `keepalive` or
    `concurrency` needs a new one: open connections were judged by the policy of their time.
    `ssl_context` stands in for what `endpoint.tls` came to. Of an answer's body `answer_read` bytes
    are read at most, and `answer_kept` kept.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock,
        lookup: Lookup = system_lookup,
        ssl_context: SSLContext | None = None,
        answer_read: int = ANSWER_READ,
        answer_kept: int = ANSWER_KEPT,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._success = endpoint.success
        self._egress = endpoint.egress
        self._timeout = endpoint.timeout
        self._keep = endpoint.keepalive > 0
        self._secret = endpoint.url_secret  # its name: no part of such a URL may be told
        self._resolver = Resolver(
            endpoint.egress, timeout=endpoint.timeout, clock=clock, lookup=lookup
        )
        self._tunnel: Tunnel | None = None
        if endpoint.proxy is not None:
            self._tunnel = Tunnel(
                endpoint.proxy,
                endpoint.egress,
                self._resolver,
                timeout=endpoint.timeout,
                clock=clock,
                lookup=lookup,
            )
        if ssl_context is None and endpoint.tls is not None:
            ssl_context = endpoint.tls.context
        self._answer_read, self._answer_kept = answer_read, answer_kept
        self._connector = GuardedConnector(
            endpoint.egress,
            self._resolver,
            limit=endpoint.concurrency,
            keepalive=endpoint.keepalive,
            ssl_context=ssl_context,
            tunnel=self._tunnel,
            room=2 * answer_read,
        )
        self._hidden = () if endpoint.auth is None else telling(endpoint.auth)
        self._aim = self._take_aim(endpoint.url)
        self._taken: dict[int, Outcome] = {}
        self._busy = 0
        self._closing = False
        self._quiet = asyncio.Event()  # closing, and the last attempt is over

    def post(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        fresh: bool = False,
        within: float | None = None,
    ) -> Coroutine[Any, Any, Outcome]:
        """POST once; see `Transport.post`. A plain function: one coroutine less on the hot path.

        `within` are the seconds that are left, where they are less than the endpoint's timeout.
        """
        aim = self._aim
        if url != aim.text:
            aim = self._aim = self._take_aim(url)
        if isinstance(aim.to, Outcome):
            return _at_once(aim.to)
        left = self._timeout if within is None else within
        return self._attempt(aim, aim.to, headers, body, left, fresh=fresh)

    def hide(self, secrets: tuple[bytes, ...]) -> None:
        """Tell nothing of these from now on, should an answer hold them."""
        self._hidden = secrets

    async def _attempt(
        self,
        aim: _Aim,
        route: _Route,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        within: float,
        *,
        fresh: bool,
    ) -> Outcome:
        if self._closing:
            return _CLOSED
        progress = Progress()
        error: Exception | None = None
        self._busy += 1
        timer = self._loop.call_later(within, progress.expire)
        try:
            writing = route.writing
            if writing is None:
                writing = await self._writing_to_an_address(aim)
            head = writing.head(headers, len(body))
            if fresh:
                lease = await self._connector.dial(route.request)
            else:
                lease = await self._connector.lease(route.request, route.key)
            progress.response, content = await progress.send(lease, head, body).read()
            if not content.at_eof():
                await self._read(content, progress)
            progress.rest()
        except asyncio.CancelledError:
            progress.catch()
            progress.abort()
            if not progress.expired and progress.response is None:
                raise
        except Exception as caught:
            progress.abort()
            error = caught
        finally:
            timer.cancel()
            self._end()
        outcome = self._conclude(progress, error, aim)
        error = None  # its traceback holds this frame, which would hold it
        return outcome

    def _conclude(self, progress: Progress, error: Exception | None, aim: _Aim) -> Outcome:
        cancelled_too = progress.expired and progress.settle()
        if progress.response is not None:
            return self._verdict(progress.response, progress.answer)
        if cancelled_too:
            raise asyncio.CancelledError  # not by the deadline alone
        if error is None or progress.expired:
            return self._timed_out(progress, aim.where)
        outcome = self._broken(error, progress, aim.where)
        return _discreet(outcome, aim) if self._secret else outcome

    def _end(self) -> None:
        self._busy -= 1
        if self._closing and not self._busy:
            self._quiet.set()

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closing = True
        self._connector.retire()
        if self._busy:
            await self._quiet.wait()
        await self._connector.close()
        await self._connector.ended()
        await self._resolver.close()

    async def _read(self, content: StreamReader, progress: Progress) -> None:
        """Read the answer's body into `progress` as far as it is wanted."""
        answer = bytearray()
        try:
            while not content.at_eof() and len(answer) < self._answer_read:
                answer += await content.read(self._answer_read - len(answer))
        finally:
            for secret in self._hidden:
                answer = answer.replace(secret, HIDDEN)
            progress.answer = bytes(answer[: self._answer_kept])
        if not content.at_eof():
            progress.abort()

    def _verdict(self, response: RawResponseMessage, answer: bytes) -> Outcome:
        status = response.code
        if not answer and status in self._success:
            # the usual case by far; building an Outcome costs more than finding one
            taken = self._taken.get(status)
            if taken is None:
                taken = self._taken[status] = Outcome(result=Result.SUCCESS, status=status)
            return taken
        result = result_of(status, self._success)
        if result is Result.SUCCESS:
            return Outcome(result=result, status=status, answer=answer)
        asked = (
            retry_after(value, self._clock.wall())
            for value in response.headers.getall("Retry-After", ())
        )
        return Outcome(
            result=result,
            status=status,
            answer=answer,
            error=self._discreetly(_told(status, response.reason)),
            retry_after=max((seconds for seconds in asked if seconds is not None), default=None),
        )

    def _discreetly(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret.decode("utf-8", "replace"), HIDDEN.decode())
        return one_line(text)

    def _timed_out(self, progress: Progress, where: str) -> Outcome:
        what = "no connection to" if progress.connection is None else "no answer from"
        return failed(Result.TIMEOUT, f"{what} {where} within {self._timeout:g} s")

    def _broken(self, error: Exception, progress: Progress, where: str) -> Outcome:
        if not isinstance(error, ClientError | HttpProcessingError | OSError | ValueError):
            # nothing known: tell the developer, but do not let one attempt end the worker
            log.error(
                "attempt.broken", extra={"fields": {"to": where, "kind": type(error).__name__}}
            )
        return outcome_of(error, progress, where)

    def _take_aim(self, text: str) -> _Aim:
        """Read a URL once for all its attempts, and refuse here what can be refused here."""
        mistake = url_mistake(text)
        if mistake is not None:
            shown = "it is not spelled honestly" if self._secret else mistake
            refusal = failed(Result.BLOCKED, f"the URL is refused: {shown}", permanent=True)
            return _Aim(text, "", "", refusal)
        url = URL(text, encoded=True)  # sent as it is written, not as it could be rewritten
        host, port = url.raw_host or "", url.port or 0
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self._secret:
            where = f"secret:{self._secret}"
        to = self._refusal(url.scheme, host, port) or self._route(url)
        return _Aim(text, host, where, to)

    def _route(self, url: URL) -> _Route:
        request = ClientRequest("POST", url, loop=self._loop)
        by_address = self._tunnel is not None and url.scheme == "http"
        writing = None if by_address else Writing(url, keep=self._keep)
        return _Route(request, request.connection_key, writing)

    async def _writing_to_an_address(self, aim: _Aim) -> Writing:
        """For plain http by a proxy: it is told an address that was judged, not the name."""
        url = URL(aim.text, encoded=True)
        assert self._tunnel is not None  # noqa: S101 - there is a writing without one
        addresses = await self._tunnel.addresses(aim.host, url.port or 80)
        return Writing(url, keep=self._keep, address=addresses[0])

    def _refusal(self, scheme: str, host: str, port: int) -> Outcome | None:
        if scheme != "https" and self._egress.require_https:
            text = f'egress policy "{self._egress.name}" wants https: plain http is not sent'
            return failed(Result.BLOCKED, text, permanent=True)
        if literal(host) is None:
            return None
        reason = judge(host, port, self._egress)
        if reason is None:
            return None
        if self._secret:
            reason = f'its address is denied by egress policy "{self._egress.name}"'
        return failed(Result.BLOCKED, reason, permanent=True)


def _discreet(outcome: Outcome, aim: _Aim) -> Outcome:
    """The resolver and the TLS library name the host: not the one of a secret URL."""
    return replace(outcome, error=outcome.error.replace(aim.host, aim.where))


async def _at_once(outcome: Outcome) -> Outcome:
    return outcome


def _told(status: int, reason: str | None) -> str:
    text = f"HTTP {status} {reason or ''}".rstrip()
    return f"{text} (redirects are not followed)" if 300 <= status <= 399 else text
