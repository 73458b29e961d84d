"""A receiver on a real socket that does what a script says, byte for byte."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network

from hookpost.core.addresses import Allowance, EgressPolicy
from hookpost.transport.client import AiohttpTransport

Open = Callable[..., AiohttpTransport]
LOOPBACK = EgressPolicy(
    name="lan", allow=(Allowance(network=ip_network("127.0.0.0/8")),), require_https=False
)
Script = Callable[["Peer"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Peer:
    """One accepted connection, as its script sees it."""

    def __init__(
        self, receiver: "Receiver", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.receiver = receiver
        self.reader = reader
        self.writer = writer
        self.written = 0

    async def request(self) -> tuple[bytes, bytes]:
        """Read one whole request; its head and body are noted at the receiver."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        body = await self.reader.readexactly(size)
        self.receiver.requests.append((head, body))
        self.receiver.arrived.set()
        return head, body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        self.written += len(data)
        await self.writer.drain()

    async def send_apart(self, pieces: Sequence[bytes]) -> None:
        """Send each piece so that the client reads it by itself: it shares this loop."""
        loop = asyncio.get_running_loop()
        for piece in pieces:
            await self.send(piece)
            read: asyncio.Future[None] = loop.create_future()
            loop.call_later(0.001, lambda read=read: read.done() or read.set_result(None))
            await read

    async def gone(self) -> None:
        """Wait until the client has closed or reset the connection."""
        while await self.reader.read(65536):
            pass

    def finish(self) -> None:
        """FIN: the orderly end."""
        self.writer.close()

    def reset(self) -> None:
        """RST: the other end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Receiver:
    """Serves `script` on every connection to a loopback port of its own, until left."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.peers: list[Peer] = []
        self.arrived = asyncio.Event()
        self.scripts_left = 0
        self.port = 0

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def __aenter__(self) -> "Receiver":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        await self._server.wait_closed()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._run(Peer(self, reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, peer: Peer) -> None:
        self.connections += 1
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client went away, or the test is over
        finally:
            self.scripts_left += 1
            peer.writer.close()


def answering(*pieces: bytes) -> Script:
    """Each request on a connection gets these bytes, piece by piece, and the connection stays."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send_apart(pieces)

    return script


def answering_once(*pieces: bytes) -> Script:
    """One request gets these bytes, then FIN."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(pieces)
        peer.finish()

    return script


def answering_then_hanging(*pieces: bytes) -> Script:
    """One request gets these bytes, and nothing more ever."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send_apart(pieces)
        await peer.gone()

    return script
