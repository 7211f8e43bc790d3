"""Operations become capabilities."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.capabilities import (
    AuthReference,
    CertificateReference,
    EffectType,
    Manifest,
    OAuth2Reference,
    OpenApiParameter,
    OpenApiProvider,
    canonical_id,
)
from ccos.errors import ImportDocumentError, InvalidIdentifierError
from ccos.importers.openapi import ImportedApi, import_openapi

WHERE = "https://a.example/v1/openapi.json"


def openapi(paths: Any, **fields: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "info": {"title": "Zoo", "version": "1"}, "paths": paths, **fields}


def swagger(paths: Any, **fields: Any) -> dict[str, Any]:
    return {"swagger": "2.0", "info": {"title": "Zoo", "version": "1"}, "paths": paths, **fields}


def imported(document: dict[str, Any], **options: Any) -> ImportedApi:
    return import_openapi(document, **{"location": WHERE, **options})


def only(document: dict[str, Any], **options: Any) -> Manifest:
    found = imported(document, **options)
    assert found.quarantined == ()
    (capability,) = found.capabilities
    return capability


def provider(capability: Manifest) -> OpenApiProvider:
    assert isinstance(capability.provider, OpenApiProvider)
    return capability.provider


def reasons(document: dict[str, Any], **options: Any) -> dict[str, str]:
    return {one.place: one.reason for one in imported(document, **options).quarantined}


def test_a_whole_operation() -> None:
    found = imported(
        openapi(
            {
                "/pets/{petId}": {
                    "parameters": [
                        {
                            "name": "petId",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string"},
                        },
                        {"name": "verbose", "in": "query", "schema": {"type": "string"}},
                    ],
                    "get": {
                        "operationId": "pets/getPet",
                        "summary": "One pet",
                        "description": "Returns  one pet.",
                        "deprecated": True,
                        "parameters": [
                            {"name": "verbose", "in": "query", "schema": {"type": "boolean"}},
                            {"name": "Accept", "in": "header", "schema": {"type": "string"}},
                            {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                        ],
                        "responses": {
                            "200": {
                                "content": {"application/json": {"schema": {"type": "object"}}}
                            },
                            "404": {"description": "none"},
                        },
                    },
                }
            },
            servers=[{"url": "https://api.zoo.example/v2/"}],
        )
    )
    assert (found.api, found.title, found.version) == ("zoo", "Zoo", "1")
    (capability,) = found.capabilities
    assert capability.id == "openapi.zoo.get.pets.getPet"
    assert capability.name == "One pet"
    assert capability.description == "Returns  one pet."
    assert capability.version == "1.0.0"
    assert capability.effect_type is EffectType.READ_ONLY
    assert capability.effects == ("network",)
    assert capability.domains == ("zoo",)
    assert capability.metadata == {
        "api_title": "Zoo",
        "description_format": "3.0.3",
        "operation_id": "pets/getPet",
        "deprecated": "true",
    }
    assert capability.input_schema == {
        "type": "object",
        "properties": {
            "petId": {"type": "string"},
            "verbose": {"type": "boolean"},
            "X-Trace": {"type": "string"},
        },
        "required": ["petId"],
        "additionalProperties": False,
    }
    assert capability.output_schema == {"type": "object"}
    assert provider(capability) == OpenApiProvider(
        document=WHERE,
        base_url="https://api.zoo.example/v2",
        method="GET",
        path="/pets/{petId}",
        parameters=(
            OpenApiParameter(argument="petId", name="petId", location="path", style="simple"),
            OpenApiParameter(
                argument="verbose", name="verbose", location="query", style="form", explode=True
            ),
            OpenApiParameter(argument="X-Trace", name="X-Trace", location="header", style="simple"),
        ),
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("get", EffectType.READ_ONLY),
        ("head", EffectType.READ_ONLY),
        ("options", EffectType.READ_ONLY),
        ("query", EffectType.READ_ONLY),
        ("put", EffectType.IDEMPOTENT),
        ("delete", EffectType.IDEMPOTENT),
        ("post", EffectType.EFFECTFUL),
        ("patch", EffectType.EFFECTFUL),
    ],
)
def test_effects_by_method(method: str, expected: EffectType) -> None:
    assert only(openapi({"/x": {method: {}}})).effect_type is expected


@pytest.mark.parametrize(
    ("path", "operation_id", "expected"),
    [
        ("/status/{codes}", None, "status.codes"),
        ("/", None, "root"),
        ("/a-b/{c_d}.json", None, "a-b.c_d.json"),
        ("/x", "getUserById", "getUserById"),
        ("/x", "repos/list-for-org", "repos.list-for-org"),
        ("/x", "Pets: list all!", "Pets_list_all"),
        ("/tiere/{id}", "动物", "tiere.id"),
        ("/x", "", "x"),
        ("/x", 7, "x"),
        ("/v1/{+name}:run", None, "v1.name_run"),
    ],
)
def test_ids(path: str, operation_id: Any, expected: str) -> None:
    operation = {} if operation_id is None else {"operationId": operation_id}
    capability = only(openapi({path: {"get": operation}}))
    assert capability.id == f"openapi.zoo.get.{expected}"
    assert canonical_id(capability.id) == capability.id


def test_ids_are_unique_and_do_not_depend_on_order() -> None:
    paths = {
        "/a": {"get": {"operationId": "list"}, "post": {"operationId": "list"}},
        "/b": {"get": {"operationId": "list"}},
        "/c/d": {"get": {}},
        "/c.d": {"get": {}},
        "/" + "long/" * 60: {"get": {}},
        "/" + "x" * 400: {"get": {}},
        "/" + "x" * 401: {"get": {}},
    }
    first = imported(openapi(paths))
    by_path = {(provider(one).path, provider(one).method): one.id for one in first.capabilities}
    assert len(set(by_path.values())) == len(by_path) == 8
    assert by_path["/a", "POST"] == "openapi.zoo.post.list"
    assert by_path["/a", "GET"].startswith("openapi.zoo.get.list_")
    shuffled = list(paths.items())
    random.Random(1).shuffle(shuffled)
    again = imported(openapi(dict(shuffled)))
    assert {
        (provider(one).path, provider(one).method): one.id for one in again.capabilities
    } == by_path
    alone = only(openapi({"/b": paths["/b"]}))
    assert alone.id == "openapi.zoo.get.list"


@pytest.mark.parametrize(
    ("title", "location", "expected"),
    [
        ("Swagger Petstore", WHERE, "petstore"),
        ("GitHub v3 REST API", WHERE, "github_v3"),
        ("API", WHERE, "api"),
        ("", "https://api.example.org/x", "example_org"),
        ("动物", "zoo.yaml", "zoo"),
        ("", "", "api"),
    ],
)
def test_api_names(title: str, location: str, expected: str) -> None:
    document = openapi({}, info={"title": title})
    assert imported(document, location=location).api == expected


def test_a_given_api_name() -> None:
    assert imported(openapi({}), api="my.zoo").api == "my_zoo"
    for bad in ("", "a b", "x" * 61):
        with pytest.raises(InvalidIdentifierError):
            imported(openapi({}), api=bad)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.1.3", "2.1.3"),
        ("v2", "2.0.0"),
        ("1.2", "1.2.0"),
        ("2020-09-14", "1.0.0"),
        ("1.2.3-beta.1", "1.2.3-beta.1"),
        ("1.2.3.4", "1.0.0"),
        (3, "3.0.0"),
    ],
)
def test_versions(version: Any, expected: str) -> None:
    document = openapi({"/x": {"get": {}}}, info={"title": "Zoo", "version": version})
    assert only(document).version == expected


@pytest.mark.parametrize(
    ("servers", "location", "expected"),
    [
        ([{"url": "https://x.example/v1/"}], WHERE, "https://x.example/v1"),
        ([{"url": "http://x.example"}, {"url": "https://y.example"}], WHERE, "https://y.example"),
        ([{"url": "/v3"}], WHERE, "https://a.example/v3"),
        ([{"url": "."}], WHERE, "https://a.example/v1"),
        ([{"url": "//b.example"}], WHERE, "https://b.example"),
        (None, WHERE, "https://a.example"),
        ([], "http://127.0.0.1:8000/openapi.json", "http://127.0.0.1:8000"),
        (
            [
                {
                    "url": "https://{r}.x.example/{v}",
                    "variables": {"r": {"default": "eu"}, "v": {"default": 2}},
                }
            ],
            WHERE,
            "https://eu.x.example/2",
        ),
        (
            [{"url": "https://{r}.x.example"}, {"url": "https://y.example"}],
            WHERE,
            "https://y.example",
        ),
        ([{"url": "https://x.example/a?b=c#d"}], WHERE, "https://x.example/a"),
    ],
)
def test_servers(servers: Any, location: str, expected: str) -> None:
    document = openapi({"/x": {"get": {}}}, **({} if servers is None else {"servers": servers}))
    assert provider(only(document, location=location)).base_url == expected


def test_the_nearest_servers_count() -> None:
    paths = {
        "/a": {
            "servers": [{"url": "https://path.example"}],
            "get": {"servers": [{"url": "https://operation.example"}]},
            "put": {},
        },
        "/b": {"get": {}},
    }
    found = imported(openapi(paths, servers=[{"url": "https://root.example"}])).capabilities
    assert [provider(one).base_url for one in found] == [
        "https://operation.example",
        "https://path.example",
        "https://root.example",
    ]


@pytest.mark.parametrize(
    ("servers", "reason"),
    [
        ([{"url": "/v1"}], "not an absolute"),
        ([{"url": "ftp://x.example"}], "not an absolute"),
        ([{"url": "https://{r}.example"}], "variable 'r' has no default"),
        ([{"url": "https://user:pw@x.example"}], "credentials"),
        ([{"url": "https://[bad"}], "not an absolute"),
        ([{}], "no URL"),
        ([7], "no URL"),
        (["x"], "not an absolute"),
    ],
)
def test_without_a_server_nothing_can_be_called(servers: Any, reason: str) -> None:
    document = openapi({"/x": {"get": {}}}, servers=servers)
    assert reason in reasons(document, location="zoo.yaml")["/servers"]
    chosen = only(document, location="zoo.yaml", base_url="https://b.example/v9/")
    assert provider(chosen).base_url == "https://b.example/v9"


@pytest.mark.parametrize(
    "base_url", ["", "b.example", "file:///etc/passwd", "https://u:p@x.example"]
)
def test_a_base_url_that_cannot_be_used(base_url: str) -> None:
    with pytest.raises(ImportDocumentError, match="base URL"):
        imported(openapi({}), base_url=base_url)


@pytest.mark.parametrize(
    ("fields", "location", "expected"),
    [
        ({"host": "x.example", "basePath": "/v1/"}, WHERE, "https://x.example/v1"),
        ({"host": "x.example", "schemes": ["http"]}, WHERE, "http://x.example"),
        ({"host": "x.example:8080", "schemes": ["http", "https"]}, WHERE, "https://x.example:8080"),
        ({"basePath": "/v1"}, "http://127.0.0.1:80/s.json", "http://127.0.0.1:80/v1"),
        ({"host": "x.example"}, "s.json", "https://x.example"),
    ],
)
def test_swagger_servers(fields: Any, location: str, expected: str) -> None:
    capability = only(swagger({"/x": {"get": {}}}, **fields), location=location)
    assert provider(capability).base_url == expected


def test_swagger_without_server() -> None:
    assert "not an absolute" in reasons(swagger({"/x": {"get": {}}}), location="s.json")[""]
    document = swagger({"/x": {"get": {}}}, host="x.example", schemes=["ws"])
    assert "neither http nor https" in reasons(document)[""]


def parameters(entries: list[Any], path: str = "/x/{p}", **fields: Any) -> Manifest:
    return only(openapi({path: {"get": {"parameters": entries}}}, **fields))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"in": "path"}, ("simple", False)),
        ({"in": "path", "style": "matrix", "explode": True}, ("matrix", True)),
        ({"in": "query"}, ("form", True)),
        ({"in": "query", "explode": False}, ("form", False)),
        ({"in": "query", "style": "pipeDelimited"}, ("pipeDelimited", False)),
        ({"in": "query", "style": "deepObject", "explode": True}, ("deepObject", True)),
        ({"in": "header"}, ("simple", False)),
        ({"in": "cookie"}, ("form", True)),
        ({"in": "cookie", "style": "cookie"}, ("form", True)),
    ],
)
def test_parameter_styles(entry: dict[str, Any], expected: tuple[str, bool]) -> None:
    made = provider(parameters([{"name": "p", "schema": {}, **entry}])).parameters
    assert (made[0].style, made[0].explode) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"in": "query", "type": "array", "items": {"type": "string"}}, ("form", False)),
        ({"in": "query", "type": "array", "collectionFormat": "multi"}, ("form", True)),
        ({"in": "query", "type": "array", "collectionFormat": "ssv"}, ("spaceDelimited", False)),
        ({"in": "query", "type": "array", "collectionFormat": "tsv"}, ("tabDelimited", False)),
        ({"in": "query", "type": "array", "collectionFormat": "pipes"}, ("pipeDelimited", False)),
        ({"in": "path", "type": "array"}, ("simple", False)),
    ],
)
def test_collection_formats(entry: dict[str, Any], expected: tuple[str, bool]) -> None:
    document = swagger({"/x/{p}": {"get": {"parameters": [{"name": "p", **entry}]}}})
    capability = only(document)
    made = provider(capability).parameters
    assert (made[0].style, made[0].explode) == expected
    assert isinstance(capability.input_schema, dict)
    assert capability.input_schema["properties"]["p"]["type"] == "array"


def test_parameters_described_by_content() -> None:
    entry = {
        "name": "f",
        "in": "query",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    capability = parameters([entry], path="/x")
    assert provider(capability).parameters[0].content_type == "application/json"
    assert capability.input_schema["properties"]["f"] == {"type": "object"}  # type: ignore[index]


def test_names_of_arguments() -> None:
    capability = parameters(
        [
            {"name": "id", "in": "query", "schema": {}},
            {"name": "id", "in": "header", "schema": {}},
            {"name": "filter[a]", "in": "query", "schema": {}},
            {"name": "$top", "in": "query", "schema": {}},
            {"name": "日本", "in": "query", "schema": {}},
        ],
        path="/x",
    )
    made = provider(capability).parameters
    assert [one.argument for one in made] == ["id", "id_2", "filter_a", "top", "argument"]
    assert [one.name for one in made] == ["id", "id", "filter[a]", "$top", "日本"]


def test_a_placeholder_that_nobody_described_is_text() -> None:
    capability = parameters([{"name": "other", "in": "path", "schema": {}}], path="/x/{y}")
    assert capability.input_schema["properties"] == {"y": {"type": "string"}}  # type: ignore[index]
    assert capability.input_schema["required"] == ["y"]  # type: ignore[index]


def test_a_placeholder_for_several_segments() -> None:
    entry = {"name": "name", "in": "path", "schema": {"type": "string"}}
    capability = parameters([entry], path="/v1/{+name}:run")
    assert provider(capability).path == "/v1/{name}:run"
    assert provider(capability).parameters[0].allow_reserved
    assert not provider(parameters([entry], path="/v1/{name}")).parameters[0].allow_reserved


def test_a_fragment_is_no_part_of_a_path() -> None:
    found = imported(openapi({"/#Action=A": {"post": {}}, "/#Action=B": {"post": {}}}))
    assert [provider(one).path for one in found.capabilities] == ["/", "/"]
    assert len({one.id for one in found.capabilities}) == 2


SCHEMES = {
    "key": {"type": "apiKey", "in": "query", "name": "api_key"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "bearer": {"type": "http", "scheme": "Bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "oauth": {"type": "oauth2", "flows": {}},
    "digest": {"type": "http", "scheme": "digest"},
    "mtls": {"type": "mutualTLS"},
    "custom": {"type": "http", "scheme": "ApiToken"},
    "shouted": {"type": "HTTP", "scheme": "BASIC"},
    "badkey": {"type": "apiKey", "in": "header", "name": "a b"},
}


def secured(requirements: Any, **operation: Any) -> dict[str, Any]:
    return openapi(
        {"/x": {"get": operation}}, security=requirements, components={"securitySchemes": SCHEMES}
    )


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ([{"key": []}], [("api_key", "query", "api_key")]),
        ([{"bearer": []}], [("bearer", "header", "Authorization")]),
        ([{"basic": []}], [("basic", "header", "Authorization")]),
        ([{"oauth": ["read"]}], [("bearer", "header", "Authorization")]),
        ([{"digest": []}, {"cookie": []}], [("api_key", "cookie", "sid")]),
        ([{"key": []}, {}], []),
        ([], []),
    ],
)
def test_security(security: Any, expected: Any) -> None:
    auth = provider(only(secured(security))).auth
    plain = [one for one in auth if isinstance(one, AuthReference)]
    assert [(one.scheme, one.location, one.name) for one in plain] == expected
    for one in auth:
        assert one.environment == ("ZOO_TOKEN", "ZOO_API_KEY", "CCOS_AUTH_ZOO")


def test_several_secrets_are_told_apart() -> None:
    auth = provider(only(secured([{"key": [], "bearer": []}]))).auth
    assert [one.environment[0] for one in auth] == ["ZOO_KEY_TOKEN", "ZOO_BEARER_TOKEN"]


def test_security_of_the_operation_wins() -> None:
    assert provider(only(secured([{"key": []}], security=[]))).auth == ()
    document = swagger(
        {"/x": {"get": {"security": [{"b": []}]}}}, securityDefinitions={"b": {"type": "basic"}}
    )
    assert provider(only(document)).auth[0].scheme == "basic"


@pytest.mark.parametrize(
    ("security", "reason"),
    [
        ([{"digest": []}], "HTTP digest"),
        ([{"badkey": []}], "cannot be the name of a header"),
        ([{"bearer": [], "basic": []}], "one place"),
        ([7], "not an object"),
    ],
)
def test_security_that_is_not_supported(security: Any, reason: str) -> None:
    assert reason in reasons(secured(security))["/security"]


def granted(flows: Any, scopes: Any = (), **scheme: Any) -> Any:
    document = secured([{"oauth": list(scopes)}])
    scheme = {"type": "oauth2", "flows": flows, **scheme}
    document["components"] = {"securitySchemes": {"oauth": scheme}}
    (reference,) = provider(only(document)).auth
    return reference


def test_tokens_are_asked_for_where_the_document_says() -> None:
    client = {"clientCredentials": {"tokenUrl": "https://id.example/token"}}
    reference = granted(client, ["read", "write"])
    assert isinstance(reference, OAuth2Reference)
    assert reference.token_url == "https://id.example/token"
    assert reference.scopes == ("read", "write")
    assert reference.environment == ("ZOO_TOKEN", "ZOO_API_KEY", "CCOS_AUTH_ZOO")
    assert reference.client_id == ("ZOO_CLIENT_ID",)
    assert reference.client_secret == ("ZOO_CLIENT_SECRET",)
    assert reference.refresh_token == ("ZOO_REFRESH_TOKEN",)
    code = {"authorizationCode": {"tokenUrl": "/token", "authorizationUrl": "/auth"}}
    assert granted(code).token_url == "https://a.example/token"
    assert granted({"implicit": {"authorizationUrl": "https://id.example"}}).scheme == "bearer"
    assert granted({"clientCredentials": {"tokenUrl": "https://a:b@id.example"}}).scheme == "bearer"
    assert granted({"clientCredentials": {"tokenUrl": "file:///etc"}}).scheme == "bearer"
    discovery = "https://id.example/.well-known/openid-configuration"
    found = granted({}, type="openIdConnect", openIdConnectUrl=discovery)
    assert (found.scheme, found.discovery_url, found.token_url) == ("oauth2", discovery, None)


def test_tokens_in_swagger_and_beside_other_secrets() -> None:
    scheme = {"type": "oauth2", "flow": "application", "tokenUrl": "https://id.example/t"}
    document = swagger(
        {"/x": {"get": {"security": [{"o": ["a"]}]}}}, securityDefinitions={"o": scheme}
    )
    reference = provider(only(document)).auth[0]
    assert isinstance(reference, OAuth2Reference)
    assert reference.token_url == "https://id.example/t"
    scheme["flow"] = "implicit"
    assert provider(only(document)).auth[0].scheme == "bearer"
    both = secured([{"oauth": [], "mtls": []}])
    client = {"clientCredentials": {"tokenUrl": "https://id.example/token"}}
    both["components"] = {
        "securitySchemes": {"oauth": {"type": "oauth2", "flows": client}, "mtls": SCHEMES["mtls"]}
    }
    first, second = provider(only(both)).auth
    assert isinstance(first, OAuth2Reference)
    assert first.client_id == ("ZOO_OAUTH_CLIENT_ID",)
    assert isinstance(second, CertificateReference)
    assert second.environment == ("ZOO_MTLS_CLIENT_CERTIFICATE",)


def test_client_certificates() -> None:
    (reference,) = provider(only(secured([{"mtls": []}]))).auth
    assert isinstance(reference, CertificateReference)
    assert reference.environment == ("ZOO_CLIENT_CERTIFICATE",)


@pytest.mark.parametrize(
    ("method", "extensions", "acts", "destroys"),
    [
        ("get", {}, "read_only", False),
        ("delete", {}, "idempotent", True),
        ("put", {}, "idempotent", False),
        ("post", {}, "effectful", False),
        ("get", {"x-destructive": True}, "effectful", True),
        ("get", {"x-mcp-annotations": {"readOnlyHint": False}}, "effectful", False),
        ("put", {"x-idempotent": False}, "effectful", False),
        ("post", {"x-openai-isConsequential": True}, "effectful", False),
        ("delete", {"x-mcp": {"annotations": {"idempotentHint": False}}}, "effectful", True),
        # Nobody's praise of himself is believed.
        ("post", {"x-mcp-annotations": {"readOnlyHint": True}}, "effectful", False),
        ("delete", {"x-destructive": False, "x-readonly": True}, "idempotent", True),
    ],
)
def test_effects(method: str, extensions: Any, acts: str, destroys: bool) -> None:
    found = only(openapi({"/x": {method: {"responses": {}, **extensions}}}))
    assert found.effect_type == acts
    assert found.effects == (("destructive", "network") if destroys else ("network",))


def test_security_that_nobody_described() -> None:
    found = imported(secured([{"unknown": []}]))
    assert provider(found.capabilities[0]).auth == ()
    assert [(note.place, note.reason) for note in found.notes] == [
        ("/security", "the security scheme 'unknown' is not described, so no secret is sent")
    ]
    both = only(secured([{"unknown": []}, {"key": []}]))
    (chosen,) = provider(both).auth
    assert isinstance(chosen, AuthReference)
    assert chosen.name == "api_key"


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({"key": []}, ["api_key"]),
        (["basic"], ["basic"]),
        ([{"oauth": [], "bearer": []}], ["bearer"]),
        ([{"custom": []}], ["api_key"]),
        ([{"shouted": []}], ["basic"]),
    ],
)
def test_misspelt_security(security: Any, expected: list[str]) -> None:
    auth = provider(only(secured(security))).auth
    assert [one.scheme for one in auth] == expected
    assert auth[0].environment[0] == "ZOO_TOKEN"


@pytest.mark.parametrize("scheme", [{}, {"type": "http"}, {"type": "magic"}, {"type": 7}])
def test_a_scheme_of_no_known_type_adds_no_secret(scheme: Any) -> None:
    document = secured([{"odd": []}])
    document["components"] = {"securitySchemes": {"odd": scheme}}
    found = imported(document)
    assert provider(found.capabilities[0]).auth == ()
    assert "'odd' is of no known type, so no secret is sent" in found.notes[0].reason


def test_nothing_said_about_an_operation_is_enough() -> None:
    found = imported(openapi({"/x": {"get": None}, "/y": None}))
    assert [one.id for one in found.capabilities] == ["openapi.zoo.get.x"]
    assert found.quarantined == ()


def test_the_caller_prefers_a_way_to_authenticate() -> None:
    ways: Any = [{}, {"key": []}, {"bearer": [], "cookie": []}]
    assert provider(only(secured(ways))).auth == ()
    chosen = provider(only(secured(ways), prefer_security=["cookie"])).auth
    assert [one.scheme for one in chosen] == ["bearer", "api_key"]
    assert provider(only(secured(ways), prefer_security=["digest"])).auth == ()


def test_a_required_authorization_parameter_is_a_secret() -> None:
    entry = {"name": "Authorization", "in": "header", "required": True, "schema": {}}
    capability = parameters([entry], path="/x")
    assert provider(capability).auth[0].scheme == "bearer"
    assert provider(capability).parameters == ()
    assert provider(parameters([entry | {"required": False}], path="/x")).auth == ()


def test_one_bad_operation_does_not_lose_the_others() -> None:
    external = {"name": "q", "in": "query", "schema": {"$ref": "other.yaml#/Q"}}
    document = openapi(
        {
            "/good": {"get": {}, "POST": {}},
            "/external": {"get": {"parameters": [external]}, "post": {}},
            "/elsewhere": {"$ref": "other.yaml#/paths/x"},
            "/where": {
                "get": {
                    "parameters": [
                        {"name": "q", "in": "querystring", "content": {"application/json": {}}}
                    ]
                }
            },
            "/header": {
                "get": {
                    "parameters": [
                        {"name": "a\r\nb", "in": "header", "required": True, "schema": {}}
                    ]
                }
            },
            "/list": {"get": {"parameters": "x"}},
            "/item": 5,
            "/text": {"get": "x"},
            "/more": {"additionalOperations": {"COPY": {}, "QUERY": {}}},
            "x-extension": {"get": {}},
        },
    )
    found = imported(document, external="quarantine")
    assert [one.id.removeprefix("openapi.zoo.") for one in found.capabilities] == [
        "get.good",
        "post.good",
        "post.external",
        "query.more",
    ]
    assert {
        one.operation: (one.place, one.reason.partition(":")[0][:40]) for one in found.quarantined
    } == {
        "/elsewhere": ("/paths/~1elsewhere", "the reference 'other.yaml#/paths/x' lead"),
        "/item": ("/paths/~1item", "the path is not described by an object"),
        "GET /text": ("/paths/~1text/get", "it is not an object"),
        "COPY /more": (
            "/paths/~1more/additionalOperations/COPY",
            "the method 'COPY' is not supported",
        ),
        "GET /external": (
            "/paths/~1external/get/parameters/0/schema",
            "the reference 'other.yaml#/Q' leads to a",
        ),
        "GET /where": (
            "/paths/~1where/get/parameters/0",
            "the parameter for the whole query string",
        ),
        "GET /header": (
            "/paths/~1header/get/parameters/0",
            "'a\\r\\nb' cannot be the name of a header",
        ),
        "GET /list": ("/paths/~1list/get/parameters", "the parameters are not a list"),
    }
    assert found.operations == 12
    opened = imported(document)
    assert "GET /external" not in {one.operation for one in opened.quarantined}
    assert [note.place for note in opened.notes] == ["/paths/~1external/get/parameters/0/schema"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"$ref": "other.yaml#/P"}, "another document"),
        ({"$ref": "#/components/parameters/X"}, "leads nowhere"),
        ({"$ref": "#/components/parameters/A"}, "has no end"),
        ({"in": "query"}, "no name or no location"),
        ({"name": "q", "in": "cloud"}, "has the location 'cloud'"),
        ({"name": "a b", "in": "header", "schema": {}}, "cannot be the name of a header"),
        (5, "not an object"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_left_out(entry: Any, reason: str) -> None:
    good = {"name": "good", "in": "query", "schema": {}}
    found = imported(
        openapi(
            {"/x": {"get": {"parameters": [entry, good]}}},
            components={"parameters": {"A": {"$ref": "#/components/parameters/A"}}},
        )
    )
    (capability,) = found.capabilities
    assert [one.name for one in provider(capability).parameters] == ["good"]
    (note,) = found.notes
    assert reason in note.reason
    assert note.reason.endswith("so the parameter is left out")
    assert note.place in ("/paths/~1x/get/parameters/0", "/components/parameters/A")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "no version"),
        ({"swagger": "1.2", "apis": []}, "'1.2'"),
        ({"openapi": "4.0.0"}, "'4.0.0'"),
    ],
)
def test_what_is_no_description_at_all(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImportDocumentError, match=reason):
        imported(document)


def test_paths_always_give_a_result() -> None:
    described: Any = {"/x": {"get": {}}}
    for version in ({}, {"openapi": "4.0.0"}, {"swagger": "2.0.0"}, {"openapi": None}):
        assert len(imported({**version, "paths": described}).capabilities) == 1
    old = imported({"definitions": {}, "host": "zoo.example", "paths": described})
    assert provider(old.capabilities[0]).base_url == "https://zoo.example"
    assert imported(openapi([])).operations == 0
    assert imported(openapi(None)).operations == 0
    (lost,) = imported(openapi(["/x"])).quarantined
    assert (lost.place, lost.reason) == ("/paths", "the paths are not an object")


@pytest.mark.parametrize(
    "version",
    [
        {"swagger": "2.0"},
        {"swagger": 2.0},
        {"openapi": "3.0.0"},
        {"openapi": "3.1.1"},
        {"openapi": "3.2.0"},
    ],
)
def test_versions_that_are_read(version: dict[str, Any]) -> None:
    assert imported({**version, "paths": {"/x": {"get": {}}}}).capabilities


def test_long_texts_are_capped() -> None:
    capability = only(openapi({"/x": {"get": {"summary": "s\n" * 500, "description": "d" * 9000}}}))
    assert len(capability.name) == 120
    assert "\n" not in capability.name
    assert len(capability.description) == 4000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["#/paths", "#/components/schemas/A", "string", "object", "query", "form"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["$ref", "schema", "content", "application/json", "parameters", "name", "in", "type",
             "properties", "items", "allOf", "required", "get", "post", "requestBody", "responses",
             "200", "servers", "url", "security", "nullable", "enum", "style", "encoding"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, JSON, JSON)
def test_no_document_breaks_the_importer(item: Any, operation: Any, schema: Any) -> None:
    for make in (openapi, swagger):
        document = make(
            {
                "/x": item,
                "/y": {"post": operation},
                "/z": {
                    "put": {"requestBody": {"content": {"application/json": {"schema": schema}}}}
                },
            },
            components={"schemas": {"A": schema}},
        )
        found = imported(document)
        assert len({one.id for one in found.capabilities}) == len(found.capabilities)


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_files_that_may_be_null_are_files(keyword: str) -> None:
    one = {"type": "string", "contentMediaType": "application/octet-stream"}
    files = {keyword: [{"type": "array", "items": one}, {"type": "null"}], "title": "Files"}
    no_file = {keyword: [{"type": "string"}, one]}
    schema = {"type": "object", "properties": {"files": files, "text": no_file}}
    body = {"content": {"multipart/form-data": {"schema": schema}}}
    found = only(openapi({"/x": {"post": {"requestBody": body}}}))
    assert isinstance(found.input_schema, dict)
    properties = found.input_schema["properties"]
    assert properties["files"] == {
        "title": "Files",
        "type": "array",
        "items": {"type": "string", "contentEncoding": "base64"},
    }
    assert {"anyOf", "oneOf"} & properties["text"].keys()


@pytest.mark.parametrize("text", ["half \ud800", "whole \U0001f600"])
def test_what_cannot_be_pinned_is_quarantined(text: str) -> None:
    found = imported(openapi({"/x": {"get": {"description": text}}, "/y": {"get": {}}}))
    assert len(found.capabilities) == (1 if "half" in text else 2)
    for one in found.capabilities:
        assert one.definition_hash().startswith("sha256:")


def test_a_document_with_keys_that_are_no_text_is_looked_at_closely() -> None:
    schema: Any = {"type": "object", "default": {1: "one"}}
    found = imported(openapi({"/x": {"get": {"parameters": [
        {"name": "q", "in": "query", "schema": schema}]}}, "/y": {"get": {}}}))  # fmt: skip
    assert [one.id for one in found.capabilities] == ["openapi.zoo.get.y"]
