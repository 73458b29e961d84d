"""The log of a daemon that the command line says nothing about."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

from tests.daemon.harness import PATIENCE, Home, cli


async def test_the_log_has_the_level_and_form_of_the_file_at_the_start_and_after_each_reload(
    home: Home,
) -> None:
    home.config["sources"]["open"] = {"path": "/in/open"}  # which is worth a warning
    home.config["logging"] = {"level": "warning", "format": "text"}
    home.write()
    async with running(home) as daemon:
        assert " warning config.warning " in (await told(daemon, "config.warning"))[0]
        await reload(home, level="info", format="json")
        lines = await told(daemon, "config.reloaded")
        assert len(lines) == 1, "something of info was told before"
        assert json.loads(lines[0])["level"] == "info"
        await reload(home, level="info", format="text")
        assert " info config.reloaded " in (await told(daemon, "config.reloaded"))[-1]
        await reload(home, level="error", format="text")
        daemon.terminate()
        rest = await told(daemon)
        assert await daemon.wait() == 0
    assert "admin.requested" in rest[-1], "of info, and the last that was told: then it was error"


async def test_a_start_that_is_refused_is_told_by_the_level_and_form_of_the_file(
    home: Home,
) -> None:
    home.config["sources"]["open"] = {"path": "/in/open"}  # a warning, less than is asked for
    home.config["logging"] = {"level": "error", "format": "text"}
    home.database.parent.write_text("in the folder's place")
    home.write()
    async with running(home) as daemon:
        (line,) = await told(daemon)
        assert await daemon.wait() == 73
    assert " error start.refused " in line


async def reload(home: Home, **logging: str) -> None:
    home.config["logging"] = logging
    home.write()
    while (await cli(home, "reload")).code == 69:
        pass  # it does not listen yet


async def told(daemon: Process, message: str | None = None) -> list[str]:
    """The lines up to the first with this message, or to the end."""
    assert daemon.stderr is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while message is None or not lines or message not in lines[-1]:
            line = (await daemon.stderr.readline()).decode()
            if not line:
                assert message is None, f"no {message} in {lines}"
                break
            lines.append(line)
    return lines


@contextlib.asynccontextmanager
async def running(home: Home) -> AsyncIterator[Process]:
    """A daemon without options for its log."""
    command = (sys.executable, "-m", "hookpost", "run", "-c", str(home.file))
    daemon = await asyncio.create_subprocess_exec(*command, stderr=PIPE, stdout=DEVNULL)
    try:
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.kill()
        await daemon.wait()
