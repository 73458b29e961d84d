"""What a compiled expression is; `config` compiles it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Expression = Callable[[Any], Any]
"""A document in, a JSON value out; raises ValueError when it fails or costs too much."""

BUDGET = 500_000
"""Steps and members of values made in one evaluation, some 100 ms at most."""


class TooCostly(ValueError):
    """The evaluation was ended because it used up its allowance."""


class Allowance:
    """Steps that an evaluation may still take; what it takes is subtracted."""

    __slots__ = ("left",)

    def __init__(self, left: int = BUDGET) -> None:
        self.left = left


class Metered(Protocol):
    """An expression whose cost somebody else bounds."""

    def __call__(self, document: Any, allowance: Allowance, /) -> Any:
        """As Expression; TooCostly where the allowance does not do."""
        ...


@dataclass(frozen=True, slots=True)
class Formula:
    """A filter or a transform: what was written, and what it came to.

    `names` are the members of the document that it looks at, None: perhaps all of them.
    """

    text: str
    evaluate: Metered = field(compare=False, repr=False)
    names: frozenset[str] | None = field(default=None, compare=False, repr=False)


class Mishap(StrEnum):
    """Why a filter did not decide, or a transform made nothing; a metric label."""

    FAILED = "failed"
    COST = "cost"
    NOT_BOOLEAN = "not_boolean"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
