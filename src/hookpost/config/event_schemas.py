"""A JSON Schema → what judges data by it. The library is loaded only where there is a schema.

jsonschema_rs says whether data fits, in time that is linear in the data. It is never asked why not:
that would cost it gigabytes, or take for ever, on hostile data (docs/decisions/0012). Why is found
out by explanations.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hookpost.config.explanations import explain
from hookpost.config.schema_files import (
    DEFAULT,
    Document,
    Place,
    followed,
    mistake_at,
    parts,
)
from hookpost.core.event_types import Validate
from hookpost.core.violations import LONGEST_MESSAGE, Step, Violation, cut, violation

_EXACT = 1 << 53
_MOST_LARGE = 1000  # integers beyond 2**53 that are compared as such: the library is slow at it
_KEPT = 64 << 20  # characters of schemas in compiled rules
_SHAPE = bytes.maketrans(b"123456789E", b"000000000e")
_ODD = (b"0" * 16, b"0e000", b"0e+000")  # in the shape of what may hold numbers beyond the usual


@dataclass(slots=True, kw_only=True)
class Schema:
    """A schema with all its files, the named one first, and whatever was compiled of it."""

    documents: Mapping[Path, Document]
    draft: str
    _registry: Any
    _compiled: dict[str, Callable[[Any], bool]] = field(default_factory=dict)
    _names: dict[Place, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Characters: what compiling a rule costs goes by it, since rules lead to one another."""
        return sum(len(document.text) for document in self.documents.values())

    @property
    def root(self) -> Place:
        """The schema as a whole."""
        return next(iter(self.documents)), ()

    def at(self, place: Place) -> Any:
        """What the file says at a place."""
        path, steps = place
        value = self.documents[path].contents
        for step in steps:
            value = value[step]
        return value

    def follow(self, place: Place, reference: str) -> Place | None:
        """Where a reference leads from a place."""
        return followed(self.documents, place[0], reference)

    def name(self, place: Place) -> str:
        """A place as a whole reference."""
        known = self._names.get(place)
        if known is None:
            path, steps = place
            names = [str(step).replace("~", "~0").replace("/", "~1") for step in steps]
            pointer = "".join(f"/{name}" for name in names)
            known = self._names[place] = f"{self.documents[path].uri}#{quote(pointer)}"
        return known

    def fit(self, place: Place, values: Sequence[Any]) -> bool:
        """Whether all the values fit the part of the schema at a place."""
        name = self.name(place)
        return self.rule(name, {"items": {"$ref": name}})(values)

    def rule(self, name: str, rule: Any) -> Callable[[Any], bool]:
        """What says whether a value meets a rule, which is compiled once under its name."""
        known = self._compiled.get(name)
        if known is None:
            if len(self._compiled) * self.size > _KEPT:
                self._compiled.clear()
            known = self._compiled[name] = _validator(self.draft, rule, self._registry).is_valid
        return known

    def knows(self, name: str) -> bool:
        """Whether a rule has been compiled under a name."""
        return name in self._compiled


def compiled(documents: Sequence[Document]) -> Validate:
    """What judges data by the first of the documents. Raises SchemaMistake."""
    import jsonschema_rs

    draft = documents[0].draft or DEFAULT
    for document in documents:
        _check(document, draft)
    resources = [(document.uri, document.contents) for document in documents]
    try:
        registry = jsonschema_rs.Registry(resources, draft=getattr(jsonschema_rs, _NUMBERS[draft]))
        whole = _validator(draft, {"$ref": documents[0].uri}, registry)
    except ValueError as mistake:
        raise mistake_at(documents[0].path, (), _said(mistake)) from None
    schema = Schema(
        documents={document.path: document for document in documents},
        draft=draft,
        _registry=registry,
    )
    return partial(_violations, whole, schema)


_NUMBERS = {
    "2020-12": "Draft202012",
    "2019-09": "Draft201909",
    "07": "Draft7",
    "06": "Draft6",
    "04": "Draft4",
}
_META = {
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "07": "http://json-schema.org/draft-07/schema#",
    "06": "http://json-schema.org/draft-06/schema#",
    "04": "http://json-schema.org/draft-04/schema#",
}


def _validator(draft: str, rule: Any, registry: Any) -> Any:
    """Expressions match in linear time (so they have no look-around), and nothing is fetched."""
    import jsonschema_rs

    kind = getattr(jsonschema_rs, f"{_NUMBERS[draft]}Validator")
    options = jsonschema_rs.RegexOptions()
    return kind(rule, registry=registry, pattern_options=options, offline=True)


def _check(document: Document, draft: str) -> None:
    """Whether a file is a schema of its draft, and its expressions can be compiled."""
    import jsonschema_rs

    contents = document.contents
    try:
        if isinstance(contents, dict):
            contents = {**contents, "$schema": _META[draft]}
        jsonschema_rs.meta.validate(contents)
    except ValueError as mistake:
        steps: Sequence[Step] = getattr(mistake, "instance_path", ())
        raise mistake_at(document.path, tuple(steps), _said(mistake)) from None
    for steps, part in parts(document.contents):
        properties = part.get("patternProperties")
        found: list[tuple[tuple[str, ...], Any]] = [(("pattern",), part.get("pattern"))]
        if isinstance(properties, dict):
            found += [(("patternProperties", name), name) for name in properties]
        for inner, pattern in found:
            if isinstance(pattern, str):
                _check_pattern(document.path, (*steps, *inner), pattern)


def _said(mistake: ValueError) -> str:
    """What the library says, in one line."""
    return cut(getattr(mistake, "message", str(mistake)).partition("\n")[0], LONGEST_MESSAGE)


def _check_pattern(path: Path, steps: tuple[Step, ...], pattern: str) -> None:
    try:
        _validator(DEFAULT, {"pattern": pattern}, None)
    except ValueError:
        message = (
            f"{cut(pattern, 80)!a} is no expression that can be matched in linear time: it is "
            "broken or too large, or it looks around or back"
        )
        raise mistake_at(path, steps, message) from None


# -- judging ---------------------------------------------------------------------------------


def _violations(whole: Any, schema: Schema, data: bytes, root: str) -> Sequence[Violation]:
    """See Validate."""
    try:
        value = _read(data)
        if whole.is_valid(value):
            return ()
        return explain(schema, value, root)
    except UnicodeEncodeError:
        why = "a text in it holds half of a surrogate pair, which is no text"
    except _Unjudged as mistake:
        why = str(mistake)
    return (violation(root, (), why),)


class _Unjudged(Exception):
    """Why data is not such that a schema could judge it."""


def _read(data: bytes) -> Any:
    """The value of a JSON text. Raises _Unjudged.

    Integers beyond 64 bits become floating-point numbers; what those cannot hold is not judged.
    """
    if not data:
        raise _Unjudged("there is nothing")
    shape = data.translate(_SHAPE)
    odd = any(each in shape for each in _ODD)
    try:
        decoder = _Numbers().decoder() if odd else _DECODER
        value = decoder.decode(data.decode())
    except UnicodeDecodeError as mistake:
        raise _Unjudged(f"it is not UTF-8 at byte {mistake.start}") from None
    except JSONDecodeError as mistake:
        message = f"it is not JSON: {mistake.msg} at character {mistake.pos}"
        raise _Unjudged(message) from None
    except RecursionError:
        raise _Unjudged("it is nested too deep") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unjudged("an object in it has a member twice")
    return found


def _no_constant(name: str) -> None:
    raise _Unjudged(f"it is not JSON: {name} is no number")


_DECODER = JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


class _Numbers:
    """Reads numbers of any length."""

    __slots__ = ("_large",)

    def __init__(self) -> None:
        self._large = 0

    def decoder(self) -> JSONDecoder:
        return JSONDecoder(
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=self._integer,
            parse_float=_float,
        )

    def _integer(self, digits: str) -> int | float:
        if len(digits) > 20:
            return _float(digits)
        number = int(digits)
        if -_EXACT <= number <= _EXACT:
            return number
        self._large += 1
        exact = self._large <= _MOST_LARGE and -(1 << 63) <= number < 1 << 63
        return number if exact else float(number)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Unjudged("a number in it is larger than floating point can hold")
    return number
