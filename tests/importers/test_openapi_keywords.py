"""Keywords and alternatives as published documents spell them."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import Manifest, OpenApiProvider, SchemaValidator
from ccos.importers.openapi import ImportedApi, import_openapi
from ccos.providers.openapi import preview_request


def imported(operation: dict[str, Any], schemas: Any = None) -> ImportedApi:
    document = {
        "openapi": "3.0.3",
        "info": {"title": "Zoo"},
        "servers": [{"url": "https://zoo.example"}],
        "paths": {"/x": {"post": operation}},
        "components": {"schemas": schemas or {}},
    }
    return import_openapi(document, location="zoo.json")


def only(found: ImportedApi) -> Manifest:
    assert found.quarantined == ()
    (capability,) = found.capabilities
    return capability


def body(schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def translated(schema: Any) -> tuple[Any, list[str]]:
    """The schema of a parameter after translation, and what was noted."""
    entry = {"name": "p", "in": "query", "schema": schema}
    found = imported({"parameters": [entry]})
    inputs = only(found).input_schema
    assert isinstance(inputs, dict)
    return inputs["properties"]["p"], [note.reason for note in found.notes]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "String"}, {"type": "string"}),
        ({"type": "datetime"}, {"type": "string", "format": "date-time"}),
        ({"type": "uuid", "format": "x"}, {"type": "string", "format": "x"}),
        ({"type": "string[]"}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "array[integer]"}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "List<int>"}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "string, null"}, {"type": ["string", "null"]}),
        ({"type": "string|number"}, {"type": ["string", "number"]}),
        ({"type": "integer or string"}, {"type": ["integer", "string"]}),
        ({"type": ["string", None]}, {"type": ["string", "null"]}),
        ({"type": ["string", "string"]}, {"type": ["string"]}),
        ({"type": "map"}, {"type": "object"}),
        ({"type": ""}, {}),
        ({"type": None}, {}),
        ({"minLength": "3", "maxLength": 5.0}, {"minLength": 3, "maxLength": 5}),
        ({"minimum": "-1.5"}, {"minimum": -1.5}),
        ({"minimum": None}, {}),
        ({"uniqueItems": "true"}, {"uniqueItems": True}),
        ({"enum": {"a": 1, "b": 2}}, {"enum": ["a", "b"]}),
        ({"pattern": "/^[a-z]+$/i"}, {"pattern": "^[a-z]+$"}),
        ({"pattern": r"^a\Z"}, {"pattern": "^a$"}),
        ({"pattern": r"^[\w-.]+$"}, {"pattern": r"^[\w\-.]+$"}),
        ({"additionalProperties": "false"}, {"additionalProperties": False}),
        ({"allOf": {"type": "string"}}, {"allOf": [{"type": "string"}]}),
        ({"anyOf": []}, {}),
        ({"type": "string", "nullable": "true"}, {"type": ["string", "null"]}),
        ({"type": ["string"], "nullable": True}, {"type": ["string", "null"]}),
        ({"required": ["a", 5, "a"]}, {"required": ["a"]}),
        ({"example": "x" * 300}, {}),
        ({"examples": [1, 2, 3, 4]}, {"examples": [1, 2, 3]}),
        ({"example": 1, "examples": {"a": {"value": 2}}}, {"examples": [1, 2]}),
    ],
)
def test_spellings(given: Any, expected: Any) -> None:
    assert translated(given) == (expected, [])


@pytest.mark.parametrize(
    ("given", "enum"),
    [
        ({"type": "string", "enum": [1, True, 1.5, None]}, ["1", "true", "1.5", None]),
        ({"type": "integer", "enum": ["1", "2"]}, [1, 2]),
        ({"type": "number", "enum": ["1.5"]}, [1.5]),
    ],
)
def test_members_of_another_type_are_read_as_the_type(given: Any, enum: Any) -> None:
    schema, notes = translated(given)
    assert schema["enum"] == enum
    assert notes == ["no member has the type of the schema, so all are read as that type"]


@pytest.mark.parametrize(
    "given",
    [
        {"type": "string", "enum": ["a", 1]},
        {"type": "integer", "enum": [1, 2.0]},
        {"type": "boolean", "enum": [True]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "integer", "enum": ["a", "b"]},
    ],
)
def test_members_that_fit_stay(given: Any) -> None:
    schema, notes = translated(given)
    assert schema["enum"] == given["enum"]
    assert notes == []


def test_patterns_that_grow_too_large_are_left_out() -> None:
    properties = {f"p{number}": {"pattern": f"^a{{1,{1000 + number}}}$"} for number in range(150)}
    schema, notes = translated({"properties": properties})
    kept = ["pattern" in one for one in schema["properties"].values()]
    assert kept[:50] == [True] * 50
    assert not kept[-1]
    assert all("makes the patterns too large" in note for note in notes)
    assert translated({"pattern": "^a{1,1000}$"})[1] == []


def pet(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string"}, **properties},
    }


def test_a_discriminator_tells_alternatives_apart() -> None:
    schemas = {"Cat": pet(lives={"type": "integer"}), "Dog": pet(tail={"type": "string"})}
    choice = {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "#/components/schemas/Cat", "dog": "Dog", "hound": "Dog", "x": 5},
        },
    }
    found = imported(body(choice), schemas)
    accepts = SchemaValidator(only(found).input_schema).accepts
    assert found.notes == ()
    assert accepts({"body": {"kind": "cat", "lives": 9}})
    assert accepts({"body": {"kind": "hound"}})
    assert not accepts({"body": {"kind": "cat", "lives": "nine"}})
    assert not accepts({"body": {"kind": "cow"}})


def test_a_part_that_tells_itself_is_left_alone() -> None:
    cat = pet() | {"properties": {"kind": {"enum": ["CAT"]}}}
    schemas = {
        "Cat": cat,
        "Tabby": {"allOf": [{"$ref": "#/components/schemas/Cat"}], "required": ["stripes"]},
        "Dog": pet(),
    }
    choice = {
        "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {name.lower(): f"#/components/schemas/{name}" for name in schemas},
        },
    }
    accepts = SchemaValidator(only(imported(body(choice), schemas)).input_schema).accepts
    assert accepts({"body": {"kind": "CAT"}})
    assert accepts({"body": {"kind": "dog"}})
    assert not accepts({"body": {"kind": "cat"}})


A = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
AB = {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}, "b": {}}}
B = {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}


@pytest.mark.parametrize(
    ("parts", "overlap"),
    [
        ([{"type": "string", "format": "a"}, {"type": "string", "format": "b"}], True),
        ([{"type": "number"}, {"type": "integer"}], True),
        ([{"type": "string"}, {"type": "string", "enum": ["x"]}], True),
        ([{"$ref": "#/components/schemas/A"}, AB], True),
        ([A, A], True),
        ([{"type": "array", "items": A}, {"type": "array", "items": AB}], True),
        ([{"type": "string", "enum": ["y"]}, {"type": "string", "enum": ["x"]}], False),
        ([{"type": "string"}, {"type": "integer"}], False),
        ([A, B], False),
        ([{**A, "additionalProperties": False}, AB], False),
        ([{"type": "string", "maxLength": 3}, {"type": "string", "minLength": 4}], False),
        ([{"type": "array", "items": A}, {"type": "array", "items": B}], False),
    ],
)
def test_alternatives_that_overlap_need_only_one(parts: list[Any], overlap: bool) -> None:
    found = imported(body({"oneOf": parts}), {"A": A})
    inputs = only(found).input_schema
    assert isinstance(inputs, dict)
    assert ("anyOf" in inputs["properties"]["body"]) is overlap
    assert ("oneOf" in inputs["properties"]["body"]) is not overlap
    assert [note.place.rpartition("/")[2] for note in found.notes] == ["oneOf"] * overlap


def test_a_property_that_is_asked_for_and_forgotten() -> None:
    schema = {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}}
    capability = only(imported(body(schema)))
    assert preview_request(capability, {"a": "x", "b": [1]})["body"] == '{"a":"x","b":[1]}'


def test_a_form_of_plain_text() -> None:
    capability = only(imported(body({"type": "string"}, "application/x-www-form-urlencoded")))
    assert preview_request(capability, {"body": "a=1&b=2"})["body"] == "a=1&b=2"


@pytest.mark.parametrize(
    ("content", "header", "expected"),
    [
        ({"application/json": "binary", "application/zip": "binary"}, None, "application/zip"),
        ({"application/octet-stream": "binary"}, ["application/x-tar"], "application/x-tar"),
        ({"application/octet-stream": "binary"}, ["application/json"], "application/octet-stream"),
        ({"application/octet-stream": "binary"}, ["a/b", "c/d"], "application/octet-stream"),
        ({"application/json": ""}, ["application/x-tar"], "application/json"),
    ],
)
def test_the_type_of_raw_bodies(content: Any, header: Any, expected: str) -> None:
    media = {
        name: {"schema": {"type": "string"} | ({"format": form} if form else {})}
        for name, form in content.items()
    }
    entry = {"name": "Content-Type", "in": "header", "schema": {"type": "string", "enum": header}}
    operation = {"requestBody": {"content": media}, "parameters": [entry] if header else []}
    provider = only(imported(operation)).provider
    assert isinstance(provider, OpenApiProvider)
    assert provider.body is not None
    assert provider.body.content_type == expected
    assert provider.parameters == ()


def test_a_choice_of_answers() -> None:
    listed = {"type": "string", "enum": ["text/csv", "application/json"]}
    entry = {"name": "accept", "in": "header", "schema": listed}
    capability = only(imported({"parameters": [entry]}))
    assert preview_request(capability, {"accept": "text/csv"})["headers"]["accept"] == "text/csv"
    assert preview_request(capability, {})["headers"]["accept"].startswith("application/json")
    plain = only(imported({"parameters": [entry | {"schema": {"type": "string"}}]}))
    assert isinstance(plain.provider, OpenApiProvider)
    assert plain.provider.parameters == ()


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (5, "not an object"),
        ({"required": True}, "no content"),
        ({"content": {"application/json": 5}}, "not described by an object"),
        ({"$ref": "other.json#/B"}, "not at hand"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
    ],
)
def test_a_body_that_is_not_described_is_any_json(request_body: Any, reason: str) -> None:
    found = imported({"requestBody": request_body})
    capability = only(found)
    assert reason in found.notes[0].reason
    assert preview_request(capability, {"body": [1]})["body"] == "[1]"
    assert imported({"requestBody": {"content": ["text/csv"]}}).notes == ()


def test_parameters_of_the_other_generation() -> None:
    entries = [
        {"name": "a", "in": "formData", "type": "string", "required": True},
        {"name": "q", "in": "Query", "schema": {"type": "integer"}},
    ]
    capability = only(imported({"parameters": entries}))
    shown = preview_request(capability, {"a": "x y", "q": 5})
    assert shown["url"] == "https://zoo.example/x?q=5"
    assert shown["body"] == "a=x%20y"
    whole = {"name": "b", "in": "body", "schema": {"type": "array"}}
    posted = only(imported({"parameters": {"named": whole}}))
    assert preview_request(posted, {"body": [1]})["body"] == "[1]"
