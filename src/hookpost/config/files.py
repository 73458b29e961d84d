"""The file and what it includes → one tree of nodes, each of which knows its file."""

import errno
import glob
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from hookpost.config import nodes, reading, syntax
from hookpost.config.diagnostics import Mark, Report, quoted

NAMED_MAPS = (
    "secrets",
    "retry_policies",
    "rate_limits",
    "circuit_breakers",
    "egress_policies",
    "sources",
    "endpoints",
    "subscriptions",
)
"""What an included file may hold."""

MOST_FILES = 1000
_MAGIC = frozenset("*?[")


@dataclass(slots=True, kw_only=True)
class Tree:
    """All files as one: `root` is None where the main file could not be read."""

    root: nodes.Table | None = None
    files: dict[str, Path] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def directory(self, mark: Mark) -> Path:
        """The directory that relative paths at this place are relative to."""
        return self.files[mark.file].parent


class Unreadable(Exception):
    """Why a file cannot be read; `code` is the diagnostic's, `place` a line and a column of it."""

    def __init__(self, code: str, message: str, place: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.code = code
        self.place = place


def load(path: Path, report: Report) -> Tree:
    """Read the main file and its includes; every mistake of form is in the report."""
    tree = Tree()
    root = _read(path, str(path), tree, report, main=True)
    if isinstance(root, nodes.Table):
        tree.root = root
        _include(path, root, tree, report)
    return tree


def content(path: Path) -> str:
    """A file's text: UTF-8, at most 1 MiB, a byte order mark removed.

    Raises Unreadable; never waits on a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as mistake:
        raise _unreadable(path, mistake) from None
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise Unreadable("not-a-file", f"{path} is a directory; name a file in it")
        if not stat.S_ISREG(kind):
            raise Unreadable("not-a-file", f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(reading.LARGEST + 1)
    except OSError as mistake:
        raise _unreadable(path, mistake) from None
    finally:
        os.close(descriptor)
    if len(raw) > reading.LARGEST:
        raise Unreadable("too-large", "the file is larger than 1 MiB; divide it by include")
    return _decoded(raw)


def _unreadable(path: Path, mistake: OSError | ValueError) -> Unreadable:
    number = mistake.errno if isinstance(mistake, OSError) else errno.EINVAL
    match number:
        case errno.ENOENT | errno.ENOTDIR:
            return Unreadable("no-such-file", f"there is no file {path}")
        case errno.EACCES | errno.EPERM:
            message = f"{path} may not be read by this user; mend its owner or its permissions"
            return Unreadable("no-permission", message)
        case errno.ELOOP:
            return Unreadable("no-such-file", f"{path} is a symbolic link that leads to itself")
    reason = mistake.strerror if isinstance(mistake, OSError) else "the path cannot exist"
    return Unreadable("unreadable-file", f"{path} cannot be read: {reason}")


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("not-utf8", "the file is UTF-16; save it as UTF-8", (1, 1))
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as mistake:
        at = mistake.start
        before = raw[:at].decode("utf-8").removeprefix("\ufeff")
        message = f"byte 0x{raw[at]:02x} is not UTF-8; save the file as UTF-8"
        raise Unreadable("not-utf8", message, syntax.place_after(before)) from None


def _read(path: Path, name: str, tree: Tree, report: Report, *, main: bool) -> nodes.Node | None:
    report.file(name)
    tree.files[name] = path.absolute()
    try:
        text = content(path)
    except Unreadable as mistake:
        report.error(Mark(name, *mistake.place), (), mistake.code, str(mistake))
        return None
    tree.lines[name] = text.splitlines()
    failed = report.failed
    root = reading.read(text, name, report)
    if root is None and (report.failed and not failed):
        return None
    if root is None or (isinstance(root, nodes.Text) and root.value is None):
        if main:
            message = "the file is empty; `hookpost config init` writes one to begin with"
            report.error(Mark(name, 1, 1), (), "empty-file", message)
        return None
    if not isinstance(root, nodes.Table):
        message = "a file holds keys with values, beginning with version: 1"
        if not main:
            message = f"an included file holds named maps: {', '.join(NAMED_MAPS)}"
        report.error(root.mark, (), "not-a-map", message)
        return None
    return root


# -- include ---------------------------------------------------------------------------------


def _include(path: Path, root: nodes.Table, tree: Tree, report: Report) -> None:
    entry = root.entries.get("include")
    if entry is None or not isinstance(entry.node, nodes.Items):
        return  # absent, or of a wrong type, which the schema says
    seen = {os.path.realpath(path)}
    for index, item in enumerate(entry.node.items):
        if not isinstance(item, nodes.Text) or not isinstance(item.value, str) or not item.value:
            continue
        for found in _matches(path, item.value, index, item.mark, report):
            real = os.path.realpath(found)
            if real in seen:
                continue
            seen.add(real)
            if len(tree.files) > MOST_FILES:
                message = f"more than {MOST_FILES} files are included; use fewer"
                report.error(item.mark, ("include", index), "too-many-files", message)
                return
            _merge(found, root, tree, report)


def _matches(main: Path, pattern: str, index: int, mark: Mark, report: Report) -> list[Path]:
    """The files that a pattern names, sorted. No match for a pattern is no mistake in itself."""
    where = ("include", index)
    if "\0" in pattern:
        return []  # said by the schema
    base = main.absolute().parent
    if not _MAGIC & set(pattern):
        found = [base / pattern]
    else:
        names = sorted(glob.glob(pattern, root_dir=base))
        found = [base / name for name in names]
        directory = (base / pattern).parent
        if not found and not _MAGIC & set(str(directory)) and not directory.is_dir():
            message = f"the directory {quoted(str(Path(pattern).parent))} is not there; make it"
            report.warning(mark, where, "no-such-directory", f"{message}, or drop the pattern")
    sound = []
    for file in found:
        if file.is_dir():
            message = f"{quoted(file.name)} is a directory; write {quoted(f'{file.name}/*.yaml')}"
            report.error(mark, where, "not-a-file", message)
        elif not file.exists():
            message = f"there is no file {quoted(_shown(file, base))}"
            if file.is_symlink():
                message += ": the symbolic link leads nowhere"
            report.error(mark, where, "no-such-file", message)
        else:
            sound.append(file)
    return sound


def _shown(file: Path, base: Path) -> str:
    return str(file.relative_to(base) if file.is_relative_to(base) else file)


def _merge(path: Path, root: nodes.Table, tree: Tree, report: Report) -> None:
    main = root.mark.file
    base = tree.files[main].parent
    inner = path.relative_to(base) if path.is_relative_to(base) else path
    name = str(Path(main).parent / inner)
    found = _read(path, name, tree, report, main=False)
    if not isinstance(found, nodes.Table):
        return
    for key, entry in found.entries.items():
        if key == "include":
            message = "an included file includes no others; list the files in the main one"
            report.error(entry.mark, (key,), "nested-include", message)
        elif key not in NAMED_MAPS:
            message = f"an included file holds named maps only: {', '.join(NAMED_MAPS)}"
            if not key.startswith("x-"):
                report.error(entry.mark, (key,), "not-includable", message)
        elif not isinstance(entry.node, nodes.Table):
            message = "expected a map of names"
            report.error(entry.node.mark, (key,), "wrong-type", message)
        else:
            _add(key, entry, root, report)


def _add(key: str, entry: nodes.Entry, root: nodes.Table, report: Report) -> None:
    assert isinstance(entry.node, nodes.Table)  # noqa: S101 - _merge asked
    existing = root.entries.get(key)
    if existing is None:
        root.entries[key] = nodes.Entry(mark=entry.mark, node=entry.node)
        return
    if not isinstance(existing.node, nodes.Table):
        return  # the schema says it
    for name, inner in entry.node.entries.items():
        first = existing.node.entries.get(name)
        if first is not None:
            place = f"{first.mark.file}:{first.mark.line}"
            message = f"this name is given already in {place}; names are given once over all files"
            report.error(inner.mark, (key, name), "duplicate-name", message)
        else:
            existing.node.entries[name] = inner
    existing.node.lost |= entry.node.lost
