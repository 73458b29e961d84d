"""One HTTP request as the parser left it, and its body under limits."""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpVersion10, RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy

if TYPE_CHECKING:
    from hookpost.web.connection import Connection

Limits = tuple[int, float]
"""Of a body: bytes, and seconds that it may take to come."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyEnd(Enum):
    """Why a body could not be read to its end."""

    TOO_LARGE = auto()
    LATE = auto()
    BROKEN = auto()


class Request:
    """One request as the parser left it, its body unread."""

    __slots__ = ("_message", "_payload", "connection")

    def __init__(
        self, message: RawRequestMessage, payload: StreamReader, connection: "Connection"
    ) -> None:
        self._message = message
        self._payload = payload
        self.connection = connection

    @property
    def method(self) -> str:
        """The method, as sent."""
        return self._message.method

    @property
    def target(self) -> str:
        """The request target, as sent."""
        return self._message.path

    @property
    def path(self) -> str:
        """The target's path, decoded."""
        return self._message.url.path

    @property
    def query(self) -> str:
        """The target's query as sent, without its question mark."""
        return self._message.path.partition("?")[2].partition("#")[0]

    @property
    def access_tokens(self) -> Sequence[str]:
        """The bearer tokens of the query (RFC 6750, 2.3)."""
        return self._message.url.query.getall("access_token", ())

    @property
    def headers(self) -> "CIMultiDictProxy[str]":
        """The headers; bytes that are not UTF-8 appear as lone surrogates."""
        return self._message.headers

    @property
    def peer(self) -> str | None:
        """The client's IP address, None on a UNIX socket."""
        name = self.connection.peername
        return name[0] if isinstance(name, tuple) else None

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants the connection to stay open."""
        return not self._message.should_close

    @property
    def old(self) -> bool:
        """Whether the client speaks HTTP/1.0."""
        return self._message.version == HttpVersion10

    @property
    def body_ended(self) -> bool:
        """Whether all of the body has arrived."""
        return self._payload.is_eof()

    def whole(self, limit: int) -> bytes | BodyEnd:
        """The body that has ended, at most `limit` bytes of it."""
        if self._payload.exception() is not None:
            return BodyEnd.BROKEN
        body = self._payload.read_nowait()
        return body if len(body) <= limit else BodyEnd.TOO_LARGE

    async def read(self, limits: Limits) -> bytes | BodyEnd:
        """The body as it comes, inside its limits."""
        limit, seconds = limits
        if self.headers.get("Expect", "").lower() == "100-continue" and not self.old:
            self.connection.write(CONTINUE)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while part := await self._payload.readany():
                    size += len(part)
                    if size > limit:
                        return BodyEnd.TOO_LARGE
                    parts.append(part)
        except TimeoutError:
            return BodyEnd.LATE
        except (OSError, RuntimeError, web.RequestPayloadError):
            return BodyEnd.BROKEN  # the client has gone, or its chunks make no sense
        return b"".join(parts)

    async def read_some(self) -> bytes:
        """What has come of a body that nobody wants; empty at its end."""
        return await self._payload.readany()

    def _finish(self) -> None:
        """Asked for by the connection before the answer is sent; nothing is held here."""

    def _cancel(self, error: BaseException) -> None:
        """Told by the connection when the client has gone."""
        self._payload.set_exception(error)
