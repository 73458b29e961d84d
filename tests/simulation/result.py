"""What a run tells when it is over."""

from dataclasses import dataclass


@dataclass
class Result:
    """What a run came to."""

    seed: int
    seconds: float  # virtual
    lives: int
    events: int
    attempts: int
    lines: int
    digest: str
    trace: str
    violation: str | None = None

    def shown(self) -> str:
        """For people: what broke, what came before, how to see it again."""
        return (
            f"seed {self.seed}: {self.violation}\n{self.trace}\n"
            f"again: python -m tests.simulation --seed {self.seed}"
        )
