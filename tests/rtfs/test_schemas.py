from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.rtfs import prelude
from ccos.rtfs.emitting.constants import repr_data
from ccos.rtfs.reader import read
from ccos.rtfs.schemas import (
    NotRepresentableError,
    from_json_schema,
    shape_of,
    to_json_schema,
)
from ccos.rtfs.typedata import type_data
from ccos.rtfs.types import Type, read_type, type_form, type_text

from .generated_types import types


def type_of(text: str) -> Type:
    return read_type(read(text).forms[0])


def accepts(kind: Type, value: Any) -> bool:
    """Whether the prelude says that JSON data, as it comes from the host, is of a type."""
    data = eval(repr_data(type_data(kind)), vars(prelude))
    return prelude.mismatch(data, prelude.shaped(value, shape_of(kind)), "it") is None


@given(types)
@settings(max_examples=200, deadline=None)
def test_a_type_reads_back_from_its_text(kind: Type) -> None:
    assert read_type(type_form(kind)) == kind
    assert type_of(type_text(kind)) == kind


@given(types)
@settings(max_examples=200, deadline=None)
def test_a_type_reads_back_from_its_schema(kind: Type) -> None:
    schema = to_json_schema(kind)
    jsonschema_rs.meta.validate(schema)
    found = from_json_schema(json.loads(json.dumps(schema)))
    assert found.type == kind
    assert found.lost == ()


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-60, 60), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner)
    ),
    max_leaves=5,
)
keywords: dict[str, st.SearchStrategy[Any]] = {
    "minimum": st.integers(-5, 5),
    "exclusiveMaximum": st.integers(-5, 5),
    "minLength": st.integers(0, 3),
    "maxLength": st.integers(0, 3),
    "pattern": st.sampled_from(["^a", "b$", "(?=a)", "("]),
    "minItems": st.integers(0, 3),
    "maxProperties": st.integers(0, 3),
    "required": st.lists(st.sampled_from(["a", "b", "c d"]), unique=True),
    "multipleOf": st.integers(1, 3),
    "uniqueItems": st.booleans(),
    "enum": st.lists(st.sampled_from([1, "a", None, True]), min_size=1, unique_by=repr),
    "const": st.sampled_from([1, "a", None]),
    "format": st.just("email"),
    "nullable": st.booleans(),
    "description": st.just("text"),
}
words = st.sampled_from(["integer", "number", "string", "boolean", "null", "array", "object"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            **keywords,
            "type": st.one_of(words, st.lists(words, min_size=1, max_size=3, unique=True)),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(st.sampled_from(["a", "b", "c d"]), inner),
            "additionalProperties": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    )


@given(
    st.recursive(st.one_of(st.booleans(), schemas(st.booleans())), schemas, max_leaves=4), values
)
@settings(max_examples=300, deadline=None)
def test_a_type_is_never_stricter_than_its_schema(schema: Any, value: Any) -> None:
    if isinstance(schema, dict) and not _readable(schema):
        return
    kind = from_json_schema(schema).type
    if jsonschema_rs.is_valid(_without_untyped(schema), value):
        assert accepts(kind, value), type_text(kind)


def _readable(schema: dict[str, Any]) -> bool:
    try:
        jsonschema_rs.validator_for(_without_untyped(schema))
    except jsonschema_rs.ValidationError:
        return False
    return True


def _without_untyped(schema: Any) -> Any:
    """The schema with the liberties of the conversion: records need no ``type``, as defined."""
    if isinstance(schema, list):
        return [_without_untyped(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _without_untyped(value) for key, value in schema.items()}
    for key in ("properties",):
        if key in schema:
            changed[key] = {name: _without_untyped(one) for name, one in schema[key].items()}
    if "type" not in schema and ("properties" in schema or "additionalProperties" in schema):
        changed["type"] = "object"
    return changed


@pytest.mark.parametrize(
    ("schema", "text", "lost"),
    [
        (True, ":any", []),
        ({}, ":any", []),
        (False, ":never", []),
        ({"type": "integer", "minimum": 1}, "[:and :int [:>= 1]]", []),
        ({"type": ["string", "null"]}, ":string?", []),
        ({"type": "string", "nullable": True}, ":string?", []),
        ({"type": ["string", "integer"]}, "[:union :string :int]", []),
        ({"enum": ["a", None]}, '[:optional [:enum "a"]]', []),
        ({"type": "array", "items": {"type": "number"}}, "[:vector :float]", []),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1},
            "[:tuple :int]",
            [],
        ),
        (
            {"properties": {"a": {"type": "integer"}, "b c": {}}, "required": ["a"]},
            '[:map [:a :int] ["b c" :any ?]]',
            [],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "[:dict :string :int]",
            [],
        ),
        (
            {"type": "object", "properties": {}, "additionalProperties": False},
            "[:map [:* :never]]",
            [],
        ),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "[:union :string :int]", []),
        ({"type": "integer", "multipleOf": 2}, ":int", ["/: multipleOf"]),
        ({"minimum": 3}, ":any", ["/: minimum"]),
        (
            {"type": "number", "minimum": 3, "exclusiveMinimum": True},
            "[:and :float [:> 3]]",
            [],
        ),
        ({"type": "string", "pattern": "(?=a)"}, ":string", ["/: pattern"]),
        ({"type": "string", "format": "email"}, ":string", ["/: format"]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, ":int", []),
        (
            {"type": "array", "items": {"$ref": "#"}},
            "[:vector [:vector :any]]",
            ["/items/items: $ref (recursive)"],
        ),
        ({"type": "strange"}, ":any", ["/: type"]),
    ],
)
def test_a_schema_becomes_a_type(schema: Any, text: str, lost: list[str]) -> None:
    found = from_json_schema(schema)
    assert (type_text(found.type), list(found.lost)) == (text, lost)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        (":int", {"type": "integer"}),
        (":int?", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (":keyword", {"type": "string", "x-rtfs-type": ":keyword"}),
        (
            "[:tuple :int]",
            {"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1},
        ),
        ("[:enum :a :b]", {"enum": ["a", "b"], "x-rtfs-type": "[:enum :a :b]"}),
        ("[:and :int [:> 0]]", {"allOf": [{"type": "integer"}, {"exclusiveMinimum": 0}]}),
        (
            "[:and :string [:length 2]]",
            {"allOf": [{"type": "string"}, {"minLength": 2, "maxLength": 2}]},
        ),
        (
            "[:map [:a :int] [:b :string ?]]",
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
                "required": ["a"],
            },
        ),
    ],
)
def test_a_type_becomes_a_schema(text: str, schema: Any) -> None:
    assert to_json_schema(type_of(text)) == schema


@pytest.mark.parametrize(
    ("text", "data", "shown"),
    [
        (":keyword", "a", ":a"),
        (":int", 2.0, "2"),
        (":float", 2.0, "2.0"),
        ("[:vector :keyword]", ["a", "b"], "[:a :b]"),
        ("[:tuple :string :symbol]", ["a", "b"], '["a" b]'),
        ("[:dict :string :int]", {"a": 1.0}, '{"a" 1}'),
        ("[:dict :keyword :any]", {"a": 1.0}, "{:a 1.0}"),
        ("[:map [:at :timestamp ?] [:* :keyword]]", {"at": None, "k": "v"}, "{:at nil :k :v}"),
        ("[:and [:vector :uuid] [:count 1]]", ["not a list of one"], "[not a list of one]"),
        ("[:enum :a :b]", "a", ":a"),
        (":string", "a", '"a"'),
        ("[:map [:a :string]]", {"a": "b"}, '{:a "b"}'),
    ],
)
def test_json_becomes_values_of_the_type(text: str, data: Any, shown: str) -> None:
    assert prelude.shown(prelude.shaped(data, shape_of(type_of(text)))) == shown


def test_named_types_become_definitions() -> None:
    names = {"Node": type_of("[:map [:next Node ?]]")}
    schema = to_json_schema(type_of("[:vector Node]"), names)
    assert schema["items"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"] == {"next": {"$ref": "#/$defs/Node"}}


def test_a_function_has_no_schema() -> None:
    with pytest.raises(NotRepresentableError):
        to_json_schema(type_of("[:map [:f :fn]]"))


def test_a_lying_annotation_is_not_believed() -> None:
    schema = {"type": "string", "x-rtfs-type": ":int"}
    assert type_text(from_json_schema(schema).type) == ":string"
