"""After a sync that failed nothing can be committed any more: the sooner it is over the better."""

import random
import time
from pathlib import Path

from chaos.rig import Rig
from chaos.wire import until

SOON = 3.0  # seconds


async def test_a_daemon_whose_sync_failed_ends_soon(tmp_path: Path) -> None:
    async with Rig(tmp_path, random.randrange(1 << 31)) as rig:
        rig.publisher.start()
        daemon = await rig.start(env=rig.shim.environment())
        await rig.accepted(10)
        rig.shim.fail(1)
        await until(lambda: bool(daemon.logged("daemon.failed")), "the end begun")
        began = time.monotonic()
        assert await daemon.ended() == 1
        assert time.monotonic() - began < SOON
