"""Invokes endpoints by a template of their requests."""

from __future__ import annotations

import copy
from http import HTTPStatus
from typing import Any, Final

from ccos.capabilities import HttpField, HttpTemplateProvider, Manifest
from ccos.errors import CapabilityFailedError, InvalidManifestError, InvalidResultError
from ccos.providers.base import Secrets
from ccos.providers.http_bodies import RequestBody, json_body
from ccos.providers.http_client import HttpClient, call
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_preview import PREVIEWED_KEY, named_credentials, preview
from ccos.providers.http_request import HttpRequest, assemble
from ccos.providers.http_tokens import AccessTokens
from ccos.providers.media_types import BodyKind, body_kind
from ccos.providers.parameter_styles import (
    Pairs,
    fill_path,
    header_text,
    is_token,
    path_value,
    placeholders,
    plain_text,
    query_pairs,
)

_ABSENT: Final = object()


class HttpTemplateInvoker:
    """Fills arguments into a template, sends it, and picks the result out of the answer.

    A query parameter, header, form field or part of the body whose argument is left out is left out
    of the request, too.

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
        """Call the endpoint and return the part of its answer that the template names.

        Raises:
            InvalidArgumentsError: An argument cannot be written where it belongs; nothing was sent.
            InvalidResultError: The answer is too large, broken JSON, or has no such part.
            ProviderError: By the rules of ``Invoker``.
        """
        provider = _provider(manifest)
        credentials = await self._tokens.credentials(provider.auth, capability=manifest.id)
        request = build_template(
            provider, arguments, credentials=credentials, idempotency_key=idempotency_key
        )
        try:
            answer = await call(
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
        value = part_of(answer, provider.response_path)
        if value is _ABSENT:
            raise InvalidResultError(
                f"The answer for {manifest.id} has nothing at {provider.response_path}.",
                details={"response_path": provider.response_path},
            )
        return value

    async def aclose(self) -> None:
        """Nothing to release: the HTTP client belongs to whoever made it."""


def preview_template(manifest: Manifest, arguments: dict[str, Any]) -> dict[str, Any]:
    """The request that a call would make, as JSON data; nothing is sent and no secret is read.

    Raises:
        InvalidArgumentsError: The arguments do not fit.
        InvalidManifestError: It is no template.
    """
    provider = _provider(manifest)
    return preview(
        manifest,
        arguments,
        lambda: build_template(
            provider,
            arguments,
            credentials=named_credentials(provider.auth),
            idempotency_key=PREVIEWED_KEY,
        ),
    )


def build_template(
    provider: HttpTemplateProvider,
    arguments: dict[str, Any],
    *,
    credentials: Credentials,
    idempotency_key: str,
) -> HttpRequest:
    """The request for one call.

    Raises:
        InvalidArgumentsError: An argument cannot be written where it belongs.
        InvalidManifestError: A header of the template has a name that none can have, or a part of
            the body has no place in it.
    """
    in_path = placeholders(provider.path)
    expansions = {name: path_value(name, arguments[name]) for name in in_path if name in arguments}
    headers: dict[str, str] = {}
    for one in _filled(provider, "header", arguments):
        name, value = one
        if not is_token(name):
            raise InvalidManifestError(f"{name[:100]!r} cannot be the name of a header.")
        headers[name] = header_text(name, value)
    return assemble(
        provider.method,
        provider.base_url,
        fill_path(provider.path, expansions),
        query=_pairs(provider, "query", arguments),
        headers=headers,
        cookies=[],
        body=_body(provider, arguments),
        credentials=credentials,
        idempotency_key=idempotency_key,
    )


def part_of(value: Any, pointer: str) -> Any:
    """The part of a JSON value at a JSON Pointer (RFC 6901); see `is_absent`."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return _ABSENT
    return value


def is_absent(value: Any) -> bool:
    """Whether `part_of` found nothing."""
    return value is _ABSENT


def _provider(manifest: Manifest) -> HttpTemplateProvider:
    if not isinstance(manifest.provider, HttpTemplateProvider):
        raise InvalidManifestError(f"{manifest.id} is not a template of a request.")
    return manifest.provider


def _filled(
    provider: HttpTemplateProvider, location: str, arguments: dict[str, Any]
) -> list[tuple[str, Any]]:
    def value_of(one: HttpField) -> Any:
        return one.value if one.argument is None else arguments.get(one.argument)

    named = [one for one in provider.fields if one.location == location]
    return [(one.name, value) for one in named if (value := value_of(one)) is not None]


def _pairs(provider: HttpTemplateProvider, location: str, arguments: dict[str, Any]) -> Pairs:
    return [
        pair
        for name, value in _filled(provider, location, arguments)
        for pair in query_pairs(name, value, "deepObject" if isinstance(value, dict) else "form")
    ]


def _body(provider: HttpTemplateProvider, arguments: dict[str, Any]) -> RequestBody | None:
    if provider.content_type is None:
        return None
    kind = body_kind(provider.content_type)
    if kind is BodyKind.FORM:
        pairs = _pairs(provider, "form", arguments)
        text = "&".join(f"{name}={value}" for name, value in pairs)
        return RequestBody(provider.content_type, text.encode())
    body = copy.deepcopy(provider.body)
    for argument, pointer in provider.body_places.items():
        if pointer == "":
            body = arguments.get(argument, body)
        else:
            _put(body, pointer, arguments.get(argument, _ABSENT))
    if kind is BodyKind.JSON:
        return json_body(body, provider.content_type)
    return RequestBody(provider.content_type, plain_text(body).encode())


def _put(body: Any, pointer: str, value: Any) -> None:
    """Set, or take out, one member of an object within the body."""
    parent_at, _, last = pointer.rpartition("/")
    parent, key = part_of(body, parent_at), last.replace("~1", "/").replace("~0", "~")
    if not isinstance(parent, dict):
        raise InvalidManifestError(f"The body of the template has no place {pointer}.")
    if value is _ABSENT:
        parent.pop(key, None)
    else:
        parent[key] = value
