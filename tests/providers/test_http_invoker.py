"""Plain HTTP endpoints called for real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccos.capabilities import AuthReference, HttpProvider, LocalProvider, Manifest
from ccos.egress import Egress
from ccos.errors import (
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidManifestError,
    ProviderUnavailableError,
)
from ccos.providers.base import Invoker
from ccos.providers.http import HttpInvoker
from ccos.providers.secrets import EnvironmentSecrets

KEY = "call-1"


def manifest(base_url: str, **fields: Any) -> Manifest:
    return Manifest(id="web.call", name="call", provider=HttpProvider(base_url=base_url, **fields))


async def call(
    egress: Egress, described: Manifest, secrets: dict[str, str] | None = None, **arguments: Any
) -> Any:
    invoker: Invoker = HttpInvoker(egress, EnvironmentSecrets(secrets or {}))
    return await invoker.invoke(described, arguments, idempotency_key=KEY)


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_rest_is_the_query(echo_url: str, egress: Egress, method: str) -> None:
    described = manifest(echo_url, method=method, path="/users/{id}?v=2")
    answer = await call(egress, described, id="a/b", tag=["x", "y&z"], where={"k": 1}, none=None)
    assert answer["target"] == "/users/a%2Fb"
    assert answer["query"] == "v=2&tag=x&tag=y%26z&where%5Bk%5D=1"
    assert answer["body"] == ""
    assert ("idempotency-key" in dict(answer["headers"])) is (method == "DELETE")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_the_rest_is_the_json_body(echo_url: str, egress: Egress, method: str) -> None:
    described = manifest(
        echo_url,
        method=method,
        path="/users/{id}",
        headers={"Accept": "application/x", "X-Fixed": "1"},
        auth=AuthReference(scheme="bearer", environment=("T",)),
    )
    answer = await call(egress, described, {"T": "abc"}, id=7, name="ü")
    headers = dict(answer["headers"])
    assert (answer["method"], answer["target"], answer["query"]) == (method, "/users/7", "")
    assert json.loads(answer["body"].encode("latin-1")) == {"name": "ü"}
    assert headers["authorization"] == "Bearer abc"
    assert headers["accept"] == "application/x"
    assert headers["x-fixed"] == "1"
    assert headers["idempotency-key"] == '"call-1"'


@pytest.mark.anyio
async def test_an_endpoint_without_path(echo_url: str, egress: Egress) -> None:
    assert (await call(egress, manifest(f"{echo_url}/v1/")))["target"] == "/v1"


@pytest.mark.anyio
async def test_paths_cannot_be_left(echo_url: str, egress: Egress) -> None:
    described = manifest(echo_url, path="/users/{id}/x")
    for bad in ("..", ".", ""):
        with pytest.raises(InvalidArgumentsError):
            await call(egress, described, id=bad)
    assert (await call(egress, described, id="..."))["target"] == "/users/.../x"


@pytest.mark.anyio
async def test_failures_and_missing_secrets(httpbin_url: str, egress: Egress) -> None:
    with pytest.raises(CapabilityFailedError, match=r"web\.call answered 503 Service Unavailable"):
        await call(egress, manifest(httpbin_url, path="/status/503"))
    locked = manifest(
        httpbin_url, path="/bearer", auth=AuthReference(scheme="bearer", environment=("T",))
    )
    with pytest.raises(ProviderUnavailableError) as caught:
        await call(egress, locked)
    assert "Set T and" in caught.value.next_step
    assert (await call(egress, locked, {"T": "abc"}))["token"] == "abc"


@pytest.mark.anyio
async def test_bad_manifests(echo_url: str, egress: Egress) -> None:
    with pytest.raises(InvalidManifestError, match="fixed header"):
        await call(egress, manifest(echo_url, headers={"X Y": "1"}))
    local = Manifest(id="a.b", name="x", provider=LocalProvider(handler="h"))
    with pytest.raises(InvalidManifestError, match="not an HTTP endpoint"):
        await call(egress, local)
