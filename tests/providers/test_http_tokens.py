"""Access tokens: asked for once, kept while they last, and never shown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from ccos.capabilities import (
    AuthReference,
    CertificateReference,
    HttpProvider,
    Manifest,
    OAuth2Reference,
    OpenApiProvider,
    auth_references,
)
from ccos.errors import CapabilityFailedError, EgressError, ProviderUnavailableError
from ccos.providers.http import HttpInvoker
from ccos.providers.http_tokens import AccessTokens
from ccos.providers.openapi import OpenApiInvoker, preview_request
from ccos.providers.secrets import EnvironmentSecrets

TOKEN_URL = "https://id.example/token"
CLIENT = {"ZOO_CLIENT_ID": "a:b", "ZOO_CLIENT_SECRET": "s3/cret"}
TOKEN = {"access_token": "t1", "token_type": "Bearer", "expires_in": 100}


def reference(**changes: Any) -> OAuth2Reference:
    return OAuth2Reference.model_validate(
        {
            "environment": ["ZOO_TOKEN"],
            "token_url": TOKEN_URL,
            "scopes": ["read", "write"],
            "client_id": ["ZOO_CLIENT_ID"],
            "client_secret": ["ZOO_CLIENT_SECRET"],
            "refresh_token": ["ZOO_REFRESH_TOKEN"],
            **changes,
        }
    )


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


@dataclass
class Client:
    """Answers in order, and keeps what it was asked."""

    answers: list[Any]
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def request(self, method: str, url: str, **request: Any) -> Answer:
        self.seen.append({"method": method, "url": url, **request})
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(200, json.dumps(answer).encode())

    def form(self, number: int) -> dict[str, list[str]]:
        return parse_qs(self.seen[number]["content"])


def tokens(client: Client, clock: Any = None, **environ: str) -> AccessTokens:
    return AccessTokens(client, EnvironmentSecrets(environ), clock or (lambda: 0.0))


def sent(made: AccessTokens, *references: Any) -> dict[str, str]:
    async def main() -> dict[str, str]:
        return (await made.credentials(references or [reference()], capability="zoo.x")).headers

    return asyncio.run(main())


def test_a_token_that_is_set_is_sent_as_it_is() -> None:
    client = Client([])
    assert sent(tokens(client, ZOO_TOKEN="abc", **CLIENT)) == {"Authorization": "Bearer abc"}
    assert sent(tokens(client, ZOO_TOKEN="Bearer abc")) == {"Authorization": "Bearer abc"}
    assert client.seen == []


def test_a_client_proves_itself_and_the_token_is_kept_while_it_lasts() -> None:
    now = [0.0]
    client = Client([TOKEN, TOKEN | {"access_token": "t2"}])
    made = tokens(client, lambda: now[0], **CLIENT)
    assert sent(made) == {"Authorization": "Bearer t1"}
    now[0] = 69.0
    assert sent(made) == {"Authorization": "Bearer t1"}
    now[0] = 71.0
    assert sent(made) == {"Authorization": "Bearer t2"}
    assert client.form(0) == {"grant_type": ["client_credentials"], "scope": ["read write"]}
    asked = client.seen[0]
    assert (asked["method"], asked["url"]) == ("POST", TOKEN_URL)
    assert asked["only_hosts"] == {"id.example"}
    pair = base64.b64decode(asked["headers"]["authorization"].removeprefix("Basic ")).decode()
    assert pair == "a%3Ab:s3%2Fcret"


def test_many_calls_at_once_ask_once() -> None:
    client = Client([TOKEN])
    made = tokens(client, **CLIENT)

    async def main() -> None:
        await asyncio.gather(
            *(made.credentials([reference()], capability="zoo.x") for _ in range(20))
        )

    asyncio.run(main())
    assert len(client.seen) == 1


def test_a_refresh_token_is_exchanged_and_the_newest_one_is_used() -> None:
    now = [0.0]
    client = Client([TOKEN | {"refresh_token": "r2"}, TOKEN])
    made = tokens(client, lambda: now[0], ZOO_REFRESH_TOKEN="r1", ZOO_CLIENT_ID="id")
    sent(made)
    now[0] = 1_000.0
    sent(made)
    first, second = client.form(0), client.form(1)
    assert first["grant_type"] == ["refresh_token"]
    assert (first["refresh_token"], first["client_id"]) == (["r1"], ["id"])
    assert second["refresh_token"] == ["r2"]


def test_discovery_names_the_endpoint_and_how_to_prove_oneself() -> None:
    url = "https://id.example/.well-known/openid-configuration"
    found = {
        "token_endpoint": "https://id.example/oauth/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }
    client = Client([found, TOKEN])
    asked = reference(token_url=None, discovery_url=url)
    assert sent(tokens(client, **CLIENT), asked) == {"Authorization": "Bearer t1"}
    assert [one["url"] for one in client.seen] == [url, "https://id.example/oauth/token"]
    assert client.form(1)["client_secret"] == ["s3/cret"]
    assert "authorization" not in client.seen[1]["headers"]


@pytest.mark.parametrize("endpoint", ["https://evil.example/token", "http://id.example/t", 7, None])
def test_discovery_leads_to_no_other_host(endpoint: Any) -> None:
    client = Client([{"token_endpoint": endpoint, "issuer": "https://other.example"}])
    url = "https://id.example/.well-known/openid-configuration"
    asked = reference(token_url=None, discovery_url=url)
    with pytest.raises(ProviderUnavailableError, match="no token endpoint of its own"):
        sent(tokens(client, **CLIENT), asked)
    assert len(client.seen) == 1


def test_an_issuer_may_have_its_token_endpoint_elsewhere() -> None:
    found = {"token_endpoint": "https://tokens.example/t", "issuer": "https://id.example/"}
    url = "https://id.example/.well-known/openid-configuration"
    asked = reference(token_url=None, discovery_url=url)
    client = Client([found, TOKEN])
    assert sent(tokens(client, **CLIENT), asked) == {"Authorization": "Bearer t1"}
    assert client.seen[1]["url"] == "https://tokens.example/t"
    plain = Client([found | {"token_endpoint": "http://tokens.example/t"}])
    with pytest.raises(ProviderUnavailableError):
        sent(tokens(plain, **CLIENT), asked)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(400, b'{"error": "invalid_client", "error_description": "no s3/cret here"}'),
            "answered 400: no \\*\\*\\* here",
        ),
        (Answer(200, b"<html>"), "JSON"),
        ([], "no object"),
        ({"access_token": ""}, "no bearer token"),
        ({"access_token": "x", "token_type": "mac"}, "no bearer token"),
        ({"access_token": "x\r\nEvil: 1"}, "cannot be sent"),
        (EgressError("It is refused.", details={"sent": False}), "It is refused"),
    ],
)
def test_without_a_token_nothing_is_called(answer: Any, said: str) -> None:
    with pytest.raises(ProviderUnavailableError, match=said) as caught:
        sent(tokens(Client([answer]), **CLIENT))
    assert "s3/cret" not in str(caught.value.as_dict())


def test_what_is_not_set_is_named() -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        sent(tokens(Client([]), ZOO_CLIENT_ID="id"))
    assert "ZOO_TOKEN" in caught.value.next_step
    assert "ZOO_CLIENT_SECRET" in caught.value.next_step
    certificate = CertificateReference(environment=("ZOO_CLIENT_CERTIFICATE",))
    with pytest.raises(ProviderUnavailableError, match="client certificate"):
        sent(tokens(Client([])), certificate)


def test_a_certificate_and_a_key_go_together() -> None:
    certificate = CertificateReference(environment=("ZOO_CLIENT_CERTIFICATE",))
    key = AuthReference(scheme="api_key", name="X-Key", environment=("ZOO_KEY",))
    made = tokens(Client([]), ZOO_CLIENT_CERTIFICATE="/c.pem", ZOO_KEY="k")

    async def main() -> None:
        found = await made.credentials([certificate, key], capability="zoo.x")
        assert found.headers == {"X-Key": "k"}
        assert found.client_certificate == Path("/c.pem")

    asyncio.run(main())


def zoo(*auth: Any) -> Manifest:
    provider = OpenApiProvider(
        document="zoo", base_url="https://zoo.example", method="GET", path="/x", auth=auth
    )
    return Manifest(id="openapi.zoo.get.x", name="x", provider=provider)


def test_a_token_that_is_refused_is_not_used_again() -> None:
    client = Client(
        [TOKEN, Answer(401, b'{"detail": "expired t1"}'), TOKEN | {"access_token": "t2"}, {"a": 1}]
    )
    invoker = OpenApiInvoker(client, EnvironmentSecrets(CLIENT))

    async def main() -> None:
        with pytest.raises(CapabilityFailedError, match=r"401 Unauthorized: expired \*\*\*"):
            await invoker.invoke(zoo(reference()), {}, idempotency_key="k")
        assert await invoker.invoke(zoo(reference()), {}, idempotency_key="k") == {"a": 1}

    asyncio.run(main())
    assert client.seen[3]["headers"]["authorization"] == "Bearer t2"


def test_plain_endpoints_get_tokens_and_certificates_too() -> None:
    client = Client([TOKEN, {"a": 1}, {"b": 2}])
    endpoint = HttpProvider(base_url="https://zoo.example", auth=reference())
    manifest = Manifest(id="zoo.x", name="x", provider=endpoint)
    certificate = CertificateReference(environment=("ZOO_CLIENT_CERTIFICATE",))
    shown = zoo(certificate)

    async def main() -> None:
        environ = EnvironmentSecrets({**CLIENT, "ZOO_CLIENT_CERTIFICATE": "/c.pem"})
        await HttpInvoker(client, environ).invoke(manifest, {}, idempotency_key="k")
        await OpenApiInvoker(client, environ).invoke(shown, {}, idempotency_key="k")

    asyncio.run(main())
    assert client.seen[1]["headers"]["authorization"] == "Bearer t1"
    assert client.seen[1]["client_certificate"] is None
    assert client.seen[2]["client_certificate"] == Path("/c.pem")


def test_a_preview_reads_and_asks_nothing() -> None:
    certificate = CertificateReference(environment=("ZOO_CLIENT_CERTIFICATE",))
    shown = preview_request(zoo(reference(), certificate), {})
    assert shown["headers"]["Authorization".lower()] == "Bearer $ZOO_TOKEN"


def test_definitions_hold_names_and_survive_storing() -> None:
    manifest = zoo(reference(), CertificateReference(environment=("C",)))
    again = Manifest.model_validate_json(manifest.to_json())
    assert again == manifest
    assert again.definition_hash() == manifest.definition_hash()
    names = [one.variables for one in auth_references(manifest.provider)]
    assert names == [
        ("ZOO_TOKEN", "ZOO_REFRESH_TOKEN", "ZOO_CLIENT_ID", "ZOO_CLIENT_SECRET"),
        ("C",),
    ]
    plain = AuthReference(scheme="bearer", environment=("T",))
    assert plain.model_dump(mode="json").keys() == {"scheme", "location", "name", "environment"}
