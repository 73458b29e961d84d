"""A secret: a name, a value that never prints, and the time in which it lives."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One resolved secret. `not_before` and `not_after` are UNIX seconds, both inclusive."""

    name: str
    value: bytes = field(repr=False)
    not_before: float | None = None
    not_after: float | None = None

    @property
    def mortal(self) -> bool:
        """Whether there is a time at which it does not live."""
        return self.not_before is not None or self.not_after is not None

    def live(self, at: float) -> bool:
        """Whether the secret may be used at wall-clock time `at`."""
        if self.not_before is not None and at < self.not_before:
            return False
        return self.not_after is None or at <= self.not_after

    def __str__(self) -> str:
        return f"{self.name}=***"
