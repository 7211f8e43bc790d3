"""Templates of requests, called for real."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import AuthReference, HttpField, HttpTemplateProvider, Manifest
from ccos.egress import Egress
from ccos.errors import (
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidManifestError,
    InvalidResultError,
)
from ccos.importers.http import exchange_of_curl, learn
from ccos.providers.http_template import HttpTemplateInvoker, preview_template
from ccos.providers.secrets import EnvironmentSecrets

pytestmark = pytest.mark.anyio


def manifest(url: str, **fields: Any) -> Manifest:
    provider = HttpTemplateProvider.model_validate(
        {"base_url": url, "method": "GET", "path": "/x", **fields}
    )
    return Manifest(id="http.test", name="test", provider=provider)


async def test_a_learned_command_is_called(echo_url: str, egress: Egress) -> None:
    command = (
        f"curl -X PUT '{echo_url}/users/42?lang=de&api_key=old' -H 'X-Region: eu' "
        """--json '{"name": "Ada", "tags": []}'"""
    )
    (learned,) = learn([exchange_of_curl(command)], source="curl").capabilities
    assert isinstance(learned.provider, HttpTemplateProvider)
    (reference,) = learned.provider.auth
    secrets = EnvironmentSecrets({reference.environment[0]: "new&secret"})
    invoker = HttpTemplateInvoker(egress, secrets)
    arguments = {"user_id": 7, "lang": "en&x=1", "name": "Bob", "tags": ["a"]}
    answer = await invoker.invoke(learned, arguments, idempotency_key="k")
    assert answer["method"] == "PUT"
    assert answer["target"].partition("?")[0] == "/users/7"
    assert answer["query"] == "lang=en%26x%3D1&api_key=new%26secret"
    headers = dict(answer["headers"])
    assert (headers["x-region"], headers["idempotency-key"]) == ("eu", '"k"')
    assert answer["body"] == '{"name":"Bob","tags":["a"]}'


async def test_the_result_is_a_part_of_the_answer(echo_url: str, egress: Egress) -> None:
    invoker = HttpTemplateInvoker(egress, EnvironmentSecrets({}))
    assert await invoker.invoke(
        manifest(echo_url, response_path="/headers/0/0"), {}, idempotency_key="k"
    )
    for missing in ("/nothing", "/headers/900", "/method/0"):
        with pytest.raises(InvalidResultError, match="nothing at"):
            await invoker.invoke(manifest(echo_url, response_path=missing), {}, idempotency_key="k")


async def test_failures_are_in_the_services_own_words(httpbin_url: str, egress: Egress) -> None:
    teapot = manifest(httpbin_url, path="/status/418")
    with pytest.raises(CapabilityFailedError, match="418"):
        await HttpTemplateInvoker(egress, EnvironmentSecrets({})).invoke(
            teapot, {}, idempotency_key="k"
        )


def test_what_is_not_given_is_not_sent() -> None:
    template = manifest(
        "https://a.example",
        method="POST",
        fields=[HttpField(location="query", name="q", argument="q")],
        body={"a": 1, "b": {"c": 2, "d": 3}},
        body_places={"c": "/b/c"},
        content_type="application/json",
    )
    shown = preview_template(template, {})
    assert (shown["url"], shown["body"]) == ("https://a.example/x", '{"a":1,"b":{"d":3}}')
    shown = preview_template(template, {"q": [1, 2], "c": None})
    assert shown["url"] == "https://a.example/x?q=1&q=2"
    assert shown["body"] == '{"a":1,"b":{"c":null,"d":3}}'


def test_arguments_stay_in_their_places() -> None:
    template = manifest(
        "https://a.example",
        path="/users/{id}",
        fields=[HttpField(location="header", name="x-a", argument="a")],
        auth=[AuthReference(scheme="bearer", environment=("T",))],
    )
    shown = preview_template(template, {"id": "../b?c", "a": "v"})
    assert shown["url"] == "https://a.example/users/..%2Fb%3Fc"
    assert shown["headers"]["authorization"] == "Bearer $T"
    for arguments in ({}, {"id": ".."}, {"id": "1", "a": "x\r\nEvil: 1"}):
        with pytest.raises(InvalidArgumentsError):
            preview_template(template, arguments)


def test_a_template_that_makes_no_sense_is_refused() -> None:
    header = HttpField(location="header", name="a b", value="c")
    with pytest.raises(InvalidManifestError, match="header"):
        preview_template(manifest("https://a.example", fields=[header]), {})
    nowhere = manifest(
        "https://a.example",
        body=[1],
        body_places={"c": "/b/c"},
        content_type="application/json",
    )
    with pytest.raises(InvalidManifestError, match="no place /b/c"):
        preview_template(nowhere, {"c": 1})
