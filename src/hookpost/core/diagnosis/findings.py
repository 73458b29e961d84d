"""What a diagnosis is made of, and the words for time that it uses."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from hookpost.core.refusals import REFUSALS
from hookpost.core.secrets import Secret

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Result(StrEnum):
    """What came of a step. NOTE: it only tells something."""

    OK = "ok"
    FAILED = "failed"
    NOTE = "note"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One judgement, in ingest's order. `code`: that of the refusal it leads to."""

    name: str
    result: Result
    text: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """One change with which the request would fit, or another remedy; `code` is stable."""

    code: str
    text: str


@dataclass(slots=True)
class Diagnosis:
    """The steps taken so far and what was found by trying."""

    steps: list[Step] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        """Whether the gateway would take the request."""
        return all(step.result is not Result.FAILED for step in self.steps)

    @property
    def refusal(self) -> str | None:
        """The code of what the gateway would answer; None: it would take the request."""
        failed = (step.code for step in self.steps if step.result is Result.FAILED)
        return next(failed, None)

    @property
    def status(self) -> int | None:
        """The HTTP status of the refusal."""
        return None if self.refusal is None else REFUSALS[self.refusal].status

    def ok(self, name: str, text: str) -> None:
        """A step that passed."""
        self.steps.append(Step(name, Result.OK, text))

    def note(self, name: str, text: str) -> None:
        """Something that was found on the way."""
        self.steps.append(Step(name, Result.NOTE, text))

    def skipped(self, name: str, text: str) -> None:
        """A step that cannot be judged here."""
        self.steps.append(Step(name, Result.SKIPPED, text))

    def failed(self, name: str, text: str, code: str) -> None:
        """A step that refuses the request."""
        self.steps.append(Step(name, Result.FAILED, text, code))

    def veil(self, values: set[str]) -> None:
        """Strike out what must not be shown, wherever a request has put it."""
        for value in sorted(values, key=len, reverse=True):
            self.steps = [replace(one, text=one.text.replace(value, "***")) for one in self.steps]
            self.hints = [replace(one, text=one.text.replace(value, "***")) for one in self.hints]

    def hint(self, code: str, text: str) -> None:
        """A remedy; the first of each kind counts."""
        if all(code != known.code for known in self.hints):
            self.hints.append(Hint(code, text))


def span(seconds: float) -> str:
    """A duration in its two largest units: `7 min 3 s`."""
    rest = int(abs(seconds))
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number or parts:  # 1 d 0 h, however many minutes follow, is a day
            parts.append((number, unit))
    shown = [f"{number} {unit}" for number, unit in parts[:2] if number]
    return " ".join(shown) or "0 s"


def date(at: float) -> str:
    """A point in time for people."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s after 1970"


def life(secret: Secret, wall: float) -> str:
    """Why a secret does not live."""
    if secret.not_before is not None and wall < secret.not_before:
        return f"which lives from {date(secret.not_before)} on only"
    return f"which expired on {date(secret.not_after or 0.0)}"


def quoted(names: list[str]) -> str:
    """Names for a sentence."""
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))
