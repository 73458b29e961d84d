"""Paths out of a file that need not be valid: what the command line must find at all costs."""

import os
from collections.abc import Mapping
from pathlib import Path

from hookpost.config import nodes, places, reading
from hookpost.config.diagnostics import Mark
from hookpost.config.files import Unreadable, content
from hookpost.config.loading import EXITS

_SHIPPED_RUNTIME = Path("/run/hookpost")
_SHIPPED_STATE = Path("/var/lib/hookpost")
"""The directories of the shipped unit: only the daemon is told them by its environment."""


def lenient_admin_socket(path: Path, environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the daemon of this file listens for the command line; None without a readable file.

    As `listen.admin.address` says, else the default, that of the shipped unit if it is there.
    """
    root = _partly(path)
    if root is None:
        return None
    directory = path.absolute().parent
    text = _text(root, ("listen", "admin", "address"))
    if text is not None and text.startswith("unix:") and len(text) > len("unix:"):
        return directory / text.removeprefix("unix:")
    default = places.default_socket(directory, os.environ if environ is None else environ)
    return _existing(default, _SHIPPED_RUNTIME / "admin.sock")


def lenient_database(path: Path, environ: Mapping[str, str] | None = None) -> Path | None:
    """The database of this file; None without a readable file."""
    root = _partly(path)
    if root is None:
        return None
    directory = path.absolute().parent
    text = _text(root, ("storage", "sqlite", "path"))
    if text:
        return directory / text
    default = places.default_database(directory, os.environ if environ is None else environ)
    return _existing(default, _SHIPPED_STATE / "outbox.db")


def why_unread(path: Path) -> tuple[str, int]:
    """Why nothing can be read of the file, for people, and the exit code: 66, or 77."""
    try:
        content(path)
    except Unreadable as mistake:
        return str(mistake), EXITS.get(mistake.code, EXITS["no-such-file"])
    return f"{path} could not be read", EXITS["no-such-file"]  # it can by now


def _partly(path: Path) -> nodes.Node | None:
    """What can be read of the file; an empty map where that is nothing."""
    try:
        text = content(path)
    except Unreadable as mistake:
        if mistake.code != "not-utf8":
            return None
        text = ""
    return reading.read_partly(text) or nodes.Table(mark=Mark("", 1, 1))


def _text(root: nodes.Node, path: tuple[str, ...]) -> str | None:
    node = nodes.find(root, path)
    value = node.value if isinstance(node, nodes.Text) else None
    return value if isinstance(value, str) and "\0" not in value else None


def _existing(first: Path, second: Path) -> Path:
    try:
        return second if not first.exists() and second.exists() else first
    except OSError:
        return first
