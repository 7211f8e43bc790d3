"""What a document says beside requests and results: pages, limits, webhooks, servers, names."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import Manifest, OpenApiProvider
from ccos.importers.openapi import ImportedApi, Incoming, import_openapi, tool_names
from ccos.importers.openapi.paths import path_template
from ccos.importers.openapi.references import UnusableError

WHERE = "https://a.example/openapi.json"


def imported(paths: Any, location: str = WHERE, options: Any = None, **fields: Any) -> ImportedApi:
    document = {"openapi": "3.1.0", "info": {"title": "Zoo"}, "paths": paths, **fields}
    return import_openapi(document, location=location, **(options or {}))


def only(found: ImportedApi) -> Manifest:
    assert found.quarantined == ()
    (capability,) = found.capabilities
    return capability


def provider(capability: Manifest) -> OpenApiProvider:
    assert isinstance(capability.provider, OpenApiProvider)
    return capability.provider


def query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {}}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"responses": {"200": {"headers": {"Link": {}}}}}, {"pagination": "header: Link"}),
        ({"parameters": [query("page_token")]}, {"pagination": "cursor: page_token"}),
        ({"parameters": [query("page"), query("x")]}, {"pagination": "page: page"}),
        ({"parameters": [query("$skip")]}, {"pagination": "offset: $skip"}),
        (
            {"x-ms-pageable": {"nextLinkName": "next"}},
            {"pagination": 'x-ms-pageable: {"nextLinkName": "next"}'},
        ),
        (
            {"responses": {"200": {"headers": {"X-RateLimit-Limit": {}, "ETag": {}}},
                           "429": {"headers": {"Retry-After": {}}}}},
            {"rate_limit": "headers: Retry-After, X-RateLimit-Limit"},
        ),
        ({"x-ratelimit": {"burst": 3}}, {"rate_limit": 'x-ratelimit: {"burst": 3}'}),
        ({"parameters": [query("pages")], "responses": {"200": {"headers": {"ETag": {}}}}}, {}),
    ],
)  # fmt: skip
def test_pages_and_limits(operation: Any, expected: dict[str, str]) -> None:
    metadata = only(imported({"/x": {"get": operation}})).metadata
    told = {key: metadata[key] for key in ("pagination", "rate_limit") if key in metadata}
    assert told == expected


def test_webhooks_and_callbacks_are_listed() -> None:
    callback = {"{$request.body#/url}": {"post": {}, "summary": "s"}}
    found = imported(
        {"/x": {"post": {"callbacks": {"done": callback, "bad": {"$ref": "#/nowhere"}}}}},
        webhooks={"newPet": {"post": {}, "get": {}}, "odd": 5},
    )
    assert found.incoming == (
        Incoming("webhook", "newPet", "GET", "", "/webhooks/newPet/get", ""),
        Incoming("webhook", "newPet", "POST", "", "/webhooks/newPet/post", ""),
        Incoming(
            "callback",
            "done",
            "POST",
            "{$request.body#/url}",
            "/paths/~1x/post/callbacks/done/{$request.body#~1url}/post",
            "POST /x",
        ),
    )
    assert len(found.capabilities) == 1
    lonely = import_openapi(
        {"openapi": "3.1.0", "info": {"title": "Z"}, "webhooks": {"w": {"post": {}}}},
        location=WHERE,
    )
    assert lonely.operations == 0
    assert lonely.incoming[0].name == "w"


def test_tool_names_are_short_and_unique() -> None:
    paths: dict[str, Any] = {f"/{'long/' * 20}{number}": {"get": {}} for number in range(5)}
    paths |= {"/a/b": {"get": {}}, "/a_b": {"get": {}}, "/plain": {"get": {}}}
    found = imported(paths)
    names = dict(found.tool_names)
    assert set(names) == {one.id for one in found.capabilities}
    assert len(set(names.values())) == len(names)
    assert all(len(name) <= 64 for name in names.values())
    assert names["openapi.zoo.get.plain"] == "zoo_get_plain"
    assert names["openapi.zoo.get.a.b"].startswith("zoo_get_a_b_")
    again = tool_names(reversed(list(names)))
    assert again == names


def test_every_capability_has_its_place() -> None:
    found = imported({"/a~b/{c}": {"get": {}, "post": {}}})
    assert list(found.places.values()) == ["/paths/~1a~0b~1{c}/get", "/paths/~1a~0b~1{c}/post"]


@pytest.mark.parametrize(
    ("servers", "base_url"),
    [
        (None, "https://zoo.base-url-unknown.invalid"),
        ([{"url": "/v1/"}], "https://zoo.base-url-unknown.invalid/v1"),
        ([{"url": "https://{tenant}.zoo.example/v2"}], "https://zoo.base-url-unknown.invalid/v2"),
        ([{"url": "{endpoint}/v3"}], "https://zoo.base-url-unknown.invalid/v3"),
        ([{"url": "../../etc/passwd"}], "https://zoo.base-url-unknown.invalid/etc/passwd"),
        ([5], "https://zoo.base-url-unknown.invalid"),
    ],
)
def test_a_server_that_nobody_knows(servers: Any, base_url: str) -> None:
    paths: dict[str, Any] = {"/x": {"get": {}}}
    fields = {} if servers is None else {"servers": servers}
    assert imported(paths, "zoo.json", **fields).capabilities == ()
    found = imported(paths, "zoo.json", {"allow_unknown_server": True}, **fields)
    assert provider(only(found)).base_url == base_url
    assert found.needs_base_url
    known = imported(paths, "zoo.json", {"base_url": "https://zoo.example/v9"}, **fields)
    assert provider(only(known)).base_url == "https://zoo.example/v9"
    assert not known.needs_base_url


@pytest.mark.parametrize(
    ("server", "given", "expected"),
    [
        (
            {
                "url": "https://{a}.example/{b}",
                "variables": {"a": {"default": "x"}, "b": {"enum": ["v1"]}},
            },
            {},
            "https://x.example/v1",
        ),
        ({"url": "https://{a}.example", "variables": {"a": {"default": "x"}}}, {"a": "eu"}, "https://eu.example"),
        ({"url": "https://{a}.example"}, {"a": "eu"}, "https://eu.example"),
        ({"url": "api.zoo.example/v1"}, {}, "https://api.zoo.example/v1"),
        ("https://zoo.example", {}, "https://zoo.example"),
    ],
)  # fmt: skip
def test_server_variables(server: Any, given: dict[str, str], expected: str) -> None:
    found = imported({"/x": {"get": {}}}, "zoo.json", {"variables": given}, servers=[server])
    assert provider(only(found)).base_url == expected


def test_the_nearest_servers_win() -> None:
    near = {"servers": [{"url": "https://b.example"}], "get": {}}
    nearest = {"get": {"servers": [{"url": "https://c.example"}]}, **{"servers": near["servers"]}}
    found = imported({"/a": {"get": {}}, "/b": near, "/c": nearest}, servers=[{"url": "/v1"}])
    assert [provider(one).base_url for one in found.capabilities] == [
        "https://a.example/v1",
        "https://b.example",
        "https://c.example",
    ]


def test_a_selection_of_operations() -> None:
    paths = {
        "/pets": {"get": {"operationId": "listPets"}, "post": {}},
        "/zoos": {"get": {}},
        "/bad": 5,
    }
    for pattern, ids in (
        ("/pets", ["get.listPets", "post.pets"]),
        ("GET *", ["get.listPets", "get.zoos"]),
        ("list*", ["get.listPets"]),
        ("openapi.zoo.*.zoos", ["get.zoos"]),
        ("nothing", []),
    ):
        found = imported(paths, options={"select": pattern})
        assert [one.id.removeprefix("openapi.zoo.") for one in found.capabilities] == ids
        assert found.quarantined == ()
    assert len(imported(paths, options={"select": "/bad"}).quarantined) == 1


@pytest.mark.parametrize(
    ("path", "described", "text", "several", "query_names"),
    [
        ("/a/{id}", ["id"], "/a/{id}", [], ()),
        ("a/{id}", [], "/a/{id}", [], ()),
        ("/a/{ id }", [], "/a/{id}", [], ()),
        ("/a/{{id}}", [], "/a/{id}", [], ()),
        ("/v1/{+name}:run", [], "/v1/{name}:run", ["name"], ()),
        ("/v1/{name=projects/*/x}", [], "/v1/{name}", ["name"], ()),
        ("/a/{id:[0-9]{3}}", [], "/a/{id}", [], ()),
        ("/a/{rest:.*}", [], "/a/{rest}", ["rest"], ()),
        ("/a/{id*}{?b,c*}", [], "/a/{id}", [], ("b", "c")),
        ("/a/<int:id>/<name>", [], "/a/{id}/{name}", [], ()),
        ("/a/:id/b/:other", ["id"], "/a/{id}/b/:other", [], ()),
        ("/a/{b:c}", ["b:c"], "/a/{b:c}", [], ()),
        ("/a#Action={x}", [], "/a", [], ()),
        ("/a?x=1", [], "/a?x=1", [], ()),
        ("/:run", [], "/:run", [], ()),
    ],
)
def test_path_templates(
    path: str, described: list[str], text: str, several: list[str], query_names: tuple[str, ...]
) -> None:
    template = path_template(path, described)
    assert template.text == text
    assert template.several_segments == frozenset(several)
    assert template.query == query_names


def test_a_path_that_is_too_long() -> None:
    assert path_template("/" + "a" * 1999, []).text
    with pytest.raises(UnusableError, match="more than 2000"):
        path_template("/" + "a" * 2000, [])


def test_parameters_of_a_path_in_another_spelling() -> None:
    entry = {"name": "pet_id", "in": "path", "schema": {"type": "integer"}}
    found = imported({"/pets/{petId}": {"get": {"parameters": [entry]}}})
    (parameter,) = provider(only(found)).parameters
    assert (parameter.name, parameter.argument) == ("petId", "petId")
    schema = only(found).input_schema
    assert isinstance(schema, dict)
    assert schema["properties"]["petId"] == {"type": "integer"}
    lost = imported({"/pets": {"get": {"parameters": [entry]}}})
    assert provider(only(lost)).parameters == ()
    assert "no place for the parameter 'pet_id'" in lost.notes[0].reason


def test_one_parameter_for_the_whole_query_string() -> None:
    form = {"type": "object", "required": ["q"], "properties": {"q": {"type": "string"}, "n": {}}}
    entry = {
        "name": "search",
        "in": "querystring",
        "content": {"application/x-www-form-urlencoded": {"schema": form}},
    }
    capability = only(imported({"/x": {"get": {"parameters": [entry]}}}, **{"openapi": "3.2.0"}))
    assert [(one.name, one.location) for one in provider(capability).parameters] == [
        ("q", "query"),
        ("n", "query"),
    ]
    schema = capability.input_schema
    assert isinstance(schema, dict)
    assert schema["required"] == ["q"]
