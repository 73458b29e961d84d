"""A source of the configuration and a body to try it with: what `send` and `verify` begin with."""

import difflib
import sys
from pathlib import Path

from hookpost.cli import exits
from hookpost.cli.client import Failure
from hookpost.core.settings import Config, Source


def configured(path: Path, command: str) -> Config:
    """The configuration, secrets looked up; Failure (66, 77 or 78), mistakes on stderr."""
    from hookpost.config import load

    loaded = load(path)
    if loaded.config is None:
        for mistake in loaded.errors:
            print(mistake.render(), file=sys.stderr)
        needs = f"{command} needs a valid configuration to find the source in: {path}"
        raise Failure(needs, loaded.exit_code)
    return loaded.config


def named(config: Config, name: str) -> Source:
    """The source of this name; Failure (64) that names the one that may be meant."""
    found = config.sources.get(name)
    if found is None:
        near = difflib.get_close_matches(name, config.sources, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        known = ", ".join(config.sources) or "none"
        raise Failure(f'no source "{name}" is configured ({known}){hint}', exits.USAGE)
    return found


def content(name: str, option: str) -> bytes:
    """A file's bytes, with or without @ before its name; `-` is stdin. Failure (66)."""
    if name == "-":
        return sys.stdin.buffer.read()
    path = Path(name.removeprefix("@"))
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(f"{option} {path}: {error.strerror}", exits.NO_INPUT) from None
