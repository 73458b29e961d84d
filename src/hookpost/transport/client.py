"""One endpoint's transport on aiohttp: one POST in, one Outcome out.

The status decides. Once the head of an answer is there, nothing that follows (a broken, endless
or slow body, the deadline itself) changes what it said: a 2xx that was seen is never sent again.
"""

import asyncio
import io
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from hookpost import __version__
from hookpost.clock import Clock
from hookpost.core.addresses import judge, literal, url_mistake
from hookpost.core.model import ANSWER_KEPT, Outcome, Result
from hookpost.core.settings import Endpoint
from hookpost.core.verdict import result_of, retry_after
from hookpost.transport.connector import ANSWER_READ, ATTEMPT, GuardedConnector, Progress
from hookpost.transport.failures import failed, one_line, outcome_of
from hookpost.transport.resolver import Lookup, Resolver, system_lookup

log = logging.getLogger("hookpost.transport")

# aiohttp warns of larger ones as plain bytes; a file-like body is written in pieces
BODY_AS_BYTES = 1 << 20
HEAD_LINE_MAX = 8190  # bytes of one line or field of an answer's head
HEAD_FIELDS_MAX = 128
_NO_TIMEOUT = ClientTimeout(total=None)  # the deadline here is the only one, and cheaper
# Said outright: left out, aiohttp would invite compressed answers, and to have it leave them out
# costs 3 µs a request.
_ALWAYS = {
    "User-Agent": f"hookpost/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
_CLOSED = Outcome(result=Result.INTERRUPTED, error="the endpoint's transport is closed")


@dataclass(frozen=True, slots=True)
class _Aim:
    """A URL made ready, or the outcome of every attempt at it that is refused beforehand."""

    text: str
    url: URL
    where: str
    refusal: Outcome | None


class AiohttpTransport:
    """`Transport` for one endpoint: own session, connections, resolver and guard.

    Lives on the loop that it was made on. A changed `egress`, `success`, `timeout`, `keepalive` or
    `concurrency` needs a new one: open connections were judged by the policy of their time.
    `ssl_context` replaces the system's certificate authorities; verification is its business.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock,
        lookup: Lookup = system_lookup,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._success = endpoint.success
        self._egress = endpoint.egress
        self._timeout = endpoint.timeout
        self._secret = endpoint.url_secret  # its name: no part of such a URL may be told
        self._resolver = Resolver(
            endpoint.egress, timeout=endpoint.timeout, clock=clock, lookup=lookup
        )
        self._connector = GuardedConnector(
            endpoint.egress,
            self._resolver,
            limit=endpoint.concurrency,
            keepalive=endpoint.keepalive,
            ssl_context=ssl_context,
        )
        self._session = ClientSession(
            connector=self._connector,
            cookie_jar=DummyCookieJar(),
            timeout=_NO_TIMEOUT,
            headers=_ALWAYS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_LINE_MAX,
            max_field_size=HEAD_LINE_MAX,
            max_headers=HEAD_FIELDS_MAX,
        )
        self._aim = self._take_aim(endpoint.url)
        self._taken: dict[int, Outcome] = {}
        self._busy = 0
        self._closing = False
        self._quiet = asyncio.Event()  # closing, and the last attempt is over

    def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Coroutine[Any, Any, Outcome]:
        """POST once; see `Transport.post`. A plain function: one coroutine less on the hot path."""
        aim = self._aim
        if url != aim.text:
            aim = self._aim = self._take_aim(url)
        if aim.refusal is not None:
            return _at_once(aim.refusal)
        return self._attempt(aim, headers, body)

    async def _attempt(self, aim: _Aim, headers: Sequence[tuple[str, str]], body: bytes) -> Outcome:
        if self._closing:
            return _CLOSED
        progress = Progress()
        ATTEMPT.set(progress)
        error: Exception | None = None
        self._busy += 1
        timer = self._loop.call_later(self._timeout, progress.expire)
        try:
            response = progress.response = await self._session.post(
                aim.url,
                data=body if len(body) <= BODY_AS_BYTES else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
            )
            if not response.content.at_eof():
                await self._read(response, progress)
            progress.rest()
        except asyncio.CancelledError:
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
        await self._session.close()
        await self._connector.ended()
        await self._resolver.close()

    async def _read(self, response: ClientResponse, progress: Progress) -> None:
        """Read the answer's body into `progress` as far as it is wanted."""
        content, answer = response.content, bytearray()
        try:
            while not content.at_eof() and len(answer) < ANSWER_READ:
                answer += await content.read(ANSWER_READ - len(answer))
        finally:
            progress.answer = bytes(answer[:ANSWER_KEPT])
        if not content.at_eof():
            progress.abort()

    def _verdict(self, response: ClientResponse, answer: bytes) -> Outcome:
        status = response.status
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
            error=one_line(_told(status, response.reason)),
            retry_after=max((seconds for seconds in asked if seconds is not None), default=None),
        )

    def _timed_out(self, progress: Progress, where: str) -> Outcome:
        what = "no connection to" if progress.connection is None else "no answer from"
        return failed(Result.TIMEOUT, f"{what} {where} within {self._timeout:g} s")

    def _broken(self, error: Exception, progress: Progress, where: str) -> Outcome:
        if not isinstance(error, ClientError | OSError | ValueError):
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
            return _Aim(text, URL(), "", refusal)
        url = URL(text, encoded=True)  # sent as it is written, not as it could be rewritten
        host, port = url.raw_host or "", url.port or 0
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self._secret:
            where = f"secret:{self._secret}"
        return _Aim(text, url, where, self._refusal(url.scheme, host, port))

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
    host = aim.url.raw_host or ""
    return replace(outcome, error=outcome.error.replace(host, aim.where))


async def _at_once(outcome: Outcome) -> Outcome:
    return outcome


def _told(status: int, reason: str | None) -> str:
    text = f"HTTP {status} {reason or ''}".rstrip()
    return f"{text} (redirects are not followed)" if 300 <= status <= 399 else text
