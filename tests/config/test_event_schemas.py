"""What a schema says of data, in tables; and that hostile data costs little."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.config.schemas import compile_in
from tests.fuzz.spent import bounded, within_memory

from hookpost.core.violations import LONGEST_MESSAGE, MOST

DRAFT_04 = "http://json-schema.org/draft-04/schema#"
DRAFT_06 = "http://json-schema.org/draft-06/schema#"
DRAFT_07 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"
OBJECT = {"type": "object", "required": ["x"]}

FAILING: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    ({"type": "string"}, 1, [("$", 'is not of type "string"')]),
    ({"type": ["string", "null"]}, 1, [("$", 'is not of type "string", "null"')]),
    ({"const": {"a": 1}}, 1, [("$", 'is not {"a": 1}')]),
    ({"enum": ["EUR", "USD"]}, "DM", [("$", 'is none of "EUR", "USD"')]),
    (
        {"required": ["a", "b"]},
        {},
        [("$", 'the member "a" is missing'), ("$", 'the member "b" is missing')],
    ),
    ({"minimum": 2}, 1, [("$", "is below the minimum 2")]),
    ({"maximum": 2}, 3, [("$", "is above the maximum 2")]),
    ({"exclusiveMinimum": 2}, 2, [("$", "is not above 2")]),
    ({"exclusiveMaximum": 2}, 2, [("$", "is not below 2")]),
    ({"multipleOf": 0.01}, 0.001, [("$", "is no multiple of 0.01")]),
    ({"minLength": 2}, "a", [("$", "is shorter than 2 characters")]),
    ({"maxLength": 2}, "abc", [("$", "is longer than 2 characters")]),
    ({"pattern": "^[a-z]+$"}, "A", [("$", 'does not match "^[a-z]+$"')]),
    ({"minItems": 1}, [], [("$", "has fewer items than 1")]),
    ({"maxItems": 1}, [1, 2], [("$", "has more items than 1")]),
    ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], [("$", "has an item twice")]),
    ({"minProperties": 1}, {}, [("$", "has fewer members than 1")]),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, [("$", "has more members than 1")]),
    (
        {"dependentRequired": {"a": ["b"]}},
        {"a": 1},
        [("$", 'lacks members that others of it need: {"a": ["b"]}')],
    ),
    (
        {"properties": {"a b": {"items": {"type": "null"}}}},
        {"a b": [None, 1]},
        [('$["a b"][1]', 'is not of type "null"')],
    ),
    (
        {"patternProperties": {"^x": {"type": "null"}}},
        {"x1": 1, "y": 1},
        [("$.x1", 'is not of type "null"')],
    ),
    (
        {"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False},
        {"a": 1, "x": 1, "b": 1, "c": 1},
        [("$.b", "is not allowed"), ("$.c", "is not allowed")],
    ),
    ({"additionalProperties": {"type": "null"}}, {"b": 1}, [("$.b", 'is not of type "null"')]),
    (
        {"propertyNames": {"maxLength": 1}},
        {"a": 1, "bc": 1},
        [("$.bc", "has a name that is not allowed")],
    ),
    ({"dependentSchemas": {"a": OBJECT}}, {"a": 1}, [("$", 'the member "x" is missing')]),
    (
        {"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}},
        [1, True, 2],
        [("$[0]", 'is not of type "null"'), ("$[2]", 'is not of type "boolean"')],
    ),
    (
        {"contains": {"type": "null"}, "maxContains": 1},
        [None, None],
        [("$", "has too few or too many items that contains asks for")],
    ),
    (
        {"allOf": [{"minimum": 5}, {"multipleOf": 2}]},
        3,
        [("$", "is below the minimum 5"), ("$", "is no multiple of 2")],
    ),
    (
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/o"}], "$defs": {"o": OBJECT}},
        {},
        [("$", 'the member "x" is missing')],
    ),
    (
        {"anyOf": [{"minimum": 5}, {"multipleOf": 2}]},
        3,
        [("$", "fits none of the 2 alternatives in anyOf")],
    ),
    (
        {"oneOf": [{"minimum": 1}, {"minimum": 2}, {"minimum": 9}]},
        3,
        [("$", "fits 2 of the alternatives in oneOf, where one is wanted")],
    ),
    ({"not": {"type": "null"}}, None, [("$", "fits what not forbids")]),
    ({"if": {"type": "object"}, "then": OBJECT}, {}, [("$", 'the member "x" is missing')]),
    ({"if": {"type": "object"}, "else": {"minimum": 1}}, 0, [("$", "is below the minimum 1")]),
    (
        {"properties": {"a": {}}, "unevaluatedProperties": False},
        {"b": 1},
        [("$", "does not fit unevaluatedProperties")],
    ),
    (
        {"$anchor": "top", "properties": {"a": {"$ref": "#top"}}, "type": "object"},
        {"a": 1},
        [("$.a", 'is not of type "object"')],
    ),
    (
        {"$defs": {"a/b~c %": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c%20%25"},
        1,
        [("$", 'is not of type "null"')],
    ),
    (False, 1, [("$", "is not allowed")]),
    (
        {"$schema": DRAFT_04, "minimum": 3, "exclusiveMinimum": True},
        3,
        [("$", "is below the minimum 3")],
    ),
    (
        {"$schema": DRAFT_04, "id": "http://x.test/s", "properties": {"id": {"type": "null"}}},
        {"id": 1},
        [("$.id", 'is not of type "null"')],
    ),
    (
        {"$schema": DRAFT_06, "dependencies": {"a": ["b"], "c": OBJECT}},
        {"a": 1, "c": 1},
        [("$", 'the member "b" is missing'), ("$", 'the member "x" is missing')],
    ),
    (
        {"$schema": DRAFT_07, "items": [{"type": "null"}], "additionalItems": {"type": "boolean"}},
        [1, 2],
        [("$[0]", 'is not of type "null"'), ("$[1]", 'is not of type "boolean"')],
    ),
    (
        {
            "$schema": DRAFT_07,
            "$ref": "#/definitions/a",
            "type": "null",
            "definitions": {"a": {"minimum": 2}},
        },
        1,
        [("$", "is below the minimum 2")],
    ),
    ({"$schema": DRAFT_07, "format": "date-time"}, "today", [("$", 'is no "date-time"')]),
    (
        {
            "$schema": DRAFT_2019,
            "$recursiveAnchor": True,
            "items": {"$recursiveRef": "#"},
            "type": "array",
        },
        [1],
        [("$[0]", 'is not of type "array"')],
    ),
]


@pytest.mark.parametrize(("schema", "value", "told"), FAILING)
def test_what_does_not_fit_is_told_with_its_place(
    tmp_path: Path, schema: Any, value: Any, told: list[tuple[str, str]]
) -> None:
    validate = compile_in(tmp_path, schema)
    assert [tuple(one) for one in validate(json.dumps(value).encode(), "$")] == told


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({}, b'{"a": [1, null]}'),
        (True, b"1"),
        ({"type": "integer"}, b"1.0"),
        ({"format": "date-time"}, b'"today"'),
        ({"const": 9007199254740993}, b"9007199254740993"),
        ({"uniqueItems": True}, b"[9007199254740993, 9007199254740992, 1]"),
        ({"type": "number"}, b"1e308"),
        ({"type": "number"}, b"123456789012345678901234567890"),
        ({"pattern": "^\\p{L}+$"}, '"größe"'.encode()),
        (
            {
                "$schema": DRAFT_07,
                "$ref": "#/definitions/a",
                "minimum": 9,
                "definitions": {"a": {}},
            },
            b"1",
        ),
    ],
)
def test_what_fits_is_told_nothing_of(tmp_path: Path, schema: Any, data: bytes) -> None:
    assert compile_in(tmp_path, schema)(data, "$") == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is nothing"),
        (b"{", "it is not JSON"),
        (b"[1,]", "it is not JSON"),
        (b"NaN", "it is not JSON: NaN is no number"),
        (b"\xff", "it is not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf1", "it is not JSON"),
        (b"[" * 100_000, "it is nested too deep"),
        (b'{"a": [{"b": 1, "b": 2}]}', "an object in it has a member twice"),
        (b"1e400", "a number in it is larger than floating point can hold"),
        (b"-" + b"9" * 100_000, "a number in it is larger than floating point can hold"),
        (b'{"\\ud800": 1}', "a text in it holds half of a surrogate pair"),
        (b'["\\udc00"]', "a text in it holds half of a surrogate pair"),
    ],
)
def test_what_no_schema_could_judge_is_a_violation_of_the_whole(
    tmp_path: Path, data: bytes, message: str
) -> None:
    schema = {"items": {"pattern": "."}, "propertyNames": {"pattern": "."}}
    [told] = compile_in(tmp_path, schema)(data, "$.data")
    assert told.path == "$.data"
    assert told.message.startswith(message)


def test_references_lead_to_other_files_and_anchors_in_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/money.json").write_text(
        '{"$id": "https://x.test/money", "$defs": {"c": {"$anchor": "cur", "enum": ["EUR"]}},'
        '"properties": {"currency": {"$ref": "#cur"}, "for": {"$ref": "../other.json#/$defs/n"}}}'
    )
    schema = {
        "$id": "https://x.test/schema.json",
        "properties": {"a": {"$ref": "parts/money.json"}, "b": {"$ref": "parts/money.json#cur"}},
    }
    validate = compile_in(tmp_path, schema, other={"$defs": {"n": {"type": "string"}}})
    told = validate(b'{"a": {"currency": 1, "for": 1}, "b": "DM"}', "$.data")
    assert [tuple(one) for one in told] == [
        ("$.data.a.currency", 'is none of "EUR"'),
        ("$.data.a.for", 'is not of type "string"'),
        ("$.data.b", 'is none of "EUR"'),
    ]


def test_of_many_violations_the_first_are_told(tmp_path: Path) -> None:
    validate = compile_in(tmp_path, {"items": {"type": "string"}})
    told = validate(json.dumps([1] * 1000).encode(), "$")
    assert [one.path for one in told] == [f"$[{index}]" for index in range(MOST)]


def test_one_bad_item_among_very_many_is_found(tmp_path: Path) -> None:
    validate = compile_in(tmp_path, {"items": {"type": "number"}})
    data = json.dumps([*[1] * 200_000, "x", 1]).encode()
    assert [one.path for one in validate(data, "$")] == ["$[200000]"]


def test_large_integers_are_exact_up_to_a_number_of_them(tmp_path: Path) -> None:
    validate = compile_in(tmp_path, {"uniqueItems": True})
    for count, fits in ((1000, True), (1200, False)):
        data = json.dumps([10**18 + index for index in range(count)]).encode()
        assert (validate(data, "$") == ()) is fits


def test_when_the_steps_are_used_up_the_whole_is_told(tmp_path: Path) -> None:
    validate = compile_in(
        tmp_path, {"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": False}
    )

    def told(names: int) -> str:
        [one] = validate(
            json.dumps({f"x{index}": None for index in range(names)} | {"y": 1}).encode(), "$"
        )
        return one.message

    assert told(50_000) == "is not allowed"
    assert told(250_000) == "does not fit the schema"


def test_of_the_data_nothing_is_told_but_names(tmp_path: Path) -> None:
    validate = compile_in(
        tmp_path, {"additionalProperties": {"enum": ["x" * 10_000], "type": "null"}}
    )
    told = validate(json.dumps({"name" * 1000: "hunter2" * 1000}).encode(), "$")
    assert told
    for one in told:
        assert "hunter2" not in one.message
        assert len(one.message) <= LONGEST_MESSAGE
        assert len(one.path) < 100


def _nested(levels: int) -> Any:
    value: Any = {"child": None, "z": 1}
    for _ in range(levels):
        value = {"child": value, "z": 1}
    return value


_BRANCHES = [
    {"properties": {"child": {"$ref": "#"}, "z": {"const": kind}}, "required": ["child"]}
    for kind in (7, 8, 9)
]
HOSTILE: list[tuple[str, Any, bytes]] = [
    ("backtracking", {"pattern": "^(a+)+$"}, b'"' + b"a" * 1_000_000 + b'!"'),
    (
        "unique objects",
        {"uniqueItems": True},
        json.dumps([{"a": i} for i in range(80_000)]).encode(),
    ),
    (
        "unique near-integers",
        {"uniqueItems": True},
        b"[" + b",".join(b"%d" % (10**18 + i) for i in range(50_000)) + b"]",
    ),
    (
        "unique long integers",
        {"uniqueItems": True},
        b"[" + b",".join(b"%d" % (10**300 + i) for i in range(3_000)) + b"]",
    ),
    ("all items wrong", {"items": {"type": "string"}}, b"[" + b"1," * 200_000 + b"1]"),
    (
        "all items wrong in anyOf",
        {"anyOf": [{"type": "null"}, {"items": {"type": "string"}}]},
        b"[" + b"1," * 200_000 + b"1]",
    ),
    (
        "all members wrong",
        {"patternProperties": {"x$": {"type": "null"}}, "additionalProperties": False},
        json.dumps({f"k{i}": 1 for i in range(80_000)}).encode(),
    ),
    ("recursion in anyOf", {"anyOf": _BRANCHES}, json.dumps(_nested(60)).encode()),
    ("recursion in oneOf", {"oneOf": _BRANCHES}, json.dumps(_nested(60)).encode()),
    ("a long text shown", {"type": "null"}, b'"' + b"a" * 1_000_000 + b'"'),
    ("deep", {"items": {"$ref": "#"}, "minItems": 1}, b"[" * 900 + b"]" * 900),
]


@pytest.mark.parametrize(
    ("schema", "data"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_hostile_data_costs_little(tmp_path: Path, schema: Any, data: bytes) -> None:
    validate = compile_in(tmp_path, schema)
    with bounded(3.0):
        assert len(validate(data, "$")) <= MOST


def test_violations_without_number_cost_no_memory(tmp_path: Path) -> None:
    validate = compile_in(tmp_path, {"items": {"type": "string"}})
    data = json.dumps([1] * 100_000).encode()
    with within_memory(16 << 20):
        assert len(validate(data, "$")) == MOST


def test_a_schema_judges_in_several_threads_at_once(tmp_path: Path) -> None:
    validate = compile_in(tmp_path, {"items": {"type": "string"}})
    good, bad = b'["a"]', b"[1]"
    told: list[int] = []

    def judge() -> None:
        told.extend(len(validate(data, "$")) for data in (good, bad) * 200)

    threads = [threading.Thread(target=judge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0] * 800 + [1] * 800
