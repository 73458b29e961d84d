"""A connection before it is one: its TLS handshake, counted and timed like everything else.

The event loops count a connection, and tell its protocol of it, only after the handshake. Here the
handshake is a connection's first part: it has a place among `max_connections` and the time of a
head, and what goes wrong in it is a sparse line, never a traceback.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from hookpost.core.settings import Tls

FAREWELL = 2.0  # seconds that a client gets to answer the end of a TLS connection

_REASONS = {
    "HTTP_REQUEST": "not_tls",
    "HTTPS_PROXY_REQUEST": "not_tls",
    "WRONG_VERSION_NUMBER": "not_tls",
    "UNKNOWN_PROTOCOL": "not_tls",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "certificate",
    "UNSUPPORTED_PROTOCOL": "version",
}


class Host(Protocol):
    """What a handshake asks of the listener that it came by."""

    def admit_handshake(self, handshake: "Handshake") -> bool:
        """Give it a place; False: it is refused."""
        ...

    def head_time(self) -> float:
        """Seconds that it may take."""
        ...

    def shaken(self, handshake: "Handshake") -> None:
        """It has ended, well or not, perhaps long ago; its place is free."""
        ...

    def unshaken(self, peer: str | None, reason: str, error: str) -> None:
        """It failed; `reason` is of a closed set."""
        ...


class Handshake(asyncio.Protocol):
    """One TLS handshake; then everything belongs to the connection that `connect` makes.

    The accepted socket is taken over before a byte of it is read. (`loop.start_tls` would lose
    what uvloop reads of it first.)
    """

    def __init__(
        self, host: Host, connect: Callable[["Handshake"], asyncio.Protocol], tls: Tls
    ) -> None:
        self.tls = tls
        self._host = host
        self._connect = connect
        self._peer: str | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast(asyncio.Transport, transport)
        name = raw.get_extra_info("peername")
        self._peer = name[0] if isinstance(name, tuple) else None
        if self._host.admit_handshake(self):
            try:
                sock = socket.socket(fileno=os.dup(raw.get_extra_info("socket").fileno()))
            except OSError as error:  # no descriptor is left
                self._failed(error)
            else:
                self._task = asyncio.get_running_loop().create_task(self._shake(sock))
        raw.abort()

    def cut(self) -> None:
        """End it: the listener closes."""
        if self._task is not None:
            self._task.cancel()

    async def _shake(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(self._connect, self),
                sock,
                ssl=self.tls.context,
                ssl_handshake_timeout=self._host.head_time(),
                ssl_shutdown_timeout=FAREWELL,
            )
        except Exception as error:
            self._failed(error)
        finally:
            self._host.shaken(self)

    def _failed(self, error: Exception) -> None:
        self._host.shaken(self)
        self._host.unshaken(self._peer, *_told(error))


def _told(error: BaseException) -> tuple[str, str]:
    """The reason, and OpenSSL's word for it; neither is of the client's making."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", error.verify_message
    if isinstance(error, ssl.SSLError):
        word = error.reason or "UNKNOWN"
        return _REASONS.get(word, "tls"), word
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return "late", type(error).__name__
    return "gone", type(error).__name__
