"""`python -m chaos.broken synchronous=0 run …`: the daemon with something changed inside it.

For negative controls (a promise taken out must be noticed) and for limits that no configuration
sets. Known: `synchronous` (of SQLite, whatever the file says), `max_page_count` (of the database).
"""

import sys

from hookpost.__main__ import main
from hookpost.storage.sqlite import store


def change(words: str) -> None:
    """Change what `name=number,…` says."""
    for word in words.split(","):
        name, _, value = word.partition("=")
        if name == "synchronous":
            store.SYNCHRONOUS.update(full=int(value), extra=int(value))
        elif name == "max_page_count":
            store._PRAGMAS[name] = int(value)  # type: ignore[index]
        else:
            raise SystemExit(f"chaos.broken: {name}: unknown")


if __name__ == "__main__":
    change(sys.argv.pop(1))
    sys.exit(main())
