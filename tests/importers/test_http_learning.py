"""What examples of requests teach."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from ccos.capabilities import AuthReference, HttpTemplateProvider, Manifest, SchemaValidator
from ccos.errors import ImportDocumentError
from ccos.importers.http import exchange_of_curl, exchanges_of, inferred_schema, learn
from ccos.providers.http_template import preview_template


def curl(*commands: str, **options: Any) -> tuple[Manifest, ...]:
    found = learn([exchange_of_curl(one) for one in commands], source="curl", **options)
    assert found.skipped == ()
    return found.capabilities


def one(*commands: str, **options: Any) -> Manifest:
    (manifest,) = curl(*commands, **options)
    return manifest


def template(manifest: Manifest) -> HttpTemplateProvider:
    assert isinstance(manifest.provider, HttpTemplateProvider)
    return manifest.provider


def schema(manifest: Manifest) -> dict[str, Any]:
    assert isinstance(manifest.input_schema, dict)
    return manifest.input_schema


def example(url: str = "https://a.example/x", response: Any = None, **request: Any) -> Any:
    entry: dict[str, Any] = {"request": {"url": url, **request}}
    return entry if response is None else entry | {"response": {"status": 200, "body": response}}


def taught(*examples: Any, **options: Any) -> tuple[Manifest, ...]:
    exchanges, skipped = exchanges_of({"examples": list(examples)}, "file")
    assert skipped == []
    return learn(exchanges, source="file", **options).capabilities


def test_one_command_teaches_a_template() -> None:
    manifest = one(
        "curl -X POST 'https://api.shop.example/v1/users/42/orders?notify=true&limit=10' "
        "-H 'Accept: application/json' -H 'User-Agent: x' -H 'X-Region: eu' "
        """--json '{"item": "tea", "count": 2, "tags": ["a"], "gift": null}'"""
    )
    assert manifest.id == "http.shop_example.post.v1.users.user_id.orders"
    assert manifest.effect_type == "effectful"
    provider = template(manifest)
    assert (provider.base_url, provider.path) == (
        "https://api.shop.example", "/v1/users/{user_id}/orders",
    )  # fmt: skip
    headers = {one.name: one.value for one in provider.fields if one.location == "header"}
    assert headers == {"accept": "application/json", "x-region": "eu"}
    types = {name: one["type"] for name, one in schema(manifest)["properties"].items()}
    assert types == {
        "user_id": "integer", "notify": "boolean", "limit": "integer", "item": "string",
        "count": "integer", "tags": "array", "gift": "null",
    }  # fmt: skip
    request = preview_template(
        manifest,
        {
            "user_id": 7, "notify": False, "limit": 1, "item": "ä", "count": 1,
            "tags": [], "gift": None,
        },
    )  # fmt: skip
    assert request["url"] == "https://api.shop.example/v1/users/7/orders?notify=false&limit=1"
    assert json.loads(request["body"]) == {"item": "ä", "count": 1, "tags": [], "gift": None}


def test_several_examples_tell_what_stays() -> None:
    manifest = one(
        """curl 'https://a.example/find?format=json&q=x' -H 'X-Trace: 1' -d 'a=1&b=2'""",
        """curl 'https://a.example/find?format=json&q=y&page=2' -H 'X-Trace: 2' -d 'a=1&b=3'""",
    )
    fields = {
        one.name: (one.location, one.argument, one.value) for one in template(manifest).fields
    }
    assert fields == {
        "format": ("query", None, "json"),
        "q": ("query", "q", ""),
        "page": ("query", "page", ""),
        "x-trace": ("header", "x-trace", ""),
        "a": ("form", None, "1"),
        "b": ("form", "b", ""),
    }
    assert schema(manifest)["required"] == ["q", "x-trace", "b"]
    shown = preview_template(manifest, {"q": "a b", "x-trace": "3", "b": 5})
    assert shown["url"] == "https://a.example/find?format=json&q=a%20b"
    assert shown["body"] == "a=1&b=5"
    assert shown["headers"]["x-trace"] == "3"


def test_what_the_caller_fixes_stays() -> None:
    manifest = one("curl 'https://a.example/x?format=json&q=1'", fixed=["format"])
    assert list(schema(manifest)["properties"]) == ["q"]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a.example", "/"),
        ("https://a.example/users/42", "/users/{user_id}"),
        ("https://a.example/42/7", "/{id}/{id_2}"),
        ("https://a.example/entries/0123456789abcdef0123", "/entries/{entry_id}"),
        ("https://a.example/o/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/o/{o_id}"),
        ("https://a.example/bot/1234567:AAF-abcdefghij", "/bot/{bot_id}"),
        ("https://a.example/users/{name}/posts/:id", "/users/{name}/posts/{id}"),
        ("https://a.example/v2/users", "/v2/users"),
        ("https://a.example/class/abcdef", "/class/abcdef"),
    ],
)
def test_paths(url: str, path: str) -> None:
    assert template(one(f"curl '{url}'")).path == path


def test_a_path_template_of_the_caller() -> None:
    users = ["curl https://a.example/users/ada", "curl https://a.example/users/bob"]
    assert len(curl(*users)) == 2
    manifest = one(*users, path="/users/{name}")
    assert template(manifest).path == "/users/{name}"
    assert schema(manifest)["properties"] == {"name": {"type": "string"}}
    for wrong in ("users", "/{a}/{a}"):
        with pytest.raises(ImportDocumentError):
            curl(*users, path=wrong)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "curl -H 'Authorization: Bearer hunter2' https://api.a.example/x",
            ("bearer", "header", "Authorization", "A_EXAMPLE_TOKEN"),
        ),
        (
            "curl -H 'Authorization: Bearer $MY_TOKEN' https://api.a.example/x",
            ("bearer", "header", "Authorization", "MY_TOKEN"),
        ),
        (
            "curl -u ann:hunter2 https://api.a.example/x",
            ("basic", "header", "Authorization", "A_EXAMPLE_TOKEN"),
        ),
        (
            "curl https://ann:hunter2@api.a.example/x",
            ("basic", "header", "Authorization", "A_EXAMPLE_TOKEN"),
        ),
        (
            "curl -H 'X-API-Key: hunter2' https://api.a.example/x",
            ("api_key", "header", "X-API-Key", "A_EXAMPLE_X_API_KEY"),
        ),
        (
            "curl 'https://api.a.example/x?api_key=hunter2'",
            ("api_key", "query", "api_key", "A_EXAMPLE_API_KEY"),
        ),
        (
            "curl -b 'sessionid=hunter2; theme=dark' https://api.a.example/x",
            ("api_key", "cookie", "sessionid", "A_EXAMPLE_SESSIONID"),
        ),
        (
            "curl 'https://api.a.example/x?access_token=${TOKEN}'",
            ("api_key", "query", "access_token", "TOKEN"),
        ),
    ],
)  # fmt: skip
def test_secrets_become_names(command: str, expected: tuple[str, ...]) -> None:
    manifest = one(command)
    (reference,) = template(manifest).auth
    assert isinstance(reference, AuthReference)
    assert (
        reference.scheme, reference.location, reference.name, reference.environment[0],
    ) == expected  # fmt: skip
    text = manifest.to_json()
    assert "hunter2" not in text
    assert base64.b64encode(b"ann:hunter2").decode() not in text


def test_a_secret_in_a_body_is_an_argument_and_never_kept() -> None:
    commands = ["""curl https://a.example/x --json '{"user": "a", "password": "hunter2"}'"""] * 2
    manifest = one(*commands, fixed=["password"])
    assert "hunter2" not in manifest.to_json()
    assert list(schema(manifest)["properties"]) == ["password"]
    assert template(manifest).body == {"user": "a"}


def test_answers_teach_the_result() -> None:
    answers = [{"data": {"items": [{"n": 1}]}, "x": 1}, {"data": {"items": [{"n": 1.5, "m": "a"}]}}]
    (manifest,) = taught(*(example(response=one) for one in answers), response_path="/data/items")
    output = manifest.output_schema
    assert output is not None
    validator = SchemaValidator(output)
    for good in ([], [{"n": 3}], [{"n": None, "new": True}], None):
        assert validator.accepts(good)
    assert not validator.accepts([{"n": "three"}])
    assert template(manifest).response_path == "/data/items"
    with pytest.raises(ImportDocumentError, match="/nothing"):
        taught(example(response={}), response_path="/nothing")
    with pytest.raises(ImportDocumentError, match="JSON Pointer"):
        taught(example(response={}), response_path="data")


def test_endpoints_are_told_apart() -> None:
    found = taught(
        example("https://a.example/x"),
        example("https://a.example/x", method="DELETE"),
        example("https://a.example:8443/x"),
        example("https://b.example/x"),
        example("https://a.example/x?y=1"),
    )
    ids = [one.id for one in found]
    assert len(set(ids)) == len(ids) == 4
    assert [one.effects for one in found][1] == ("destructive", "network")
    assert found[0].metadata == {"learned_from": "file", "examples": "2"}
    assert schema(found[0]).get("required") is None


def test_bodies_that_are_no_objects() -> None:
    (text, items, mixed) = taught(
        example(method="POST", body="a,b", headers={"Content-Type": "text/csv"}),
        example("https://a.example/y", method="PUT", body=[1, 2]),
        example("https://a.example/z", method="PUT", body={"a~/b": 1}),
    )
    assert preview_template(text, {"body": "c"})["body"] == "c"
    assert preview_template(items, {"body": [3]})["body"] == "[3]"
    assert template(mixed).body_places == {"a_b": "/a~0~1b"}
    assert preview_template(mixed, {"a_b": 2})["body"] == '{"a~/b":2}'


def har_entry(url: str, media_type: str = "application/json", **more: Any) -> Any:
    return {
        "request": {
            "method": more.get("method", "GET"),
            "url": url,
            "headers": [
                {"name": ":authority", "value": "x"},
                {"name": "sec-fetch-mode", "value": "cors"},
                {"name": "Cookie", "value": "sid=hunter2"},
            ],
            **({"postData": more["post"]} if "post" in more else {}),
        },
        "response": {
            "status": more.get("status", 200),
            "content": {"mimeType": media_type, "text": more.get("text", "{}")},
        },
    }


def test_a_har_file() -> None:
    entries = [
        har_entry("https://shop.example/", "text/html; charset=utf-8"),
        har_entry("https://shop.example/logo.png", "image/png"),
        har_entry("https://shop.example/api/items/1", text='{"name": "tea"}'),
        har_entry("https://shop.example/api/items/2", text='{"name": "cup"}'),
        har_entry("https://shop.example/api/items/3", status=404, text='{"error": 1}'),
        har_entry(
            "https://shop.example/api/items",
            method="POST",
            post={
                "mimeType": "application/x-www-form-urlencoded",
                "params": [{"name": "name", "value": "pot"}],
            },
        ),
        har_entry("https://shop.example/up", method="POST", post={
            "mimeType": "multipart/form-data; boundary=x", "text": "--x--"}),
        har_entry("data:text/plain,x"),
        {"request": 7},
        None,
    ]  # fmt: skip
    exchanges, passed_over = exchanges_of({"log": {"entries": entries}}, "shop.har")
    assert [one.where for one in passed_over] == [
        f"/log/entries/{number}" for number in (0, 1, 7, 8, 9)
    ]
    found = learn(exchanges, source="shop.har")
    items, add = found.capabilities
    assert items.id == "http.shop_example.get.api.items.item_id"
    assert items.metadata["examples"] == "3"
    assert isinstance(items.output_schema, dict)
    assert list(items.output_schema["properties"]) == ["name"]
    assert [one.name for one in template(items).fields] == []
    assert "hunter2" not in items.to_json()
    assert list(schema(add)["properties"]) == ["name"]
    (upload,) = found.skipped
    assert "multipart/form-data" in upload.reason


def test_what_is_neither_a_har_file_nor_examples() -> None:
    documents: list[dict[str, Any]] = [{}, {"log": {}}, {"examples": {}}, {"log": {"entries": 7}}]
    for document in documents:
        with pytest.raises(ImportDocumentError, match="neither"):
            exchanges_of(document, "file")


def test_reasons_show_no_query() -> None:
    entry = {"request": {"url": "ftp://a.example/x?token=hunter2", "method": "GET"}}
    _, (skipped,) = exchanges_of({"examples": [entry]}, "file")
    assert skipped.what == "GET ftp://a.example/x"
    bad = {"request": {"url": "https://a.example/x?token=hunter2", "method": "BREW"}}
    exchanges, _ = exchanges_of({"examples": [bad]}, "file")
    assert "hunter2" not in str(learn(exchanges, source="file").skipped)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([1, 2], {"type": "integer"}),
        ([1, 2.5], {"type": "number"}),
        ([True, None], {"type": ["boolean", "null"]}),
        ([[1], ["a"]], {"type": "array", "items": {"type": ["integer", "string"]}}),
        ([[]], {"type": "array"}),
        (
            [{"a": 1, "b": 2}, {"a": 3}],
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a"],
            },
        ),
    ],
)
def test_inference(values: list[Any], expected: Any) -> None:
    found = inferred_schema(values)
    assert found == expected
    validator = SchemaValidator(found)
    assert all(validator.accepts(value) for value in values)


def test_inference_has_an_end() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert len(json.dumps(inferred_schema([deep]))) < 3_000
    assert inferred_schema([dict.fromkeys(map(str, range(5_000)), 1)]) == {"type": "object"}
    assert inferred_schema([[{"a": 1}] * 100_000])["items"]["type"] == "object"  # type: ignore[index]


def test_endpoints_and_examples_have_an_end() -> None:
    many = [example(f"https://a.example/x{number}y") for number in range(1_001)]
    with pytest.raises(ImportDocumentError, match="more than 1000 endpoints"):
        taught(*many)
    assert len(taught(*many, path="/{name}")) == 1
    exchanges, skipped = exchanges_of({"examples": [example()] * 20_001}, "file")
    assert len(exchanges) == 20_000
    assert "first 20000" in skipped[0].reason
    started = time.process_time()
    big = {"examples": [example(response=[{f"k{i}": i} for i in range(500)]) for _ in range(200)]}
    learn(exchanges_of(big, "file")[0], source="file")
    long = f"https://a.example/{'a1' * 2_000}/{'/'.join(['0' * 400] * 9)}"
    learn(exchanges_of({"examples": [example(long)] * 500}, "file")[0], source="file")
    assert time.process_time() - started < 5
