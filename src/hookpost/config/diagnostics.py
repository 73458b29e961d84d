"""Mistakes and warnings: where they are, what they are, what to do; all of a run at once."""

import difflib
import heapq
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from operator import eq
from pathlib import PurePath

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""

MOST = 200
"""Mistakes reported in one run; beyond it one line says that there are more."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_QUOTED = 80
_COMPARED = 64  # names that a word is compared with in earnest, which costs much


class Severity(StrEnum):
    """Errors refuse the file; warnings do only under `--strict`."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake or warning. `code` is stable; `path` is empty where no key is meant.

    No secret's value is ever part of one.
    """

    severity: Severity
    code: str
    file: str
    line: int
    column: int
    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.severity}: {self.sentence} [{self.code}]"

    @property
    def sentence(self) -> str:
        """Path, message and suggestion in one line."""
        subject = f"{self.path}: " if self.path else ""
        meant = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return f"{subject}{self.message}{meant}"

    @property
    def place(self) -> str:
        """File, place, path and code: what may be told where the file's values may not."""
        at = f"{PurePath(self.file).name}:{self.line}:{self.column}"
        return f"{at}: {self.path or 'the file'} [{self.code}]"

    def fields(self) -> dict[str, str | int | None]:
        """The JSON form."""
        return {
            "severity": self.severity.value,
            "code": self.code,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "suggestion": self.suggestion,
        }

    def render(self, form: str = "text") -> str:
        """One line (or JSON object) without a line break: `text`, `json` or `github`."""
        match form:
            case "json":
                return json.dumps(self.fields(), ensure_ascii=False)
            case "github":
                return self.github()
            case _:
                return str(self)

    def github(self) -> str:
        """A workflow command that puts the finding beside its line in a pull request."""
        properties = f"file={_property(self.file)},line={self.line},col={self.column}"
        text = self.sentence.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return f"::{self.severity} {properties},title={_property(self.code)}::{text}"


def _property(text: str) -> str:
    for character, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(character, escaped)
    return text.replace(":", "%3A").replace(",", "%2C")


def path_text(path: Path) -> str:
    """`endpoints.crm.events[1]`; a key with odd characters is written as `["odd key"]`."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{quoted(step)}]")
    return "".join(parts)


def quoted(value: object) -> str:
    """A value as it may stand in a one-line message: escaped and cut."""
    if isinstance(value, str):
        text = value if len(value) <= _QUOTED else value[: _QUOTED - 1] + "…"
        shown = json.dumps(text, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return "a list" if isinstance(value, list) else "a map"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    if len(word) > 64:
        return None
    folded = {name.lower().replace("-", "_"): name for name in known}
    wanted = word.lower().replace("-", "_")
    if len(folded) > _COMPARED:
        alike = heapq.nlargest(_COMPARED, folded, key=lambda name: _shared(wanted, name))
        folded = {name: folded[name] for name in alike}
    close = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.7)
    if not close:  # the ratio asks too much of short words
        close = [name for name in folded if _one_slip(wanted, name)]
    return folded[close[0]] if close else None


def _shared(one: str, other: str) -> int:
    """How many characters are the same at the beginning and at the end."""
    ahead = sum(1 for _ in takewhile(bool, map(eq, one, other)))
    return ahead + sum(1 for _ in takewhile(bool, map(eq, reversed(one), reversed(other))))


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter was added, left out or changed, or two changed places, in 3 to 5 letters."""
    short, long = sorted((one, other), key=len)
    if not 2 <= len(short) <= len(long) <= 5:
        return False
    if len(long) - len(short) == 1:
        return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
    if len(long) != len(short) or len(long) < 3:
        return False
    places = [i for i in range(len(long)) if long[i] != short[i]]
    if len(places) == 2:
        first, second = places
        swapped = (long[first], long[second]) == (short[second], short[first])
        return second == first + 1 and swapped
    return len(places) == 1


@dataclass(slots=True)
class Report:
    """Collects what is found in one run. `masked` are secrets' texts that must never be shown."""

    _found: list[tuple[int, Diagnostic]] = field(default_factory=list)
    _files: dict[str, int] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    dropped: int = 0

    def file(self, name: str) -> None:
        """Announce a file: findings are sorted by the order in which files were read."""
        self._files.setdefault(name, len(self._files))

    @property
    def full(self) -> bool:
        """Whether further findings would be dropped."""
        return len(self._found) >= MOST

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(found.severity is Severity.ERROR for _, found in self._found)

    def error(
        self, mark: Mark, path: Path, code: str, message: str, suggestion: str | None = None
    ) -> None:
        """Add a mistake."""
        self._add(Severity.ERROR, mark, path, code, message, suggestion)

    def warning(self, mark: Mark, path: Path, code: str, message: str) -> None:
        """Add a warning."""
        self._add(Severity.WARNING, mark, path, code, message, None)

    def _add(
        self,
        severity: Severity,
        mark: Mark,
        path: Path,
        code: str,
        message: str,
        suggestion: str | None,
    ) -> None:
        if self.full:
            self.dropped += 1
            return
        self.file(mark.file)
        for secret in self.masked:
            message = message.replace(secret, "***")
        found = Diagnostic(
            severity=severity,
            code=code,
            file=mark.file,
            line=mark.line,
            column=mark.column,
            path=path_text(path),
            message=message,
            suggestion=suggestion,
        )
        self._found.append((self._files[mark.file], found))

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything found, by file and position."""
        ordered = sorted(
            self._found, key=lambda pair: (pair[0], pair[1].line, pair[1].column, pair[1].code)
        )
        found = [diagnostic for _, diagnostic in ordered]
        if self.dropped:
            last = found[-1]
            found.append(
                Diagnostic(
                    severity=Severity.ERROR,
                    code="too-many-mistakes",
                    file=last.file,
                    line=last.line,
                    column=last.column,
                    path="",
                    message=f"{self.dropped} more findings are not shown; mend these first",
                )
            )
        return tuple(found)


def render(
    diagnostics: Iterable[Diagnostic],
    form: str = "text",
    *,
    lines: Mapping[str, list[str]] | None = None,
) -> str:
    """All findings as `text`, `json` or `github`, each with a final line break.

    With `lines` (a file's lines by its name) the text form shows each source line with a caret,
    but for the lines of `secrets`, where somebody may have written a value by mistake.
    Raises ValueError for another form.
    """
    found = list(diagnostics)
    match form:
        case "text":
            return "".join(f"{item}\n{_excerpt(item, lines)}" for item in found)
        case "github":
            return "".join(f"{item.github()}\n" for item in found)
        case "json":
            counts = {
                "errors": sum(item.severity is Severity.ERROR for item in found),
                "warnings": sum(item.severity is Severity.WARNING for item in found),
            }
            document = {**counts, "diagnostics": [item.fields() for item in found]}
            return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        case _:
            raise ValueError(f"no such form: {quoted(form)}; take text, json or github")


def _excerpt(item: Diagnostic, lines: Mapping[str, list[str]] | None) -> str:
    if lines is None or item.path.startswith("secrets"):
        return ""
    text = lines.get(item.file, [])
    if not 1 <= item.line <= len(text):
        return ""
    line = "".join(c if c.isprintable() else " " for c in text[item.line - 1])
    start = max(0, item.column - 60)
    return f"    {line[start : start + 100]}\n    {' ' * (item.column - 1 - start)}^\n"
