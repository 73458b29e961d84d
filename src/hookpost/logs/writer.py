"""One thread that writes lines, so that the event loop never waits for who reads them."""

import io
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from hookpost.logs.lines import Form

MAX_LINES = 10_000  # waiting for a stalled reader
MAX_BYTES = 8 << 20
GATHER = 0.02  # seconds that an unhurried line waits for company
BATCH = 256  # lines handed to one write


class Stream(Protocol):
    """Where lines go: a text stream; its descriptor is written to where it has one."""

    def write(self, text: str, /) -> int:
        """Write text."""
        ...

    def flush(self) -> None:
        """Write what is buffered."""
        ...

    def fileno(self) -> int:
        """The descriptor, or OSError."""
        ...


class LineWriter:
    """Takes lines from any thread without blocking, writes them in order from a thread of its own.

    At most MAX_LINES lines and MAX_BYTES bytes wait; what exceeds them is dropped and counted, and
    `report(n)` gives the line that says so as soon as the reader is back.
    """

    def __init__(self, stream: Stream, report: Callable[[int], bytes]) -> None:
        self._stream = stream
        self._report = report
        self._lines: deque[bytes] = deque()
        self._put_bytes = 0  # only `put` adds (under its caller's lock)
        self._written_bytes = 0  # only the thread adds
        self._dropped = 0
        self._reported = 0
        self._rung = False
        self._closing = False
        self._bell = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="hookpost-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes, *, hurry: bool) -> None:
        """Hand over one line, its line feed included. Callers exclude each other."""
        waiting = self._put_bytes - self._written_bytes
        if len(self._lines) >= MAX_LINES or waiting + len(line) > MAX_BYTES:
            self._dropped += 1
            return
        self._put_bytes += len(line)
        self._lines.append(line)
        if hurry:
            self._hurry.set()
        if not self._rung:
            self._rung = True
            self._bell.set()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was put is written; False when `timeout` seconds were not enough."""
        goal = self._put_bytes
        self._hurry.set()
        self._bell.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._written_bytes >= goal, timeout)

    def close(self, timeout: float) -> None:
        """Write what waits, for at most `timeout` seconds, and end the thread."""
        self._closing = True
        self.flush(timeout)
        self._thread.join(timeout)

    def _run(self) -> None:
        while not (self._closing and not self._lines):
            self._bell.wait()
            if not self._closing:
                self._hurry.wait(GATHER)
            self._hurry.clear()
            self._bell.clear()
            self._rung = False  # before the lines are taken: a later put rings again
            self._drain()
            if self._closing:
                self._bell.set()

    def _drain(self) -> None:
        while self._lines:
            take = self._lines.popleft
            batch = [take() for _ in range(min(len(self._lines), BATCH))]
            size = sum(map(len, batch))
            lost = self._dropped
            if lost > self._reported:
                batch.append(self._report(lost - self._reported))
                self._reported = lost
            self._write(b"".join(batch))
            with self._progress:
                self._written_bytes += size
                self._progress.notify_all()

    def _write(self, data: bytes) -> None:
        try:
            descriptor = self._stream.fileno()
        except (OSError, io.UnsupportedOperation, AttributeError):
            self._stream.write(data.decode("utf-8", "replace"))
            self._stream.flush()
            return
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:  # somebody made the descriptor non-blocking
                select.select([], [descriptor], [])
            except OSError:  # the reader is gone for good: there is nobody left to tell
                self._dropped += data.count(b"\n", len(data) - len(view))
                return


class LineHandler(logging.Handler):
    """A logging handler over a LineWriter; its form can be replaced while it runs."""

    def __init__(self, stream: Stream, form: Form) -> None:
        super().__init__()
        self.form = form
        self.stream = stream
        self._writer = LineWriter(stream, self._loss)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record's line over; a warning or worse is written at once."""
        try:
            line = self.form(record)
        except Exception as error:  # a bad format argument of some library must not be lost
            line = self.form(_broken(record, error))
        self.put(line, record.levelno)

    def put(self, line: bytes, level: int) -> None:
        """Hand over a line that is ready; the caller holds `lock`."""
        self._writer.put(line, hurry=level >= logging.WARNING)

    def flush(self) -> None:
        """Wait up to two seconds until all lines are written."""
        self._writer.flush(2.0)

    def close(self) -> None:
        """Write what waits, for at most two seconds, and end the thread."""
        self._writer.close(2.0)
        super().close()

    def _loss(self, count: int) -> bytes:
        return self.form(_record(logging.WARNING, "log.dropped", {"lines": count}))


def _broken(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    fields = {"error": f"{type(error).__name__}: {error}", "by": record.name}
    return _record(logging.ERROR, "log.failed", fields)


def _record(level: int, name: str, fields: Mapping[str, object]) -> logging.LogRecord:
    record = logging.LogRecord("hookpost.logs", level, "", 0, name, None, None)
    record.fields = fields
    return record
