"""The two ends of a child's control pipe: one JSON object a line, each command one answer."""

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from bench import ROOT, BenchError

Reply = dict[str, Any]


class Child:
    """A process of the bench, started as `python -m MODULE`; ended by its own pid."""

    def __init__(self, module: str, *args: str, env: Mapping[str, str] | None = None) -> None:
        self.module = module
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )
        self.hello = self._wait(20.0)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, limit: float, /, **command: Any) -> Reply:
        """Send one command and wait at most `limit` seconds for its answer."""
        self.tell(**command)
        return self.answer(limit)

    def tell(self, **command: Any) -> None:
        """Send one command; `answer` takes what comes back."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, limit: float) -> Reply:
        """The answer to the oldest command that has none yet."""
        reply = self._wait(limit)
        if "error" in reply:
            raise BenchError(f"{self.module}: {reply['error']}")
        return reply

    def _wait(self, limit: float) -> Reply:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        until = time.monotonic() + limit
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise BenchError(f"{self.module} gave no answer within {limit:g} s")
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                raise BenchError(f"{self.module} ended with status {self._process.wait()}")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply = json.loads(line)
        assert isinstance(reply, dict)
        return reply

    def close(self) -> None:
        """Close the pipe, which ends the child; kill it if it does not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(5.0)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def reply(**fields: Any) -> None:
    """The child's answer to its parent."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def commands() -> AsyncIterator[Reply]:
    """The parent's commands, until it closes the pipe."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        pipe.close()


async def serve(verbs: Mapping[str, Callable[..., Any]], **hello: Any) -> None:
    """Say hello, then answer each command `{"do": verb, …}`; a BenchError becomes `error`."""
    reply(**hello)
    async for command in commands():
        verb = verbs[command.pop("do")]
        try:
            reply(**await verb(**command))
        except (BenchError, OSError) as error:
            reply(error=str(error) or type(error).__name__)
