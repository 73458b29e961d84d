"""`python -m hookpost` and the console script: dispositions of signals first, imports after."""

import signal
import sys
from types import FrameType


class _Early:
    """A SIGHUP that came before the event loop could take it: remembered, not fatal."""

    asked = False

    def note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


EARLY_HANGUP = _Early()


def main() -> int:
    """Run the command line; the return value is the exit code."""
    if "run" in sys.argv[1:]:
        signal.signal(signal.SIGHUP, EARLY_HANGUP.note)
        for stray in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            signal.signal(stray, signal.SIG_IGN)  # until the daemon can say that it ignores them
    from hookpost.cli.main import main as command_line

    return command_line(sys.argv[1:], hangup_was_asked=lambda: EARLY_HANGUP.asked)


if __name__ == "__main__":
    sys.exit(main())
