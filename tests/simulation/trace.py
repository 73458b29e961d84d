"""What happened, line by line: the same seed writes the same lines, byte for byte."""

from collections import deque
from collections.abc import Callable
from hashlib import sha256

KEPT = 80  # lines shown of a run that failed


class Trace:
    """Lines with their virtual time; all of them make the digest, the last ones are kept."""

    def __init__(self, kept: int | None = KEPT) -> None:
        self._digest = sha256()
        self._last: deque[str] = deque(maxlen=kept)
        self.lines = 0
        self.time: Callable[[], float] = float

    def note(self, what: str, *details: object) -> None:
        """One line."""
        line = f"{self.time():13.4f} {what} {' '.join(str(each) for each in details)}".rstrip()
        self._digest.update(line.encode() + b"\n")
        self._last.append(line)
        self.lines += 1

    def digest(self) -> str:
        """Of every line so far."""
        return self._digest.hexdigest()

    def tail(self) -> str:
        """The last lines, for people."""
        return "\n".join(self._last)


class Violation(AssertionError):
    """A promise was broken."""
