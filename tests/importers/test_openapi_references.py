"""References of every form, and into other documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import Manifest, OpenApiProvider, SchemaValidator
from ccos.errors import ImportDocumentError
from ccos.importers.openapi import ImportedApi, documents_under, import_openapi, read_document

WHERE = "https://a.example/api/openapi.json"
NUMBER = {"type": "integer"}


def described(schema: Any, version: str = "3.1.0", **fields: Any) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "openapi": version,
        "info": {"title": "Zoo"},
        "servers": [{"url": "https://zoo.example"}],
        "paths": {"/x": {"post": {"requestBody": body}}},
        **fields,
    }


def imported(document: dict[str, Any], **options: Any) -> ImportedApi:
    return import_openapi(document, location=WHERE, **options)


def only(found: ImportedApi) -> Manifest:
    assert found.quarantined == ()
    (capability,) = found.capabilities
    return capability


def wants_integer(found: ImportedApi) -> bool:
    """Whether the body is an integer and nothing else."""
    accepts = SchemaValidator(only(found).input_schema).accepts
    return accepts({"body": 1}) and not accepts({"body": "x"})


@pytest.mark.parametrize(
    "reference",
    [
        "#/components/schemas/N",
        "#/components/schemas/a~1b~0c",
        "#/components/schemas/a/b~0c",
        "#/components/schemas/with%20blank",
        "#/components/schemas/with blank",
        "#/components/schemas/100%25",
        "#/components/schemas/Outer/$defs/Inner",
        "#/components/schemas/List/items/0",
        "#numbers",
        "#dynamic",
        "https://schemas.example/number",
        "https://schemas.example/outer#/$defs/Inner",
        "/api/openapi.json#/components/schemas/N",
        "openapi.json#/components/schemas/N",
        # Misspelt, and clear all the same.
        "#components/schemas/N",
        "components/schemas/N",
        "/components/schemas/N",
        "N",
        "#/definitions/N",
    ],
)
def test_references(reference: str) -> None:
    schemas = {
        "N": NUMBER,
        "a/b~c": NUMBER,
        "with blank": NUMBER,
        "100%": NUMBER,
        "Outer": {"$id": "https://schemas.example/outer", "$defs": {"Inner": NUMBER}},
        "List": {"items": [NUMBER]},
        "Anchored": {"$anchor": "numbers", **NUMBER},
        "Dynamic": {"$dynamicAnchor": "dynamic", **NUMBER},
        "Identified": {"$id": "https://schemas.example/number", **NUMBER},
    }
    found = imported(described({"$ref": reference}, components={"schemas": schemas}))
    assert found.notes == ()
    assert wants_integer(found)


@pytest.mark.parametrize(
    "reference", ["https://[", "https://[#/x", "", "#", "#/x/%", "\0", "##", "#/1"]
)
def test_what_is_no_reference_is_left_open(reference: str) -> None:
    found = imported(
        described({"properties": {"a": {"$ref": reference}}}, **{"$self": "https://["})
    )
    assert SchemaValidator(only(found).input_schema).accepts({"a": 1})


def test_the_document_names_itself() -> None:
    document = described(
        {"$ref": "https://zoo.example/openapi#/components/schemas/N"},
        "3.2.0",
        components={"schemas": {"N": NUMBER}},
    )
    assert imported(document).notes
    assert wants_integer(imported({**document, "$self": "https://zoo.example/openapi"}))


def test_definitions_that_were_pasted_with_their_schema() -> None:
    pasted = {"$ref": "#/definitions/N", "definitions": {"N": NUMBER}}
    assert wants_integer(imported(described(pasted)))
    deep = {"allOf": [{"$ref": "#/$defs/N"}], "$defs": {"N": NUMBER}}
    assert wants_integer(imported(described(deep)))


def test_two_places_of_one_name_stay_two() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/components/schemas/N"},
            "b": {"$ref": "#/definitions/N"},
        },
    }
    document = described(
        schema, components={"schemas": {"N": NUMBER}}, definitions={"N": {"type": "boolean"}}
    )
    accepts = SchemaValidator(only(imported(document)).input_schema).accepts
    assert accepts({"a": 1, "b": True})
    assert not accepts({"b": 1})
    assert not accepts({"a": True})


@pytest.mark.parametrize(
    "schemas",
    [
        {"A": {"$ref": "#/components/schemas/A"}},
        {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}},
        {"A": {"properties": {"a": {"$ref": "#/components/schemas/A"}}}},
        {"A": {"anyOf": [{"$ref": "#/components/schemas/B"}]}, "B": {"not": {"$ref": "#/x"}}},
    ],
)
def test_circles_end(schemas: Any) -> None:
    reference = {"$ref": "#/components/schemas/A"}
    found = imported(described(reference, components={"schemas": schemas}))
    validator = SchemaValidator(only(found).input_schema)
    assert validator.accepts({"body": {"a": {"a": {}}}}) in (True, False)


def test_path_items_and_parts_of_operations() -> None:
    document = described(True)
    document["paths"] = {
        "/a": {"$ref": "#/components/pathItems/Item", "summary": "kept"},
        "/b": {"$ref": "#/paths/~1a"},
    }
    document["components"] = {
        "pathItems": {
            "Item": {
                "get": {
                    "parameters": [{"$ref": "#/components/parameters/Alias"}],
                    "responses": {"200": {"$ref": "#/components/responses/R"}},
                }
            }
        },
        "parameters": {
            "Alias": {"$ref": "#/components/parameters/P"},
            "P": {"name": "p", "in": "query", "schema": NUMBER},
        },
        "responses": {"R": {"content": {"application/json": {"schema": NUMBER}}}},
    }
    found = imported(document)
    assert [one.id for one in found.capabilities] == ["openapi.zoo.get.a", "openapi.zoo.get.b"]
    assert all(one.output_schema == NUMBER for one in found.capabilities)


OTHER = {
    "schemas": {"N": {"$ref": "#/more/M"}, "Far": {"$ref": "sub/far.json#/F"}},
    "more": {"M": NUMBER},
    "parameters": {"P": {"name": "p", "in": "query", "required": True, "schema": NUMBER}},
}


def external() -> dict[str, Any]:
    document = described({"$ref": "./other.json#/schemas/N"})
    operation = document["paths"]["/x"]["post"]
    operation["parameters"] = [{"$ref": "other.json#/parameters/P"}]
    return document


def test_a_document_that_is_at_hand() -> None:
    asked: list[str] = []

    def load(location: str) -> Any:
        asked.append(location)
        return OTHER

    found = imported(external(), load=load)
    assert asked == ["https://a.example/api/other.json"]
    assert found.notes == ()
    schema = only(found).input_schema
    assert isinstance(schema, dict)
    assert schema["required"] == ["p", "body"]
    accepts = SchemaValidator(schema).accepts
    assert accepts({"body": 1, "p": 1})
    assert not accepts({"body": "x", "p": 1})


def test_a_document_that_is_not_at_hand_is_left_open() -> None:
    found = imported(external(), load=lambda location: None)
    capability = only(found)
    assert [note.place for note in found.notes] == [
        "/paths/~1x/post/parameters/0",
        "/paths/~1x/post/requestBody/content/application~1json/schema",
    ]
    assert "incomplete" in capability.metadata
    assert "/paths/~1x/post/parameters/0" in capability.metadata["incomplete"]
    assert SchemaValidator(capability.input_schema).accepts({"body": "anything"})
    (lost,) = imported(external(), external="quarantine").quarantined
    assert lost.operation == "POST /x"
    assert lost.place == "/paths/~1x/post/parameters/0"
    assert "not at hand" in lost.reason


def test_a_document_that_cannot_be_read_is_left_open() -> None:
    def load(location: str) -> Any:
        raise ImportDocumentError("it is broken.")

    found = imported(external(), load=load)
    assert "cannot be read: it is broken" in found.notes[0].reason


def test_documents_of_a_folder(tmp_path: Path) -> None:
    inside = tmp_path / "apis"
    (inside / "sub").mkdir(parents=True)
    (inside / "other.json").write_text('{"schemas": {"N": {"$ref": "sub/far.yaml#/F"}}}')
    (inside / "sub" / "far.yaml").write_text("F: {type: integer}")
    (tmp_path / "secret.json").write_text('{"N": {"type": "integer"}}')
    (inside / "link.json").symlink_to(tmp_path / "secret.json")
    own = inside / "openapi.json"
    load = documents_under(inside)

    def found(reference: str) -> ImportedApi:
        return import_openapi(described({"$ref": reference}), location=str(own), load=load)

    assert wants_integer(found("other.json#/schemas/N"))
    for outside in (
        "../secret.json#/N",
        "sub/../../secret.json#/N",
        str(tmp_path / "secret.json") + "#/N",
        "link.json#/N",
        "file://" + str(inside / "other.json") + "#/schemas/N",
        "missing.json#/N",
        "sub#/N",
        "\0.json#/N",
    ):
        assert [note.reason.count("not at hand") for note in found(outside).notes] == [1], outside
    (inside / "other.json").write_text("[1")
    assert "cannot be read" in found("other.json#/schemas/N").notes[0].reason


def test_the_base_of_another_document_is_its_own() -> None:
    documents = {
        "https://a.example/api/other.json": OTHER,
        "https://a.example/api/sub/far.json": {"F": {"$ref": "#/G"}, "G": NUMBER},
    }
    found = imported(described({"$ref": "other.json#/schemas/Far"}), load=documents.get)
    assert found.notes == ()
    assert wants_integer(found)


def test_yaml_and_json_are_imported_alike() -> None:
    text = b"""
openapi: 3.1.0
info: {title: Zoo}
servers: [{url: https://zoo.example}]
paths:
  /x:
    post:
      requestBody: &body
        required: true
        content: {application/json: {schema: {type: integer}}}
    put: {requestBody: *body}
"""
    found = import_openapi(read_document(text, location=WHERE), location=WHERE)
    assert [
        one.provider.method
        for one in found.capabilities
        if isinstance(one.provider, OpenApiProvider)
    ] == ["POST", "PUT"]
