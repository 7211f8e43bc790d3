"""Schemas, bodies and responses in JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import (
    Manifest,
    OpenApiBody,
    OpenApiEncoding,
    OpenApiProvider,
    SchemaValidator,
)
from ccos.importers.openapi import import_openapi, schemas

WHERE = "https://a.example/openapi.json"


def single(document: dict[str, Any]) -> Manifest:
    found = import_openapi(document, location=WHERE)
    assert found.quarantined == ()
    (capability,) = found.capabilities
    return capability


def document(operation: dict[str, Any], components: Any = None, version: str = "3.0.3") -> Any:
    return {
        "openapi": version,
        "info": {"title": "Zoo", "version": "1"},
        "paths": {"/x": {"post": operation}},
        "components": {"schemas": components or {}},
    }


def posting(schema: Any, components: Any = None, version: str = "3.0.3", **body: Any) -> Manifest:
    content = {"application/json": {"schema": schema}}
    operation = {"requestBody": {"required": True, "content": content, **body}}
    return single(document(operation, components, version))


def translated(schema: Any, version: str = "3.0.3") -> Any:
    """The schema of a parameter after translation."""
    entry = {"name": "p", "in": "query", "schema": schema}
    capability = single(document({"parameters": [entry]}, version=version))
    assert isinstance(capability.input_schema, dict)
    return capability.input_schema["properties"]["p"]


def answering(schema: Any, components: Any = None) -> Any:
    responses = {"200": {"content": {"application/json": {"schema": schema}}}}
    return single(document({"responses": responses}, components)).output_schema


def body_of(capability: Manifest) -> OpenApiBody:
    assert isinstance(capability.provider, OpenApiProvider)
    assert capability.provider.body is not None
    return capability.provider.body


def inputs(capability: Manifest) -> dict[str, Any]:
    assert isinstance(capability.input_schema, dict)
    return capability.input_schema


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"description": "d", "allOf": [{"type": "string"}], "nullable": True},
            {
                "description": "d",
                "anyOf": [{"description": "d", "allOf": [{"type": "string"}]}, {"type": "null"}],
            },
        ),
        ({"nullable": True}, {}),
        (
            {"type": "number", "minimum": 3, "exclusiveMinimum": True},
            {"type": "number", "exclusiveMinimum": 3},
        ),
        (
            {"type": "number", "maximum": 3, "exclusiveMaximum": False},
            {"type": "number", "maximum": 3},
        ),
        ({"type": "number", "exclusiveMaximum": 3}, {"type": "number", "exclusiveMaximum": 3}),
        (
            {"type": "array", "items": [{"type": "string"}], "additionalItems": False},
            {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
        ),
        (
            {"type": "string", "example": "x", "xml": {}, "x-y": 1, "externalDocs": {}},
            {"type": "string", "examples": ["x"]},
        ),
        ({"type": "string", "description": 5, "title": "T"}, {"type": "string", "title": "T"}),
        ({"type": "int"}, {"type": "integer"}),
        (
            {"type": "object", "required": True, "properties": {"a": {}}},
            {"type": "object", "properties": {"a": {}}},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string", "nullable": True}},
            {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        ),
    ],
)
def test_old_dialects(old: Any, new: Any) -> None:
    assert translated(old) == new


def test_new_dialects_pass() -> None:
    schema = {
        "type": ["object", "null"],
        "if": {"required": ["a"]},
        "then": {"properties": {"b": {"const": 1}}},
        "patternProperties": {"^x": {"prefixItems": [True]}},
        "dependentSchemas": {"a": {"not": {"type": "null"}}},
    }
    assert translated(schema, "3.1.0") == schema


def test_keywords_beside_a_reference() -> None:
    schema = {
        "$ref": "#/components/schemas/A",
        "description": "d",
        "maxLength": 1,
        "nullable": True,
    }
    old = posting({"type": "object", "properties": {"a": schema}}, {"A": {"type": "string"}})
    reference = {"$ref": "#/$defs/A", "description": "d"}
    assert inputs(old)["properties"]["a"] == {
        "description": "d",
        "anyOf": [reference, {"type": "null"}],
    }
    new = posting(
        {"type": "object", "properties": {"a": schema}}, {"A": {"type": "string"}}, "3.1.0"
    )
    assert inputs(new)["properties"]["a"]["anyOf"][0] == reference | {"maxLength": 1}


def test_recursion_stays_recursion() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/components/schemas/Node"}, "v": {"type": "integer"}},
    }
    capability = posting({"$ref": "#/components/schemas/Node"}, {"Node": node})
    assert list(inputs(capability)["$defs"]) == ["Node"]
    accepts = SchemaValidator(capability.input_schema).accepts
    assert accepts({"v": 1, "next": {"v": 2, "next": {"v": 3}}})
    assert not accepts({"v": 1, "next": {"v": 2, "next": {"v": "three"}}})


def test_references_to_any_place() -> None:
    components = {
        "A": {"type": "object", "properties": {"a/b": {"type": "integer"}}},
        "C D": {"type": "boolean"},
        "Loop": {"$ref": "#/components/schemas/Loop"},
    }
    schema = {
        "type": "object",
        "properties": {
            "x": {"$ref": "#/components/schemas/A/properties/a~1b"},
            "y": {"$ref": "#/components/schemas/C%20D"},
            "z": {
                "$ref": "#/paths/~1x/post/requestBody/content/application~1json/schema/properties/y"
            },
        },
    }
    accepts = SchemaValidator(posting(schema, components).input_schema).accepts
    assert accepts({"x": 1, "y": True, "z": False})
    assert not accepts({"x": "1"})
    assert not accepts({"y": 1})
    assert not accepts({"z": 1})


def test_what_is_read_only_is_not_asked_for() -> None:
    base = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {"id": {"$ref": "#/components/schemas/Id"}, "name": {"type": "string"}},
    }
    components = {
        "Id": {"type": "integer", "readOnly": True},
        "Base": base,
        "Pet": {
            "allOf": [{"$ref": "#/components/schemas/Base"}],
            "properties": {"secret": {"type": "string", "writeOnly": True}},
            "required": ["secret", "id"],
        },
    }
    pet = {"$ref": "#/components/schemas/Pet"}
    sent = inputs(posting(pet, components))
    assert set(sent["properties"]) == {"secret", "name"}
    assert sorted(sent["required"]) == ["name", "secret"]
    pets = posting({"type": "array", "items": pet}, components)
    assert list(inputs(pets)["$defs"]["Base"]["properties"]) == ["name"]
    listed = SchemaValidator(pets.input_schema)
    assert listed.accepts({"body": [{"name": "a", "secret": "s"}]})
    assert not listed.accepts({"body": [{"name": "a"}]})
    answered = SchemaValidator(answering(pet, components))
    assert answered.accepts({"id": 1, "name": "a"})
    assert not answered.accepts({"name": "a"})


def test_definitions_beyond_the_limit_are_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    components = {
        f"S{number}": {
            "type": "object",
            "properties": {
                "next": {"$ref": f"#/components/schemas/S{number + 1}"},
                "v": {"type": "string"},
            },
        }
        for number in range(20)
    } | {"S20": {"type": "integer"}}
    value: Any = {"v": 1}
    for _ in range(15):
        value = {"next": value}
    whole = answering({"$ref": "#/components/schemas/S0"}, components)
    assert not SchemaValidator(whole).accepts(value)
    monkeypatch.setattr(schemas, "DEFINITIONS_BYTES", 500)
    cut = answering({"$ref": "#/components/schemas/S0"}, components)
    assert len(cut["$defs"]) < 10
    assert SchemaValidator(cut).accepts(value)
    assert not SchemaValidator(cut).accepts({"v": 1})


def test_an_object_body_becomes_arguments() -> None:
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Named"},
            {
                "type": "object",
                "required": ["age"],
                "properties": {"age": {"type": "integer"}, "e mail": {}},
            },
        ]
    }
    named = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    capability = posting(schema, {"Named": named})
    assert body_of(capability) == OpenApiBody(
        content_type="application/json",
        properties={"name": "name", "age": "age", "e_mail": "e mail"},
        required=True,
    )
    assert sorted(inputs(capability)["required"]) == ["age", "name"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {}},
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {}}, "oneOf": [{}]},
        {"type": "object", "properties": {"a": {}}, "minProperties": 1},
        {"type": "object", "properties": {"a b": {}, "a_b": {}}},
        {
            "type": "object",
            "properties": {"a": {}},
            "allOf": [{"properties": {"a": {"type": "string"}}}],
        },
        {"type": "object", "properties": {"id": {}}},
        {"$ref": "#/components/schemas/Loop"},
        {},
    ],
)
def test_any_other_body_is_one_argument(schema: Any) -> None:
    content = {"application/json": {"schema": schema}}
    operation = {
        "parameters": [{"name": "id", "in": "query", "schema": {}}],
        "requestBody": {"required": True, "content": content, "description": "The thing."},
    }
    loop = {"allOf": [{"$ref": "#/components/schemas/Loop"}], "properties": {"a": {}}}
    capability = single(document(operation, {"Loop": loop}))
    assert body_of(capability).argument == "body"
    assert inputs(capability)["required"] == ["body"]
    assert inputs(capability)["properties"]["body"]["description"] == "The thing."


def test_when_a_body_is_required() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {}, "b": {}}}
    content = {"application/json": {"schema": schema}}
    unsaid = single(document({"requestBody": {"content": content}}))
    assert inputs(unsaid)["required"] == ["a"]
    optional = single(document({"requestBody": {"content": content, "required": False}}))
    assert "required" not in inputs(optional)
    accepts = SchemaValidator(optional.input_schema).accepts
    assert accepts({})
    assert accepts({"a": 1})
    assert not accepts({"b": 1})


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        (["text/plain", "application/vnd.api+json"], "application/vnd.api+json"),
        (
            ["multipart/form-data", "application/x-www-form-urlencoded"],
            "application/x-www-form-urlencoded",
        ),
        (["application/xml"], "application/xml"),
        (["image/png", "text/csv"], "text/csv"),
        (["application/zip"], "application/zip"),
        (["*/*"], "application/octet-stream"),
        ([""], "application/json"),
        (["application/json-patch+json", "application/json"], "application/json"),
        (["application/json; charset=utf-8"], "application/json; charset=utf-8"),
    ],
)
def test_media_types_of_bodies(types: list[str], chosen: str) -> None:
    content = {name: {"schema": {"type": "string"}} for name in types}
    capability = single(document({"requestBody": {"content": content}}))
    assert body_of(capability).content_type == chosen
    schema = inputs(capability)["properties"]["body"]
    assert schema["type"] == "string"
    raw = ("application/zip", "application/octet-stream")
    assert ("contentEncoding" in schema) is (chosen in raw)


def test_files_in_a_form() -> None:
    schema = {
        "type": "object",
        "properties": {
            "photo": {"type": "string", "format": "binary", "description": "A photo."},
            "more": {"type": "array", "items": {"type": "string", "format": "binary"}},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }
    media = {
        "schema": schema,
        "encoding": {"photo": {"contentType": "image/png, image/gif"}, "tags": {"explode": False}},
    }
    capability = single(document({"requestBody": {"content": {"multipart/form-data": media}}}))
    properties = inputs(capability)["properties"]
    assert properties["photo"] == {
        "type": "string",
        "contentEncoding": "base64",
        "description": "A photo.",
    }
    assert properties["more"]["items"]["contentEncoding"] == "base64"
    assert body_of(capability).encoding == {
        "photo": OpenApiEncoding(content_type="image/png"),
        "tags": OpenApiEncoding(explode=False),
    }


def swagger(parameters: list[Any], **operation: Any) -> Manifest:
    return single(
        {
            "swagger": "2.0",
            "host": "a.example",
            "paths": {"/x": {"post": {"parameters": parameters, **operation}}},
            "definitions": {
                "Pet": {
                    "type": "object",
                    "properties": {"name": {"type": "string", "x-nullable": True}},
                }
            },
        }
    )


def test_swagger_bodies() -> None:
    body = {"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}
    capability = swagger([body], consumes=["application/xml", "application/json"])
    assert body_of(capability).content_type == "application/json"
    assert inputs(capability)["properties"] == {"name": {"type": ["string", "null"]}}


def test_swagger_forms() -> None:
    def entry(name: str, kind: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "in": "formData", "type": kind, **fields}

    plain = swagger(
        [
            entry("a", "string", required=True),
            entry("b", "array", items={"type": "string"}),
            entry("c", "array", items={"type": "string"}, collectionFormat="multi"),
        ]
    )
    assert body_of(plain).content_type == "application/x-www-form-urlencoded"
    assert inputs(plain)["required"] == ["a"]
    assert body_of(plain).encoding["b"].explode is False
    assert body_of(plain).encoding["c"].explode is True
    upload = swagger([entry("f", "file", description="The file.")])
    assert body_of(upload).content_type == "multipart/form-data"
    assert inputs(upload)["properties"]["f"] == {
        "type": "string",
        "contentEncoding": "base64",
        "description": "The file.",
    }


def responses(**by_code: Any) -> Any:
    return single(
        document({"responses": {code.removeprefix("c"): value for code, value in by_code.items()}})
    ).output_schema


def test_results() -> None:
    def json(schema: Any) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": schema}}}

    text, number = json({"type": "string"}), json({"type": "number"})
    nothing: dict[str, Any] = {"description": "done"}
    assert responses(c200=text, c404=number) == {"type": "string"}
    assert responses(c200=text, c201=number) == {"anyOf": [{"type": "string"}, {"type": "number"}]}
    assert responses(c200=text, c204=nothing) == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert responses(c200=text, c202=nothing) is None
    assert responses(c204=nothing) is None
    assert responses(default=text) == {"type": "string"}
    assert responses(c404=text) is None
    assert responses(c2XX=text) == {"type": "string"}
    assert responses(c200={"content": {"text/html": {"schema": {"type": "string"}}}}) is None


def test_swagger_results() -> None:
    pet = {"200": {"schema": {"$ref": "#/definitions/Pet"}}}
    schema = swagger([], responses=pet).output_schema
    assert schema is not None
    assert SchemaValidator(schema).accepts({"name": None})
    assert not SchemaValidator(schema).accepts({"name": 1})
    assert swagger([], responses=pet, produces=["application/xml"]).output_schema is None
    file = {"200": {"schema": {"type": "file"}}}
    assert swagger([], responses=file).output_schema is None


@pytest.mark.parametrize(
    ("schema", "place", "reason"),
    [
        ({"$ref": "https://b.example/s.json"}, "", "another document"),
        ({"$ref": "#Pet"}, "", "leads nowhere"),
        ({"$ref": "#/components/schemas/Missing"}, "", "leads nowhere"),
        ({"$ref": "#/info/title"}, "", "leads to no schema"),
        ({"$dynamicRef": "#x"}, "", "leads nowhere"),
        ({"items": "x"}, "/items", "is a text"),
        ({"items": {"type": "unicorn"}}, "/items/type", "'unicorn' is no type"),
        ({"pattern": "("}, "/pattern", "no regular expression"),
        ({"pattern": 5}, "/pattern", "a pattern is text"),
        ({"minLength": "many"}, "/minLength", "'minLength' cannot be 'many'"),
        ({"maxLength": -1}, "/maxLength", "cannot be -1"),
        ({"multipleOf": 0}, "/multipleOf", "cannot be 0"),
        ({"enum": []}, "/enum", "cannot be []"),
        ({"patternProperties": {"(": {}}}, "/patternProperties/(", "no regular expression"),
        ({"allOf": [5]}, "/allOf/0", "is a number"),
    ],
)
def test_what_no_schema_can_say_is_left_open(schema: Any, place: str, reason: str) -> None:
    operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    found = import_openapi(document(operation), location=WHERE)
    (capability,) = found.capabilities
    assert SchemaValidator(capability.input_schema).accepts({"body": ["anything"]})
    (note,) = found.notes
    assert note.place == "/paths/~1x/post/requestBody/content/application~1json/schema" + place
    assert reason in note.reason
