"""`python -m tests.simulation`: run seeds, show what broke, count what was seen."""

import argparse
import logging
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import simulate


def main() -> int:
    """Exit status 1 where a seed broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        result = simulate(options.seed, None)
        print(result.shown() if result.violation else result.trace)
        return result.violation is not None
    broken, seconds, events, attempts, lives = 0, 0.0, 0, 0, 0
    with ProcessPoolExecutor() as pool:
        seeds = range(options.first, options.first + options.seeds)
        for result in pool.map(simulate, seeds, chunksize=8):
            seconds, events = seconds + result.seconds, events + result.events
            attempts, lives = attempts + result.attempts, lives + result.lives
            if result.violation:
                broken += 1
                print(result.shown() if broken <= 3 else f"seed {result.seed}: {result.violation}")
    print(
        f"{options.seeds} seeds, {lives} lives, {seconds / 86400:.0f} days,"
        f" {events} events, {attempts} attempts: {broken} broke a promise"
    )
    return broken > 0


if __name__ == "__main__":
    sys.exit(main())
