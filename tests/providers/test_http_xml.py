"""JSON data written as XML, by the examples of the OpenAPI specification."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.capabilities import OpenApiProvider
from ccos.errors import InvalidArgumentsError
from ccos.importers.openapi import import_openapi
from ccos.providers.http_xml import xml_text
from ccos.providers.openapi import preview_request

TEXT = {"type": "string"}


def written(value: Any, schema: dict[str, Any], **definitions: Any) -> str:
    text = xml_text(value, {"properties": {"body": schema}, "$defs": definitions}, "body")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    ElementTree.fromstring(text)
    return text.partition("?>")[2]


def animals(**more: Any) -> dict[str, Any]:
    listed = {"type": "array", "items": TEXT} | more
    return {"xml": {"name": "zoo"}, "properties": {"animals": listed}}


# OpenAPI 3.0 and 3.1, "XML Object Examples".
@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (TEXT | {"xml": {"name": "animal"}}, "x", "<animal>x</animal>"),
        (
            {
                "xml": {"name": "Person"},
                "properties": {
                    "id": {"type": "integer", "xml": {"attribute": True}},
                    "name": {
                        "xml": {
                            "namespace": "https://example.com/schema/sample",
                            "prefix": "sample",
                        }
                    },
                },
            },
            {"id": 0, "name": "string"},
            '<Person id="0"><sample:name xmlns:sample="https://example.com/schema/sample">string'
            "</sample:name></Person>",
        ),
        (animals(), {"animals": ["a", "b"]}, "<zoo><animals>a</animals><animals>b</animals></zoo>"),
        (
            animals(items={**TEXT, "xml": {"name": "animal"}}, xml={"name": "aliens"}),
            {"animals": ["a"]},
            "<zoo><animal>a</animal></zoo>",
        ),
        (
            animals(xml={"wrapped": True}),
            {"animals": ["a"]},
            "<zoo><animals><animals>a</animals></animals></zoo>",
        ),
        (
            animals(items={**TEXT, "xml": {"name": "animal"}}, xml={"wrapped": True}),
            {"animals": ["a"]},
            "<zoo><animals><animal>a</animal></animals></zoo>",
        ),
        (
            animals(
                items={**TEXT, "xml": {"name": "animal"}}, xml={"name": "aliens", "wrapped": True}
            ),
            {"animals": ["a"]},
            "<zoo><aliens><animal>a</animal></aliens></zoo>",
        ),
        (
            animals(xml={"name": "aliens", "wrapped": True}),
            {"animals": ["a"]},
            "<zoo><aliens><aliens>a</aliens></aliens></zoo>",
        ),
        ({"xml": {"name": "a"}}, {"b": None, "c": True, "d": 1.5}, "<a><c>true</c><d>1.5</d></a>"),
        ({"xml": {"name": "a"}}, {"b": "<&>\"'"}, "<a><b>&lt;&amp;&gt;\"'</b></a>"),
        (
            {"xml": {"name": "a"}, "properties": {"b": {"xml": {"attribute": True}}}},
            {"b": '<"&\n'},
            '<a b="&lt;&quot;&amp;&#10;"></a>',
        ),
        (
            {"xml": {"name": "a"}, "properties": {"b": {"xml": {"nodeType": "text"}}}},
            {"b": "plain"},
            "<a>plain</a>",
        ),
    ],
)
def test_elements(schema: dict[str, Any], value: Any, expected: str) -> None:
    assert written(value, schema) == expected


def test_references_and_parts() -> None:
    pet = {
        "allOf": [{"$ref": "#/$defs/Base"}],
        "properties": {"tag": {"$ref": "#/$defs/Tag"}},
        "xml": {"name": "pet"},
    }
    base = {"properties": {"id": {"xml": {"attribute": True}}}}
    tag = {"xml": {"name": "TAG"}}
    text = written({"id": 1, "tag": "x"}, {"$ref": "#/$defs/Pet"}, Pet=pet, Base=base, Tag=tag)
    assert text == '<pet id="1"><TAG>x</TAG></pet>'


@pytest.mark.parametrize(
    "value", [{"a b": 1}, {"1": 1}, {"a": "\x00"}, {"<x>": 1}, {"a": "\ud800"}]
)
def test_what_xml_cannot_carry(value: Any) -> None:
    with pytest.raises(InvalidArgumentsError):
        written(value, {"xml": {"name": "a"}})
    deep: Any = "x"
    for _ in range(70):
        deep = {"a": deep}
    with pytest.raises(InvalidArgumentsError, match="deeply"):
        written(deep, {"xml": {"name": "a"}})


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text()))
def test_any_text_comes_back_or_is_refused(value: dict[str, str]) -> None:
    schema = {"xml": {"name": "r"}, "properties": {"b": {"xml": {"attribute": True}}}}
    try:
        text = xml_text(value, {"properties": {"body": schema}}, "body")
    except InvalidArgumentsError:
        return
    root = ElementTree.fromstring(text)
    found = {one.tag: one.text or "" for one in root} | dict(root.attrib)
    assert found == value


def test_an_operation_that_takes_xml() -> None:
    pet = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "id": {"type": "integer", "xml": {"attribute": True}},
            "name": {"type": "string"},
            "photos": {
                "type": "array",
                "items": {"type": "string", "xml": {"name": "photo"}},
                "xml": {"wrapped": True},
            },
        },
    }
    content = {"application/xml": {"schema": {"$ref": "#/components/schemas/Pet"}}}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "Zoo"},
        "servers": [{"url": "https://zoo.example"}],
        "paths": {"/pets": {"post": {"requestBody": {"required": True, "content": content}}}},
        "components": {"schemas": {"Pet": pet}},
    }
    (capability,) = import_openapi(document, location="zoo.json").capabilities
    assert isinstance(capability.provider, OpenApiProvider)
    arguments = {"body": {"id": 7, "name": "Ünn <&>", "photos": ["a", "b"]}}
    request = preview_request(capability, arguments)
    assert request["headers"]["content-type"] == "application/xml"
    assert request["body"] == (
        '<?xml version="1.0" encoding="UTF-8"?><Pet id="7"><name>Ünn &lt;&amp;&gt;</name>'
        "<photos><photo>a</photo><photo>b</photo></photos></Pet>"
    )
    with pytest.raises(InvalidArgumentsError, match="required property"):
        preview_request(capability, {"body": {"id": 7}})
