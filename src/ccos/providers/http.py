"""Invokes plain HTTP endpoints."""

from __future__ import annotations

from typing import Any, Final

from ccos.capabilities import HttpProvider, Manifest
from ccos.errors import InvalidManifestError
from ccos.providers.base import Secrets
from ccos.providers.http_bodies import json_body
from ccos.providers.http_client import HttpClient, call
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest, assemble
from ccos.providers.http_tokens import AccessTokens
from ccos.providers.parameter_styles import (
    fill_path,
    header_text,
    is_token,
    path_value,
    placeholders,
    query_pairs,
)

_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


class HttpInvoker:
    """Calls an endpoint by its template.

    Arguments named in the path template fill it in. The rest is the query of GET and DELETE, where
    a list repeats its name, and the JSON body of the other methods.

    Args:
        http: Sends the requests.
        secrets: Looks up what ``auth`` of the provider names.
    """

    def __init__(self, http: HttpClient, secrets: Secrets) -> None:
        self._http = http
        self._tokens = AccessTokens(http, secrets)

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Call the endpoint and return its answer as JSON data.

        Raises:
            InvalidArgumentsError: An argument cannot be written where it belongs; nothing was sent.
            InvalidResultError: The answer is too large, or broken JSON.
            ProviderError: By the rules of ``Invoker``.
        """
        provider = manifest.provider
        if not isinstance(provider, HttpProvider):
            raise InvalidManifestError(f"{manifest.id} is not an HTTP endpoint.")
        references = () if provider.auth is None else (provider.auth,)
        credentials = await self._tokens.credentials(references, capability=manifest.id)
        return await call(
            self._http,
            _build(provider, arguments, credentials, idempotency_key),
            capability=manifest.id,
            credentials=credentials,
            timeout_seconds=provider.timeout_seconds,
        )

    async def aclose(self) -> None:
        """Nothing to release: the HTTP client belongs to whoever made it."""


def _build(
    provider: HttpProvider,
    arguments: dict[str, Any],
    credentials: Credentials,
    idempotency_key: str,
) -> HttpRequest:
    template, mark, fixed_query = provider.path.partition("?")
    in_path = set(placeholders(template))
    expansions = {name: path_value(name, arguments[name]) for name in in_path if name in arguments}
    rest = {name: value for name, value in arguments.items() if name not in in_path}
    without_body = provider.method in _WITHOUT_BODY
    if not all(map(is_token, provider.headers)):
        raise InvalidManifestError("A fixed header has a name that no header can have.")
    return assemble(
        provider.method,
        provider.base_url,
        fill_path(template, expansions) + mark + fixed_query,
        query=[
            pair
            for name, value in rest.items()
            for pair in query_pairs(
                name, value, "deepObject" if isinstance(value, dict) else "form"
            )
        ]
        if without_body
        else [],
        headers={name: header_text(name, text) for name, text in provider.headers.items()},
        cookies=[],
        body=None if without_body else json_body(rest),
        credentials=credentials,
        idempotency_key=idempotency_key,
    )
