"""Arguments as JSON Schema, part by part."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import SchemaValidator
from ccos.importers.graphql import ImportedApi

from .schemas import LIBRARY
from .test_import import imported, named


def schema_of(text: str) -> Any:
    return named(imported(text), "root").input_schema


def property_of(used: str, definitions: str = "") -> Any:
    return schema_of(f"type Query {{ root(a: {used}): Int }} {definitions}")["properties"]["a"]


@pytest.mark.parametrize(
    ("used", "schema"),
    [
        ("Int!", {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
        ("Float!", {"type": "number"}),
        ("String!", {"type": "string"}),
        ("Boolean!", {"type": "boolean"}),
        ("ID!", {"type": ["string", "integer"]}),
        ("String", {"type": ["string", "null"]}),
        ("ID", {"type": ["string", "integer", "null"]}),
        ("[String!]!", {"type": "array", "items": {"type": "string"}}),
        ("[String]", {"type": ["array", "null"], "items": {"type": ["string", "null"]}}),
        (
            "[[Float!]]!",
            {"type": "array", "items": {"type": ["array", "null"], "items": {"type": "number"}}},
        ),
    ],
)
def test_built_in_scalars_lists_and_null(used: str, schema: Any) -> None:
    assert property_of(used) == schema


def test_what_must_be_given() -> None:
    text = 'type Query { root(a: Int! b: Int c: Int! = 1 "Words" d: String = "x"): Int }'
    schema = schema_of(text)
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["c"]["default"] == 1
    assert schema["properties"]["d"] == {
        "type": ["string", "null"],
        "description": "Words",
        "default": "x",
    }
    validator = SchemaValidator(schema)
    assert validator.accepts({"a": 1})
    assert validator.accepts({"a": 1, "b": None, "c": 2})
    assert not validator.accepts({"a": 1, "c": None})
    assert not validator.accepts({"a": 1, "e": 1})


@pytest.mark.parametrize(
    ("default", "value"),
    [
        ("[1, 2]", [1, 2]),
        ("{a: X, b: [null, 1.5]}", {"a": "X", "b": [None, 1.5]}),
        ('"""block"""', "block"),
        ("true", True),
        ("1e400", None),
        ("[" * 60 + "]" * 60, None),
    ],
)
def test_defaults_are_json_data(default: str, value: Any) -> None:
    found = property_of(f"Own = {default}", "scalar Own")
    assert found.get("default") == value


def test_enums_and_scalars_of_the_api() -> None:
    schema = schema_of(
        """
        type Query { root(a: E!, b: [E], c: Own!, d: Own, e: Time!): Int }
        "Letters" enum E { X Y @deprecated }
        "Anything" scalar Own
        scalar Time @specifiedBy(url: "https://tools.ietf.org/html/rfc3339")
        """
    )
    assert schema["$defs"]["E"] == {"enum": ["X", "Y"], "description": "Letters"}
    assert schema["$defs"]["Time"] == {"type": "string", "format": "date-time"}
    accepts = SchemaValidator(schema).accepts
    needed = {"a": "X", "c": {"any": 1}, "e": "2026-01-01T00:00:00Z"}
    assert accepts(needed | {"b": ["Y", None], "d": None})
    assert not accepts(needed | {"a": "Z"})
    assert not accepts(needed | {"c": None})


def test_input_objects_may_contain_themselves() -> None:
    schema = named(imported(LIBRARY), "query.books").input_schema
    accepts = SchemaValidator(schema).accepts
    assert accepts({"filter": {"not": {"and": [{"title": "x", "genres": ["FACT"]}]}}})
    assert not accepts({"filter": {"not": {"and": [{"unknown": 1}]}}})
    assert not accepts({"filter": {"published": {"to": "2026-01-01"}}})


def test_one_of_several() -> None:
    accepts = SchemaValidator(named(imported(LIBRARY), "query.book").input_schema).accepts
    assert accepts({"key": {"id": 1}})
    assert accepts({"key": {"isbn": "x"}})
    assert not accepts({"key": {}})
    assert not accepts({"key": {"id": 1, "isbn": "x"}})
    assert not accepts({"key": {"id": None}})


def test_deprecated_arguments_say_so() -> None:
    schema = schema_of("type Query { root(a: Int @deprecated, b: Int): Int }")
    assert schema["properties"]["a"]["deprecated"] is True
    assert "deprecated" not in schema["properties"]["b"]


def web(types: int, fields: int) -> ImportedApi:
    """Input objects each of which can hold many others, as generated filters do."""
    lines = ["type Query { root(a: In0): Int }"]
    for number in range(types):
        entries = " ".join(f"f{one}: In{(number * fields + one) % types}" for one in range(fields))
        lines.append(f"input In{number} {{ n: Int {entries} }}")
    return imported("\n".join(lines))


def test_a_web_of_inputs_is_spelled_out_as_far_as_it_is_small() -> None:
    schema: Any = named(web(40, 20), "root").input_schema
    assert all("properties" in one for one in schema["$defs"].values())
    api = web(300, 20)
    schema = named(api, "root").input_schema
    assert "properties" in schema["$defs"]["In0"]
    opened = [name for name, one in schema["$defs"].items() if one == {"type": "object"}]
    assert len(opened) > 100
    assert any("input types are not spelled out" in note.reason for note in api.notes)
    assert SchemaValidator(schema).accepts({"a": {"n": 1}})


def test_a_huge_enum_is_not_listed() -> None:
    values = " ".join(f"V{number}" for number in range(1_001))
    api = imported(f"type Query {{ root(a: E): Int }} enum E {{ {values} }}")
    accepts = SchemaValidator(named(api, "root").input_schema).accepts
    assert accepts({"a": "V1"})
    assert not accepts({"a": "not a name"})
    (note,) = api.notes
    assert note.reason == "its 1001 values are not listed"
