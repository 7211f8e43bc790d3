"""OpenAPI operations called for real."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from urllib.request import urlopen

import anyio
import pytest
from anyio.abc import SocketAttribute

from ccos.capabilities import (
    AuthReference,
    LocalProvider,
    Manifest,
    OpenApiBody,
    OpenApiEncoding,
    OpenApiParameter,
    OpenApiProvider,
)
from ccos.egress import Egress, EgressPolicy
from ccos.errors import (
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidManifestError,
    InvalidResultError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.importers.openapi import import_openapi, read_document
from ccos.providers.base import Invoker
from ccos.providers.openapi import OpenApiInvoker, preview_request
from ccos.providers.secrets import EnvironmentSecrets

KEY = "call-1"


def manifest(
    base_url: str, path: str = "/x", method: str = "GET", schema: Any = None, **fields: Any
) -> Manifest:
    provider = OpenApiProvider.model_validate(
        {"document": "test", "base_url": base_url, "path": path, "method": method, **fields}
    )
    return Manifest(
        id="openapi.test.call", name="call", provider=provider, input_schema=schema or {}
    )


def invoker(egress: Egress, **secrets: str) -> OpenApiInvoker:
    return OpenApiInvoker(egress, EnvironmentSecrets(secrets))


def httpbin(url: str) -> dict[str, Manifest]:
    with urlopen(f"{url}/spec.json") as response:
        document = read_document(response.read(), location=f"{url}/spec.json")
    imported = import_openapi(document, location=url, api="httpbin", base_url=url)
    assert imported.quarantined == ()
    return {one.id.removeprefix("openapi.httpbin."): one for one in imported.capabilities}


def headers_of(answer: Any) -> dict[str, str]:
    return dict(answer["headers"])


@pytest.mark.anyio
async def test_httpbin_from_its_own_document(httpbin_url: str, egress: Egress) -> None:
    operations = httpbin(httpbin_url)
    assert len(operations) > 70
    api: Invoker = invoker(egress)

    async def call(name: str, **arguments: Any) -> Any:
        assert operations[name].input_schema is not None
        return await api.invoke(operations[name], arguments, idempotency_key=KEY)

    anything = await call("get.anything.anything", anything="a/../b?c=d#e %00ü")
    assert unquote(anything["url"]) == unquote(f"{httpbin_url}/anything/a/../b?c=d#e %00ü")
    assert anything["args"] == {}
    assert (await call("get.json"))["slideshow"]["title"] == "Sample Slide Show"
    assert await call("get.base64.value", value="aGVsbG8=") == "hello"
    assert (await call("get.gzip"))["gzipped"] is True
    assert "<html" in await call("get.html")
    png = await call("get.image.png")
    assert png["content_type"] == "image/png"
    assert base64.b64decode(png["base64"]).startswith(b"\x89PNG")
    assert await call("delete.status.codes", codes=204) is None
    assert (await call("get.response-headers", freeform={"X-A": "1", "b&c": "2"}))["b&c"] == "2"
    assert (await call("get.redirect.n", n=2))["url"] == f"{httpbin_url}/get"


@pytest.mark.anyio
async def test_a_status_of_400_or_above_is_a_failure(httpbin_url: str, egress: Egress) -> None:
    status = httpbin(httpbin_url)["get.status.codes"]
    with pytest.raises(CapabilityFailedError, match="answered 418 I'm a Teapot") as caught:
        await invoker(egress).invoke(status, {"codes": 418}, idempotency_key=KEY)
    assert caught.value.details["status"] == 418
    assert "teapot" in caught.value.details["body"]
    assert await invoker(egress).invoke(status, {"codes": 200}, idempotency_key=KEY) in (None, "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "secret", "path"),
    [
        ("bearer", "s3cret-token", "/bearer"),
        ("bearer", "Bearer s3cret-token", "/bearer"),
        ("basic", "ann:pass:word", "/basic-auth/ann/pass:word"),
    ],
)
async def test_secrets_open_real_doors(
    httpbin_url: str, egress: Egress, scheme: str, secret: str, path: str
) -> None:
    auth = (AuthReference(scheme=scheme, environment=("A_TOKEN", "A_API_KEY")),)  # type: ignore[arg-type]
    locked = manifest(httpbin_url, path, auth=auth)
    answer = await invoker(egress, A_API_KEY=secret).invoke(locked, {}, idempotency_key=KEY)
    assert answer["authenticated"] is True
    with pytest.raises(CapabilityFailedError, match="401"):
        await invoker(egress).invoke(manifest(httpbin_url, path), {}, idempotency_key=KEY)
    with pytest.raises(ProviderUnavailableError) as caught:
        await invoker(egress).invoke(locked, {}, idempotency_key=KEY)
    assert caught.value.next_step == "Set A_TOKEN or A_API_KEY and call again."


@pytest.mark.anyio
async def test_every_part_of_a_request(echo_url: str, egress: Egress) -> None:
    def parameter(name: str, location: str, **fields: Any) -> OpenApiParameter:
        return OpenApiParameter(argument=name.lower(), name=name, location=location, **fields)  # type: ignore[arg-type]

    call = manifest(
        echo_url + "/base/?ignored=1",
        "/items/{Id}?fixed=yes",
        "POST",
        parameters=(
            parameter("Id", "path"),
            parameter("Tags", "query", style="form", explode=True),
            parameter("Filter", "query", content_type="application/json"),
            parameter("X-Trace", "header"),
            parameter("Lang", "cookie", style="form"),
            parameter("Unused", "query"),
        ),
        body=OpenApiBody(content_type="application/json", properties={"title": "Title"}),
        auth=(
            AuthReference(
                scheme="api_key", location="query", name="key", environment=("QUERY_KEY",)
            ),
            AuthReference(
                scheme="api_key", location="cookie", name="session", environment=("COOKIE",)
            ),
            AuthReference(scheme="api_key", name="X-Key", environment=("HEADER_KEY",)),
        ),
    )
    arguments = {
        "id": "a/b",
        "tags": ["x&y", "z"],
        "filter": {"a": "ü"},
        "x-trace": "t1",
        "lang": "d;e",
        "title": "Ü",
        "unused": None,
    }
    secrets = {"QUERY_KEY": "q&1", "COOKIE": "c;1", "HEADER_KEY": "h1"}
    answer = await invoker(egress, **secrets).invoke(call, arguments, idempotency_key=KEY)
    assert answer["method"] == "POST"
    assert answer["target"] == "/base/items/a%2Fb"
    assert answer["query"] == (
        "fixed=yes&Tags=x%26y&Tags=z&Filter=%7B%22a%22%3A%22%C3%BC%22%7D&key=q%261"
    )
    headers = headers_of(answer)
    assert headers["x-trace"] == "t1"
    assert headers["x-key"] == "h1"
    assert headers["cookie"] == "Lang=d%3Be; session=c%3B1"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == '"call-1"'
    assert json.loads(answer["body"].encode("latin-1")) == {"Title": "Ü"}
    for safe in ("GET", "OPTIONS"):
        answer = await invoker(egress).invoke(
            manifest(echo_url, method=safe), {}, idempotency_key=KEY
        )
        assert "idempotency-key" not in headers_of(answer)


@pytest.mark.anyio
async def test_forms_text_and_files(echo_url: str, httpbin_url: str, egress: Egress) -> None:
    async def post(url: str, made: OpenApiBody, schema: Any = None, **arguments: Any) -> Any:
        call = manifest(url, "/post", "POST", body=made, schema=schema)
        return await invoker(egress).invoke(call, arguments, idempotency_key=KEY)

    form = OpenApiBody(
        content_type="application/x-www-form-urlencoded",
        properties={name: name for name in ("a", "many", "csv", "deep")},
        encoding={"csv": OpenApiEncoding(explode=False)},
    )
    answer = await post(
        echo_url, form, a="1&2=3", many=["x", "y"], csv=["x", "y"], deep={"k": ["v"]}
    )
    assert answer["body"] == "a=1%262%3D3&many=x&many=y&csv=x,y&deep%5Bk%5D%5B0%5D=v"

    multipart = OpenApiBody(
        content_type="multipart/form-data",
        properties={"file": 'fi"le', "note": "note", "meta": "meta"},
        encoding={'fi"le': OpenApiEncoding(content_type="text/csv")},
    )
    files = {"properties": {"file": {"type": "string", "contentEncoding": "base64"}}}
    answer = await post(httpbin_url, multipart, files, file="YSxi", note="n\r\n--x", meta={"a": 1})
    assert answer["files"] == {'fi"le': "a,b"}
    assert answer["form"] == {"note": "n\r\n--x", "meta": '{"a":1}'}
    with pytest.raises(InvalidArgumentsError, match="base64"):
        await post(httpbin_url, multipart, files, file="YQ==!!")

    text = OpenApiBody(content_type="application/xml", argument="body")
    answer = await post(echo_url, text, body="<a>ü</a>")
    assert answer["body"].encode("latin-1").decode() == "<a>ü</a>"
    binary = OpenApiBody(content_type="application/octet-stream", argument="body")
    assert (await post(echo_url, binary, body="AAH/"))["body"] == "\x00\x01\xff"
    with pytest.raises(InvalidArgumentsError, match="base64"):
        await post(echo_url, binary, body="ü")
    with pytest.raises(InvalidArgumentsError, match="made from an object"):
        await post(echo_url, OpenApiBody(content_type=form.content_type, argument="b"), b=[1])


@pytest.mark.anyio
async def test_a_body_nobody_gave(echo_url: str, egress: Egress) -> None:
    for required, expected in ((True, "{}"), (False, "")):
        body = OpenApiBody(
            content_type="application/json", properties={"a": "a"}, required=required
        )
        call = manifest(echo_url, method="POST", body=body)
        answer = await invoker(egress).invoke(call, {}, idempotency_key=KEY)
        assert answer["body"] == expected
        assert ("content-type" in headers_of(answer)) is required


@pytest.mark.anyio
async def test_head_answers_with_headers(httpbin_url: str, egress: Egress) -> None:
    answer = await invoker(egress).invoke(
        manifest(httpbin_url, "/get", "HEAD"), {}, idempotency_key=KEY
    )
    assert answer["status"] == 200
    assert answer["headers"]["content-type"] == "application/json"


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\0", "ü"])
async def test_headers_cannot_be_injected(echo_url: str, egress: Egress, value: str) -> None:
    parameter = OpenApiParameter(argument="a", name="X-A", location="header")
    call = manifest(echo_url, parameters=(parameter,))
    with pytest.raises(InvalidArgumentsError, match="'X-A'"):
        await invoker(egress).invoke(call, {"a": value}, idempotency_key=KEY)
    answer = await invoker(egress).invoke(call, {"a": "a, b"}, idempotency_key=KEY)
    assert headers_of(answer)["x-a"] == "a, b"


@pytest.mark.anyio
async def test_names_that_no_header_can_have(echo_url: str, egress: Egress) -> None:
    parameter = OpenApiParameter(argument="a", name="X A", location="header")
    with pytest.raises(InvalidManifestError, match="'X A'"):
        await invoker(egress).invoke(
            manifest(echo_url, parameters=(parameter,)), {"a": "1"}, idempotency_key=KEY
        )
    auth = (AuthReference(scheme="api_key", name="X\r\nY", environment=("K",)),)
    with pytest.raises(ProviderUnavailableError, match="cannot be sent"):
        await invoker(egress, K="v").invoke(manifest(echo_url, auth=auth), {}, idempotency_key=KEY)


@pytest.mark.anyio
async def test_network_failures_tell_what_may_have_happened(echo_url: str, egress: Egress) -> None:
    api = invoker(egress)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ProviderUnavailableError):
            await api.invoke(manifest(nobody), {}, idempotency_key=KEY)
    with pytest.raises(ProviderTimeoutError):
        await api.invoke(manifest(echo_url, "/slow", timeout_seconds=0.3), {}, idempotency_key=KEY)
    async with Egress(EgressPolicy()) as strict:
        with pytest.raises(ProviderUnavailableError) as caught:
            await invoker(strict).invoke(manifest(echo_url), {}, idempotency_key=KEY)
        assert caught.value.details["cause"] == "CCOS-EGRESS-REFUSED"
        assert caught.value.details["reason"]
    small = EgressPolicy(private_hosts=frozenset({"127.0.0.1"}), max_response_bytes=10)
    async with Egress(small) as limited:
        with pytest.raises(InvalidResultError, match="answered too much"):
            await invoker(limited).invoke(manifest(echo_url), {}, idempotency_key=KEY)


@pytest.mark.anyio
async def test_a_connection_that_breaks_in_the_middle(egress: Egress) -> None:
    async def hang_up(stream: Any) -> None:
        async with stream:
            await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        port = listener.extra(SocketAttribute.local_port)
        with pytest.raises(ProviderInterruptedError):
            await invoker(egress).invoke(
                manifest(f"http://127.0.0.1:{port}", method="POST"), {}, idempotency_key=KEY
            )
        tasks.cancel_scope.cancel()


class Canned:
    """An HTTP client with one answer."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.status = status
        self.body = body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def request(self, method: str, url: str, **_: Any) -> Canned:
        return self


async def answer_of(
    status: int, body: bytes, *, secrets: Mapping[str, str] | None = None, **headers: str
) -> Any:
    auth = (AuthReference(scheme="bearer", environment=("K",)),) if secrets else ()
    api = OpenApiInvoker(Canned(status, body, **headers), EnvironmentSecrets(secrets or {}))
    return await api.invoke(manifest("https://a.example", auth=auth), {}, idempotency_key=KEY)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"type":"about:blank","title":"Bad","detail":"No such pet."}', "No such pet."),
        (b'{"error":{"code":7,"message":"Key\\u0007 expired"}}', "Key expired"),
        (b'{"errors":[{"message":"first"},{"message":"second"}]}', "first"),
        (b'{"error":"invalid_grant","error_description":"Token is old"}', "Token is old"),
        (b'["gone"]', "gone"),
        (b"plain\ntext", "plain text"),
    ],
)
async def test_the_failure_is_in_the_words_of_the_api(body: bytes, said: str) -> None:
    with pytest.raises(CapabilityFailedError) as caught:
        await answer_of(404, body, content_type="application/json")
    assert caught.value.message == f"openapi.test.call answered 404 Not Found: {said}"
    assert caught.value.details["body"] == body.decode()


@pytest.mark.anyio
async def test_a_failure_without_words() -> None:
    with pytest.raises(CapabilityFailedError, match=r"answered 599\.$"):
        await answer_of(599, b"")


@pytest.mark.anyio
async def test_a_failure_is_capped_and_holds_no_secret() -> None:
    body = b'{"message":"bad token s3cret-1 in Bearer s3cret-1"}' + b" " * 90_000
    with pytest.raises(CapabilityFailedError) as caught:
        await answer_of(403, body, secrets={"K": "s3cret-1"})
    told = json.dumps(caught.value.as_dict())
    assert "s3cret-1" not in told
    assert "bad token ***" in told
    assert len(told) < 4_000


@pytest.mark.anyio
async def test_the_password_of_a_pair_is_no_part_of_a_failure() -> None:
    auth = (AuthReference(scheme="basic", environment=("K",)),)
    api = OpenApiInvoker(
        Canned(401, b"ann may not enter with hunter2"), EnvironmentSecrets({"K": "ann:hunter2"})
    )
    with pytest.raises(CapabilityFailedError, match=r"ann may not enter with \\*\\*\\*"):
        await api.invoke(manifest("https://a.example", auth=auth), {}, idempotency_key=KEY)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "after", "expected"),
    [
        (429, "7", 7.0),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (503, "soon", None),
        (500, "7", None),
    ],
)
async def test_retry_after(status: int, after: str, expected: float | None) -> None:
    with pytest.raises(CapabilityFailedError) as caught:
        await answer_of(status, b"", retry_after=after)
    assert caught.value.details.get("retry_after") == expected


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a":1}', "application/vnd.api+json; charset=utf-8", {"a": 1}),
        (b"", "application/json", None),
        ("ü".encode("latin-1"), "text/plain; charset=latin-1", "ü"),
        (b"text", "", "text"),
        (b"\xff\x00", "", {"content_type": "application/octet-stream", "base64": "/wA="}),
        (b"%PDF", "application/pdf", {"content_type": "application/pdf", "base64": "JVBERg=="}),
        (b"x", "text/plain; charset=no-such", "x"),
    ],
)
async def test_results_by_media_type(body: bytes, content_type: str, expected: Any) -> None:
    assert await answer_of(200, body, content_type=content_type) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"{", b'{"a":NaN}', b'{"a":1,"a":2}'])
async def test_broken_json_is_an_invalid_result(body: bytes) -> None:
    with pytest.raises(InvalidResultError, match="not JSON although"):
        await answer_of(200, body, content_type="application/json")


@pytest.mark.anyio
async def test_only_its_own_kind_of_provider(egress: Egress) -> None:
    other = Manifest(id="a.b", name="x", provider=LocalProvider(handler="h"))
    with pytest.raises(InvalidManifestError, match="not an OpenAPI operation"):
        await invoker(egress).invoke(other, {}, idempotency_key=KEY)
    await invoker(egress).aclose()


def zoo(**operation: Any) -> Manifest:
    schemes = {
        "key": {"type": "apiKey", "in": "query", "name": "k"},
        "user": {"type": "http", "scheme": "basic"},
        "sid": {"type": "apiKey", "in": "cookie", "name": "sid"},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Zoo"},
        "paths": {"/pets/{id}": {"put": operation}},
        "components": {"securitySchemes": schemes},
    }
    found = import_openapi(document, location="zoo.json", allow_unknown_server=True)
    (capability,) = found.capabilities
    return capability


def test_a_preview_shows_the_request_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_KEY_TOKEN", "hidden")
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    capability = zoo(
        security=[{"key": [], "user": [], "sid": []}],
        requestBody={"content": {"application/json": {"schema": schema}}},
    )
    assert preview_request(capability, {"id": "a/b", "name": "Ü"}) == {
        "method": "PUT",
        "url": "https://zoo.base-url-unknown.invalid/pets/a%2Fb?k=$ZOO_KEY_TOKEN",
        "headers": {
            "accept": "application/json, */*;q=0.5",
            "content-type": "application/json",
            "idempotency-key": '"the%20same%20for%20every%20attempt"',
            "authorization": "Basic base64($ZOO_USER_TOKEN)",
            "cookie": "sid=$ZOO_SID_TOKEN",
        },
        "body": '{"name":"Ü"}',
    }
    with pytest.raises(InvalidArgumentsError, match="required") as caught:
        preview_request(capability, {"id": "1"})
    assert caught.value.details["faults"][0]["message"]


def test_a_preview_of_bytes() -> None:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    capability = zoo(requestBody={"required": True, "content": content})
    shown = preview_request(capability, {"id": "1", "body": "AAH/"})
    assert shown["body"] == {"base64": "AAH/"}
    text = {"image/jpeg": {"schema": {"type": "string", "format": "byte"}}}
    encoded = zoo(requestBody={"required": True, "content": text})
    sent = preview_request(encoded, {"id": "1", "body": "AAH/"})
    assert sent["body"] == "AAH/"
    assert sent["headers"]["content-type"] == "image/jpeg"


def test_nothing_is_sent_to_an_api_that_nobody_knows() -> None:
    class Refuse:
        async def request(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a request was made")

    calls = OpenApiInvoker(Refuse(), EnvironmentSecrets({}))
    with pytest.raises(ProviderUnavailableError, match="does not say where the API is") as caught:
        asyncio.run(calls.invoke(zoo(), {"id": "1"}, idempotency_key="k"))
    assert caught.value.details == {"reason": "base-url-missing"}
