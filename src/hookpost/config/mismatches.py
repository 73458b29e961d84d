"""A file against the schema: every difference, one diagnostic for each mistake."""

from dataclasses import dataclass
from typing import Any

from hookpost.config import nodes, schema
from hookpost.config.diagnostics import Path, Report, nearest, quoted
from hookpost.config.schema import Json


def check(root: nodes.Node, report: Report) -> tuple[Json, set[tuple[Path, str]]]:
    """Report every difference between a file and the schema.

    Returns the values that are sound (what was reported is left out of them; none where the report
    is full before the end), and the keys that were probably meant where another was written.
    """
    data = nodes.plain(root)
    mistakes = _Mistakes(root, report)
    errors = schema.validator()(schema.schema()).iter_errors(data)
    for error in errors:
        if report.full:
            report.dropped += 1
            return {}, mistakes.suggested
        mistakes.take(error)
    mistakes.missing_keys()
    sound: Json = data if isinstance(data, dict) else {}
    for path in sorted(mistakes.refused, key=lambda path: [str(step) for step in path]):
        _leave_out(sound, path)
    return _without_holes(sound), mistakes.suggested


_HOLE = object()


def _leave_out(data: Any, path: Path) -> None:
    for step in path[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)
    elif path and isinstance(data, list) and isinstance(path[-1], int):
        data[path[-1]] = _HOLE


def _without_holes(data: Any) -> Any:
    """Refused list items stay in their places, as None, so that paths keep their meaning."""
    if isinstance(data, dict):
        return {key: _without_holes(value) for key, value in data.items()}
    if isinstance(data, list):
        return [None if item is _HOLE else _without_holes(item) for item in data]
    return data


_KINDS = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_TEXTS = {
    "duration": "a duration",
    "size": "a size",
    "rate": "a rate",
    "mode": "permissions",
}


@dataclass(slots=True)
class _Absent:
    path: Path
    key: str


class _Mistakes:
    """Turns the validator's errors into diagnostics, one for each mistake."""

    def __init__(self, root: nodes.Node, report: Report) -> None:
        self.root = root
        self.report = report
        self.refused: set[Path] = set()
        self._absent: list[_Absent] = []
        self.suggested: set[tuple[Path, str]] = set()

    def take(self, error: Any) -> None:
        path: Path = tuple(error.absolute_path)
        schema_path = list(error.schema_path)
        if "propertyNames" in schema_path:
            self._name(path, error)
            return
        match error.validator:
            case "additionalProperties":
                self._unknown_keys(path, error)
            case "required":
                keys = [key for key in error.validator_value if key not in error.instance]
                found = [_Absent(path, key) for key in keys]
                self._absent += [item for item in found if item not in self._absent]
            case "minProperties" | "maxProperties":
                self._count(path, error)
            case _:
                self._value(path, error)

    def _error(self, path: Path, code: str, message: str, suggestion: str | None = None) -> None:
        mark = nodes.value_mark(self.root, path)
        self.report.error(mark, path, code, message, suggestion)
        self.refused.add(path)

    def _name(self, path: Path, error: Any) -> None:
        key = error.instance
        inner = (*path, key)
        code = _code(error) if error.validator == "x-type" else "bad-name"
        self.report.error(nodes.key_mark(self.root, inner), inner, code, error.message)
        if code != "bad-name":
            self.refused.add(inner)

    def _unknown_keys(self, path: Path, error: Any) -> None:
        known = list(error.schema.get("properties", {}))
        present = set(error.instance)
        for key in error.instance:
            if key in known or (not path and key.startswith("x-")):
                continue
            inner = (*path, key)
            meant = nearest(key, [name for name in known if name not in present])
            if meant is not None:
                self.suggested.add((path, meant))
                message = "unknown key"
            else:
                message = f"unknown key; known here: {', '.join(known)}"
            mark = nodes.key_mark(self.root, inner)
            self.report.error(mark, inner, "unknown-key", message, meant)
            self.refused.add(inner)

    def missing_keys(self) -> None:
        """Report absent keys, but for those that stand there misspelled or unreadable."""
        for item in self._absent:
            node = nodes.find(self.root, item.path)
            lost = node is not None and item.key in node.lost
            if lost or (item.path, item.key) in self.suggested:
                continue
            if item.path in self.refused:
                continue
            mark = nodes.key_mark(self.root, item.path)
            message = f'the key "{item.key}" is missing'
            if not item.path:
                message += "; write version: 1" if item.key == "version" else ""
            self.report.error(mark, item.path, "missing-key", message)

    def _count(self, path: Path, error: Any) -> None:
        node = nodes.find(self.root, path)
        if node is not None and node.lost:
            return
        known = list(error.schema.get("properties", {}))
        if not error.schema.get("x-one-of"):
            message = (
                f"at most {error.validator_value} entries are taken"
                if error.validator == "maxProperties"
                else f"the map is empty; give {_one_of(known)}"
            )
            self._error(path, "wrong-count", message)
            return
        if any(place == path for place, _ in self.suggested) or any(
            key not in known for key in error.instance
        ):
            return
        given = ", ".join(error.instance) or "none"
        if len(known) == 1:
            message = f"the map is empty; give {known[0]}"
        else:
            message = f"give exactly one of {', '.join(known)}; given: {given}"
        self._error(path, "one-of", message)

    def _value(self, path: Path, error: Any) -> None:
        if path in self.refused and error.validator != "uniqueItems":
            return
        match error.validator:
            case "type":
                self._wrong_type(path, error)
            case "enum":
                self._not_listed(path, error)
            case "minItems":
                self._empty_list(path)
            case "uniqueItems":
                self._twice(path, error.instance)
            case "x-type":
                code = "out-of-range" if " is too " in error.message else _code(error)
                self._error(path, code, error.message + _found(path, error))
            case _:
                self._error(path, *_bound(error))

    def _wrong_type(self, path: Path, error: Any) -> None:
        wanted = error.validator_value
        wanted = [wanted] if isinstance(wanted, str) else wanted
        words = error.schema.get("x-words")
        text = _TEXTS.get(error.schema.get("x-type", ""), "text")
        known = {**_KINDS, "string": text}
        kinds = [known[kind] for kind in wanted if not (kind == "string" and words)]
        expected = " or ".join(kinds + (words or []))
        message = f"expected {expected}, found {self._shown(path, error.instance)}"
        inline = len(path) == 2 and path[0] == "secrets"
        remedy = _NOT_INLINE if inline else _remedy(error.schema, error.instance)
        self._error(path, "wrong-type", message + remedy)

    def _shown(self, path: Path, value: Any) -> str:
        if value is None:
            return "nothing"
        if path[:1] == ("secrets",) or isinstance(value, dict | list):
            return _kind(value)
        return f"{_kind(value)} {quoted(value)}" if not isinstance(value, bool) else quoted(value)

    def _not_listed(self, path: Path, error: Any) -> None:
        options = [str(option) for option in error.validator_value]
        meant = nearest(str(error.instance), options)
        message = f"{quoted(error.instance)} is not one of {', '.join(options)}"
        self._error(path, "unknown-value", message, meant)

    def _empty_list(self, path: Path) -> None:
        node = nodes.find(self.root, path)
        if node is not None and node.lost:
            return
        self._error(path, "empty-list", "the list is empty; name at least one, or drop the key")

    def _twice(self, path: Path, items: list[Any]) -> None:
        for index, item in enumerate(items):
            if item in items[:index] and (*path, index) not in self.refused:
                inner = (*path, index)
                self._error(inner, "duplicate-item", f"{quoted(item)} stands here twice; drop one")
                return


def _one_of(keys: list[str]) -> str:
    return f"at least one of {', '.join(keys)}" if keys else "at least one, or drop the key"


_PRIVATE = frozenset(
    {
        *("base-url", "called-url", "url", "proxy"),
        *("credential", "name", "variable", "header", "header-piece", "header-value"),
    }
)
"""What may hold a secret, or be one by mistake: never shown."""


def _found(path: Path, error: Any) -> str:
    """The value, where the message does not name it already."""
    value, kind = error.instance, error.validator_value
    private = kind in _PRIVATE or (path[:1] == ("secrets",) and kind != "instant")
    if private or value == "" or str(value) in error.message:
        return ""
    return f"; found {quoted(value)}"


_CODES = {"route": "path", "socket": "address", "sent-header": "header", "header-piece": "header"}


def _bound(error: Any) -> tuple[str, str]:
    """Code and message of what takes no look around."""
    limit, shown = error.validator_value, quoted(error.instance)
    match error.validator:
        case "minimum":
            return "out-of-range", f"{shown} is too small; take at least {limit}"
        case "exclusiveMinimum":
            return "out-of-range", f"{shown} is too small; take more than {limit}"
        case "maximum":
            return "out-of-range", f"{shown} is too large; take at most {limit}"
        case "maxItems":
            return "wrong-count", f"at most {limit} entries are taken"
        case "minLength":
            return "empty-text", "the text is empty; write something, or drop the key"
        case "maxLength":
            return "long-text", f"the text has more than {limit} characters"
        case "const":
            message = f"version {shown} is not known here; this program reads version: {limit}"
            return "unknown-version", message
        case "x-words":
            return "wrong-value", error.message
    return "wrong-value", f"the value breaks the rule {error.validator}"


def _code(error: Any) -> str:
    kind = error.validator_value
    return f"bad-{_CODES.get(kind, kind)}"


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "the text"
        case int() | float():
            return "the number"
        case list():
            return "a list"
    return "a map"


_NOT_INLINE = "; use {env: NAME}, {file: PATH} or {credential: NAME}"
_UNIT = {"duration": "s", "size": "MiB", "rate": "/s"}


def _remedy(part: Json, value: Any) -> str:
    kind = part.get("x-type")
    if value is None:
        return "; give a value, or drop the key"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind in _UNIT:
            return f"; give it a unit, as in {value}{_UNIT[kind]}"
        if kind == "mode":
            return '; write it in quotes, as in "0660"'
        if part.get("type") == "string":
            return "; write it in quotes"
    if isinstance(value, bool) and part.get("type") == "string":
        return "; write it in quotes"
    if isinstance(value, str) and part.get("type") == "array":
        return "; write it in brackets, as in [name]"
    if isinstance(value, str) and part.get("type") == "integer":
        return "; write it without quotes and units"
    return ""
