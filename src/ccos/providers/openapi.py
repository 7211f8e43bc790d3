"""Invokes operations of HTTP APIs that an OpenAPI document describes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ccos.capabilities import (
    Manifest,
    OpenApiParameter,
    OpenApiProvider,
)
from ccos.errors import (
    CapabilityFailedError,
    InvalidManifestError,
    ProviderUnavailableError,
)
from ccos.providers.base import Secrets
from ccos.providers.http_bodies import build_body, json_body
from ccos.providers.http_client import HttpClient, call
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_preview import PREVIEWED_KEY, named_credentials, preview
from ccos.providers.http_request import HttpRequest, assemble, is_unknown_host
from ccos.providers.http_tokens import AccessTokens
from ccos.providers.media_types import BodyKind, body_kind
from ccos.providers.parameter_styles import (
    Pairs,
    fill_path,
    header_text,
    is_token,
    path_value,
    plain_text,
    query_pairs,
)


class OpenApiInvoker:
    """Makes the request that an operation's description asks for.

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
        """Call the operation and return its answer as JSON data.

        Raises:
            InvalidArgumentsError: An argument cannot be written where it belongs; nothing was sent.
            InvalidResultError: The answer is too large, or broken JSON.
            ProviderError: By the rules of ``Invoker``.
        """
        provider = manifest.provider
        if not isinstance(provider, OpenApiProvider):
            raise InvalidManifestError(f"{manifest.id} is not an OpenAPI operation.")
        if is_unknown_host(provider.base_url):
            raise ProviderUnavailableError(
                f"The description of {manifest.id} does not say where the API is.",
                next_step="Import it again with the base URL of the API.",
                details={"reason": "base-url-missing"},
            )
        credentials = await self._tokens.credentials(provider.auth, capability=manifest.id)
        request = build_request(
            manifest, provider, arguments, credentials=credentials, idempotency_key=idempotency_key
        )
        try:
            return await call(
                self._http,
                request,
                capability=manifest.id,
                credentials=credentials,
                timeout_seconds=provider.timeout_seconds,
            )
        except CapabilityFailedError as error:
            if error.details.get("status") == HTTPStatus.UNAUTHORIZED:
                self._tokens.forget(provider.auth)
            raise

    async def aclose(self) -> None:
        """Nothing to release: the HTTP client belongs to whoever made it."""


def preview_request(manifest: Manifest, arguments: dict[str, Any]) -> dict[str, Any]:
    """The request that a call would make, as JSON data; nothing is sent and no secret is read.

    Secrets are shown as the name of the environment variable they come from, ``$ZOO_TOKEN``. A
    body that is not text is ``{"base64": …}``.

    Args:
        manifest: An OpenAPI operation.
        arguments: The arguments of the call.

    Returns:
        ``method``, ``url``, ``headers``, and ``body`` or None.

    Raises:
        InvalidArgumentsError: The arguments do not satisfy the input schema, or cannot be written
            where they belong; ``details["faults"]`` lists each place.
        InvalidManifestError: It is no OpenAPI operation.
    """
    provider = manifest.provider
    if not isinstance(provider, OpenApiProvider):
        raise InvalidManifestError(f"{manifest.id} is not an OpenAPI operation.")
    return preview(
        manifest,
        arguments,
        lambda: build_request(
            manifest,
            provider,
            arguments,
            credentials=named_credentials(provider.auth),
            idempotency_key=PREVIEWED_KEY,
        ),
    )


def build_request(
    manifest: Manifest,
    provider: OpenApiProvider,
    arguments: dict[str, Any],
    *,
    credentials: Credentials,
    idempotency_key: str,
) -> HttpRequest:
    """The request for one call; an argument that is null is left out.

    Raises:
        InvalidArgumentsError: An argument cannot be written where it belongs.
        InvalidManifestError: A header or cookie of the provider has a name that none can have.
    """
    expansions: dict[str, str] = {}
    query: Pairs = []
    headers: dict[str, str] = {}
    cookies: Pairs = []
    for parameter in provider.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            continue
        name, style, explode = parameter.name, parameter.style, parameter.explode
        if parameter.content_type:
            value = _serialised(parameter.content_type, value)
        match parameter.location:
            case "path":
                expansions[name] = path_value(
                    name, value, style, explode, allow_reserved=parameter.allow_reserved
                )
            case "query":
                query += query_pairs(
                    name, value, style, explode, allow_reserved=parameter.allow_reserved
                )
            case "header":
                headers[_token(parameter)] = header_text(name, value, explode)
            case "cookie":
                cookies += query_pairs(_token(parameter), value, "form", explode)
    path, mark, fixed_query = provider.path.partition("?")
    body = build_body(provider.body, arguments, manifest.input_schema) if provider.body else None
    return assemble(
        provider.method,
        provider.base_url,
        fill_path(path, expansions) + mark + fixed_query,
        query=query,
        headers=headers,
        cookies=cookies,
        body=body,
        credentials=credentials,
        idempotency_key=idempotency_key,
    )


def _serialised(content_type: str, value: Any) -> str:
    """The one text that a parameter described by ``content`` is sent as."""
    if body_kind(content_type) is BodyKind.JSON:
        return json_body(value).content.decode()
    return plain_text(value)


def _token(parameter: OpenApiParameter) -> str:
    if not is_token(parameter.name):
        raise InvalidManifestError(
            f"{parameter.name!r} cannot be the name of a {parameter.location}."
        )
    return parameter.name
