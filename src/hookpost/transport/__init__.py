"""One signed POST to one endpoint: the seam to the network.

`Transport` is the protocol, `client.AiohttpTransport` the implementation. Everything that can
happen on the way is an Outcome; nothing is raised but a cancellation.
"""

from collections.abc import Sequence
from typing import Protocol

from hookpost.core.model import Outcome


class Transport(Protocol):
    """One endpoint's own connections, resolver and limits; shared with no other endpoint."""

    async def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, fresh: bool = False
    ) -> Outcome:
        """POST once, inside the endpoint's timeout (name look-up to the answer's last byte).

        Never follows a redirect, never retries, never raises but CancelledError. The outcome goes
        by the answer's status as soon as its head is there, whatever becomes of its body: from
        then on a cancellation, too, only ends the reading, so that no 2xx that was seen is lost.
        `fresh`: over a new connection, so that the outcome is never `reused_connection`.
        """
        ...

    async def close(self) -> None:
        """Close the idle connections at once and the busy ones as they finish.

        Returns when the last one is closed, at the latest one timeout after the last `post` began;
        a `post` after it answers `interrupted`.
        """
        ...
