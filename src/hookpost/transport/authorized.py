"""A transport whose requests carry a token that is fetched."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hookpost.clock import Clock
from hookpost.core.credentials import LONGEST_ANSWER, OAuth2, bearer, telling
from hookpost.core.model import Outcome
from hookpost.core.settings import SUCCESS, Endpoint
from hookpost.transport.client import AiohttpTransport
from hookpost.transport.resolver import Lookup, system_lookup
from hookpost.transport.tokens import Grant, Tokens

_UNAUTHORIZED = 401


class AuthorizedTransport:
    """`Transport` for an endpoint with `auth.oauth2`.

    Its token server is called by the endpoint's own rules: egress policy, TLS, proxy, timeout. An
    attempt asks for a token at most once. One that finds none fetches it; one that held a token
    which the endpoint answers with 401 fetches another, and tries again at once, inside the same
    timeout. A 401 to a token that was just fetched is the attempt's end; the next fetches anew.
    """

    def __init__(
        self, endpoint: Endpoint, oauth: OAuth2, *, clock: Clock, lookup: Lookup = system_lookup
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = endpoint.timeout
        self._line = AiohttpTransport(endpoint, clock=clock, lookup=lookup)
        server = replace(
            endpoint,
            url=oauth.token_url,
            url_secret=None,
            auth=None,
            success=SUCCESS,
            concurrency=1,
        )
        whole = LONGEST_ANSWER + 1
        self._server = AiohttpTransport(
            server, clock=clock, lookup=lookup, answer_read=whole, answer_kept=whole
        )
        self._secrets = telling(oauth)
        self._tokens = Tokens(oauth, self._server.post, clock)

    async def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, fresh: bool = False
    ) -> Outcome:
        """See `Transport.post`."""
        end = self._loop.time() + self._timeout
        held = self._tokens.held
        if held is not None:
            outcome = await self._send(held, end, url, headers, body, fresh=fresh)
            if outcome.status != _UNAUTHORIZED:
                return outcome
            self._tokens.refused(held)
        grant = self._tokens.held or await self._tokens.fetch(end - self._loop.time())
        if isinstance(grant, Outcome):
            return grant
        outcome = await self._send(grant, end, url, headers, body, fresh=fresh)
        if outcome.status == _UNAUTHORIZED:
            self._tokens.refused(grant)
        return outcome

    async def _send(
        self,
        grant: Grant,
        end: float,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        fresh: bool,
    ) -> Outcome:
        self._line.hide((*self._secrets, grant.text.encode()))
        left = max(end - self._loop.time(), 0.0)
        return await self._line.post(
            url, (*headers, bearer(grant.text)), body, fresh=fresh, within=left
        )

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._tokens.close()
        await self._server.close()
        await self._line.close()
