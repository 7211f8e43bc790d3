"""Generated calls, checked by openapi-core against the document."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.importers.openapi import import_openapi

pytest.importorskip("openapi_core", reason="openapi-core is not installed")

from importers.request_checks import DocumentCheck, built
from importers.samples import sample


def parameter(name: str, location: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": location, "required": True, "schema": schema, **more}


LIST = {"type": "array", "items": {"type": "integer"}, "minItems": 2}
TEXTS = {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "minItems": 2}
OBJECT = {
    "type": "object",
    "required": ["a", "b"],
    "properties": {"a": {"type": "integer"}, "b": {"type": "string", "pattern": "^[a-z]+$"}},
}
PARAMETERS = [
    parameter("p", "path", {"type": "integer"}),
    parameter("p", "path", {"type": "string"}),
    parameter("p", "path", LIST),
    parameter("p", "path", OBJECT),
    parameter("p", "path", OBJECT, explode=True),
    parameter("p", "path", {"type": "integer"}, style="label"),
    parameter("p", "path", LIST, style="label"),
    parameter("p", "path", LIST, style="label", explode=True),
    parameter("p", "path", OBJECT, style="label", explode=True),
    parameter("p", "path", LIST, style="matrix"),
    parameter("p", "path", LIST, style="matrix", explode=True),
    parameter("p", "path", OBJECT, style="matrix"),
    parameter("p", "path", OBJECT, style="matrix", explode=True),
    parameter("q", "query", {"type": "boolean"}),
    parameter("q", "query", {"type": "string"}),
    parameter("q", "query", {"type": "string"}, allowReserved=True),
    parameter("q", "query", LIST),
    parameter("q", "query", LIST, explode=False),
    parameter("q", "query", OBJECT, explode=False),
    parameter("q", "query", LIST, style="pipeDelimited", explode=False),
    parameter("q", "query", OBJECT, style="deepObject", explode=True),
    parameter("h", "header", {"type": "integer"}),
    parameter("h", "header", LIST),
    parameter("h", "header", OBJECT, explode=True),
    parameter("c", "cookie", {"type": "integer"}),
    parameter("c", "cookie", {"type": "string", "pattern": "^[a-z]+$"}),
]


def checked(operation: dict[str, Any], version: str = "3.1.0", **components: Any) -> list[str]:
    """What openapi-core has to say against several calls of one operation."""
    placed = "{p}" if "'in': 'path'" in str(operation.get("parameters")) else "x"
    path = f"/start/{placed}/end"
    document = {
        "openapi": version,
        "info": {"title": "Zoo", "version": "1"},
        "servers": [{"url": "https://zoo.example/v1"}],
        "paths": {path: {"post": {"responses": {}, **operation}}},
        "components": components,
    }
    found = import_openapi(document, location="zoo.json")
    assert found.quarantined == ()
    assert found.notes == ()
    check = DocumentCheck(document)
    (manifest,) = found.capabilities
    faults: list[str] = []
    for seed in range(8):
        arguments = sample(manifest.input_schema, seed=seed, optional=0.8)
        faults += check.faults(manifest, built(manifest, arguments), path)
    return faults


@pytest.mark.parametrize("entry", PARAMETERS, ids=lambda entry: "-".join(
    str(part) for part in (entry["in"], entry.get("style"), entry["schema"]["type"],
                           entry.get("explode"))))  # fmt: skip
def test_parameters(entry: dict[str, Any]) -> None:
    assert checked({"parameters": [entry]}) == []


def test_a_parameter_with_content() -> None:
    entry = {"name": "q", "in": "query", "content": {"application/json": {"schema": OBJECT}}}
    assert checked({"parameters": [entry | {"required": True}]}) == []


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/vnd.api+json", "application/x-www-form-urlencoded",
     "multipart/form-data", "text/plain"],
)  # fmt: skip
def test_bodies(media_type: str) -> None:
    schema: Any = {
        "type": "object",
        # A list that is missing from a form is an empty one for openapi-core.
        "required": ["n", "t", "l"],
        "properties": {
            "n": {"type": "integer", "minimum": 3},
            "t": {"type": "string", "maxLength": 5},
            "l": TEXTS,
        },
    }
    if media_type == "text/plain":
        schema = {"type": "string"}
    body = {"required": True, "content": {media_type: {"schema": schema}}}
    assert checked({"requestBody": body}) == []


def test_files() -> None:
    schema = {
        "type": "object",
        "required": ["file", "note"],
        "properties": {"file": {"type": "string", "format": "binary"}, "note": {"type": "string"}},
    }
    body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    # In 3.1, openapi-core takes the bytes of a file for something that is no string.
    assert checked({"requestBody": body}, "3.0.3") == []


def test_alternatives_and_secrets() -> None:
    cat = {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}}
    schema = {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "#/components/schemas/Cat", "dog": "#/components/schemas/Dog"},
        },
    }
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    dog = {**cat, "properties": {"kind": {"enum": ["dog"]}}}
    operation = {"requestBody": body, "security": [{"key": [], "token": []}]}
    schemes = {
        "key": {"type": "apiKey", "in": "query", "name": "k"},
        "token": {"type": "http", "scheme": "bearer"},
    }
    cat = {**cat, "properties": {"kind": {"type": "string"}, "lives": {"type": "integer"}}}
    assert checked(operation, schemas={"Cat": cat, "Dog": dog}, securitySchemes=schemes) == []


def test_the_check_finds_faults() -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Zoo", "version": "1"},
        "servers": [{"url": "https://zoo.example"}],
        "paths": {"/x": {"get": {"parameters": [parameter("q", "query", {"type": "integer"})]}}},
    }
    (manifest,) = import_openapi(document, location="zoo.json").capabilities
    check = DocumentCheck(document)
    assert check.faults(manifest, built(manifest, {"q": 5}), "/x") == []
    assert check.faults(manifest, built(manifest, {"q": "five"}), "/x")
    assert check.faults(manifest, built(manifest, {}), "/x")
