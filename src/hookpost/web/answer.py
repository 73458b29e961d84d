"""One whole HTTP answer, as bytes that are ready to be written."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookpost.web.request import Request


@dataclass(slots=True)
class Answer:
    """One whole HTTP answer. `head`: status line and headers, each line ended, without Date.

    Speaks the part of aiohttp's response protocol that its connection asks for: `prepare`,
    `write_eof`, `keep_alive`.
    """

    status: int
    head: bytes
    body: bytes
    keep_alive: bool = True

    def write(self, request: "Request") -> None:
        """Write the answer; ConnectionResetError where nobody is there to read it."""
        connection = request.connection
        transport = connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        keep = self.keep_alive and request.keep_alive and not connection.ending
        self.keep_alive = keep = keep and request.body_ended
        if not keep:
            life = b"Connection: close\r\n\r\n"
        else:
            life = b"Connection: keep-alive\r\n\r\n" if request.old else b"\r\n"
        body = b"" if request.method == "HEAD" else self.body
        transport.write(b"".join((self.head, connection.host.date(), life, body)))

    async def prepare(self, request: "Request") -> None:
        """The same, as aiohttp asks for it after an upgrade was declined."""
        self.write(request)
        if request.connection.writing_paused:
            await request.connection.drained()

    async def write_eof(self) -> None:
        """Everything is written by then."""
