"""Data of any kind against schemas; and files of any kind as schemas."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.schemas import compile_in
from tests.fuzz.bodies import any_bodies, any_values, envelopes, json_values, spoiled
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.spent import bounded, told
from tests.ingest_rig import Rig, a_rig, a_snapshot, a_source

from hookpost.config.event_schemas import compiled
from hookpost.config.schema_files import SchemaMistake, Shelf
from hookpost.core.envelope import parse
from hookpost.core.event_types import EventType, EventTypes, Validate
from hookpost.core.model import Format, Stored
from hookpost.core.refusals import Refused
from hookpost.core.settings import Extractor
from hookpost.core.violations import LONGEST_MESSAGE, LONGEST_PATH, MOST

_TREE = {
    "oneOf": [
        {"type": ["null", "boolean"]},
        {"type": "object", "additionalProperties": {"$ref": "#"}, "maxProperties": 3},
        {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True},
        {"type": "string", "pattern": "^[a-z]*$", "maxLength": 8},
        {"type": "number", "multipleOf": 0.5, "maximum": 100},
    ]
}
SCHEMAS: list[Any] = [
    {},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    _TREE,
    {
        "anyOf": [{"items": {"$ref": "#"}, "contains": {"const": None}}, {"minProperties": 2}],
        "propertyNames": {"pattern": "^[^0-9]"},
        "not": {"enum": [1, "a", [], {}]},
        "unevaluatedProperties": {"type": "string"},
    },
    {"$schema": "http://json-schema.org/draft-07/schema#", "format": "date-time", "minLength": 1},
]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> list[Validate]:
    """The schemas, compiled."""
    return [compile_in(tmp_path_factory.mktemp("schemas"), schema) for schema in SCHEMAS]


@fuzzed(300)
@given(data=st.one_of(any_values, any_bodies, spoiled(any_values)))
def test_data_of_any_kind_is_judged_within_bounds(schemas: list[Validate], data: bytes) -> None:
    for validate in schemas:
        count("judgements")
        with bounded(SECONDS):
            violations = validate(data, "$.data")
        assert len(violations) <= MOST
        for one in violations:
            assert one.path.startswith("$.data")
            assert len(one.path) <= LONGEST_PATH
            assert len(one.message) <= LONGEST_MESSAGE
            json.dumps(one)


@fuzzed(200)
@given(value=json_values)
def test_what_the_other_library_takes_is_taken(schemas: list[Validate], value: Any) -> None:
    """Two programs read the same schema; those with formats and expressions are left out."""
    import jsonschema

    for index in (0, 1):
        count("comparisons")
        valid = jsonschema.Draft202012Validator(SCHEMAS[index]).is_valid(value)
        assert (not schemas[index](json.dumps(value).encode(), "$")) == valid


def _rig(validate: Validate, format: Format) -> Rig:
    types = EventTypes({"invoice.paid": EventType(schema="s", validate=validate)})
    value = Extractor(value="invoice.paid") if format is Format.RAW else None
    return a_rig(a_snapshot(a_source(event_types=types, format=format, event_type=value)))


@pytest.mark.parametrize("format", [Format.ENVELOPE, Format.RAW])
@fuzzed(100)
@given(body=st.one_of(envelopes(), any_bodies))
def test_a_body_of_any_kind_is_taken_or_refused(
    schemas: list[Validate], format: Format, body: bytes
) -> None:
    import asyncio

    async def send() -> None:
        for validate in schemas:
            count("bodies")
            rig = _rig(validate, format)
            answer = await rig.send(body)
            if isinstance(answer, Stored):
                assert validate(rig.outbox.last.body, "$") == ()
            else:
                assert isinstance(answer, Refused)
                assert answer.status in (400, 422), answer
                assert parse(body) is not None

    asyncio.run(send())


_keywords = st.sampled_from(
    ["type", "properties", "items", "$ref", "$id", "$anchor", "$schema", "pattern", "anyOf", "enum",
     "patternProperties", "$dynamicRef", "minimum", "format", "required", "$defs", "not", "if"]
)  # fmt: skip
_parts = st.recursive(
    st.sampled_from(["string", "#", "#/$defs/a", "schema.json", "other.json#a", "../x", "/etc/x",
                     "http://[", "(", "^a", "a{9999}", "http://json-schema.org/draft-07/schema#",
                     True, False, None, -1, 1.5, [], {}, "%ff", "#%zz", "\x00"]),
    lambda inner: st.dictionaries(_keywords, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@fuzzed(300)
@given(schema=_parts, data=json_values)
def test_a_schema_of_any_kind_judges_or_is_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, schema: Any, data: Any
) -> None:
    count("schemas")
    directory = tmp_path_factory.mktemp("any")
    with bounded(SECONDS):
        try:
            validate = compile_in(directory, schema, other={"$anchor": "a"})
        except SchemaMistake as mistake:
            told(mistake)
            return
        validate(json.dumps(data).encode(), "$")


@fuzzed(200)
@given(text=st.one_of(any_bodies, st.binary(max_size=40)))
def test_a_file_of_any_kind_is_a_schema_or_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    file: Path = tmp_path_factory.mktemp("file") / "schema.json"
    file.write_bytes(text)
    with bounded(SECONDS):
        try:
            compiled(Shelf().gather(file))
        except SchemaMistake as mistake:
            told(mistake)
