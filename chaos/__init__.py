"""Chaos on the real process: the installed daemon with real sockets, killed, starved and lied to.

`python -m chaos` (or `make chaos`) runs the scenarios, `python -m chaos.soak` (or `make soak`) one
long life. The daemon is a process of its own; publisher, receiver and the misbehaving proxy live
in the harness and write down what happened, each for itself. A scenario ends with a reckoning: the
ids accepted are the ids delivered, each repetition is explained by something that the harness saw
itself, the database is sound, and counters and tables agree.

Everything is seeded: who does what and when is drawn from the round's seed. Processes and sockets
have a timing of their own, so that a seed repeats the plan of a round, not each of its instants.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "chaos" / "results"
PATIENCE = 60.0  # seconds that any one step may take


class ChaosError(Exception):
    """The harness cannot go on: it says what was expected and what came."""


class Violation(Exception):
    """A promise was broken."""


class Unavailable(Exception):
    """This machine cannot run the scenario; the text says why."""
