"""Invokes root fields of GraphQL APIs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from ccos.capabilities import GraphQlProvider, Manifest
from ccos.egress import Egress
from ccos.errors import (
    CapabilityFailedError,
    InvalidManifestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.providers.base import Secrets
from ccos.providers.graphql_answers import read_answer
from ccos.providers.graphql_requests import payload_of, request_of
from ccos.providers.http_client import send
from ccos.providers.http_preview import PREVIEWED_KEY, named_credentials, preview
from ccos.providers.http_request import is_unknown_host
from ccos.providers.http_tokens import AccessTokens


class GraphQlInvoker:
    """Sends the document of a capability, with the arguments as its variables.

    Args:
        egress: The way out.
        secrets: Looks up what ``auth`` of the provider names.
    """

    def __init__(self, egress: Egress, secrets: Secrets) -> None:
        self._egress = egress
        self._tokens = AccessTokens(egress, secrets)

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Make the call and return ``{"data": …}``, with ``errors`` if a part of it is missing.

        A subscription is listened to until it ends, has brought ``maximum_events`` or
        ``timeout_seconds`` have passed: ``{"events": [{"data": …}], "complete": bool}``.

        Raises:
            CapabilityFailedError: The API answered with errors and without data.
            InvalidResultError: The answer is too large, or no answer of GraphQL.
            ProviderError: By the rules of ``Invoker``.
        """
        provider = _provider(manifest)
        if provider.operation == "subscription":
            return await self._gather(manifest, provider, arguments)
        credentials = await self._tokens.credentials(provider.auth, capability=manifest.id)
        response = await send(
            self._egress,
            request_of(
                provider, arguments, credentials=credentials, idempotency_key=idempotency_key
            ),
            capability=manifest.id,
            credentials=credentials,
            timeout_seconds=provider.timeout_seconds,
        )
        try:
            return read_answer(
                response, field=provider.field, capability=manifest.id, credentials=credentials
            )
        except CapabilityFailedError as error:
            if error.details.get("status") == HTTPStatus.UNAUTHORIZED:
                self._tokens.forget(provider.auth)
            raise

    async def subscribe(
        self,
        manifest: Manifest,
        arguments: dict[str, Any],
        *,
        started: asyncio.Event | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Every event of a subscription as it comes, ``{"data": …}`` with ``errors`` if any.

        Leave the loop early under ``contextlib.aclosing``, which ends the subscription.

        Args:
            manifest: A subscription.
            arguments: Already valid against the manifest's input schema.
            started: Is set once the API has taken the subscription.

        Raises:
            CcosError: As ``invoke`` says.
        """
        from ccos.providers.graphql_streams import Subscription, listen

        provider = _provider(manifest)
        if provider.operation != "subscription":
            raise InvalidManifestError(f"{manifest.id} is no subscription.")
        credentials = await self._tokens.credentials(provider.auth, capability=manifest.id)
        request = request_of(provider, arguments, credentials=credentials, idempotency_key="")
        subscription = Subscription(
            capability=manifest.id,
            field=provider.field,
            url=request.url,
            payload=payload_of(provider, arguments),
            request=request,
            credentials=credentials,
            started=started or asyncio.Event(),
        )
        async with aclosing(listen(self._egress, subscription)) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """Nothing to release: the way out belongs to whoever made it."""

    async def _gather(
        self, manifest: Manifest, provider: GraphQlProvider, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        events: list[dict[str, Any]] = []
        started = asyncio.Event()
        deadline = asyncio.timeout(provider.timeout_seconds)
        try:
            async with (
                deadline,
                aclosing(self.subscribe(manifest, arguments, started=started)) as stream,
            ):
                async for event in stream:
                    events.append(event)
                    if len(events) == provider.maximum_events:
                        return {"events": events, "complete": False}
        except TimeoutError:
            if not (deadline.expired() and started.is_set()):
                raise ProviderTimeoutError(
                    f"{manifest.id} was not taken within {provider.timeout_seconds:g} s."
                ) from None
            return {"events": events, "complete": False}
        return {"events": events, "complete": True}


def preview_graphql_request(manifest: Manifest, arguments: dict[str, Any]) -> dict[str, Any]:
    """As `preview_request` of OpenAPI operations: what a call would send; nothing is sent.

    Raises:
        InvalidArgumentsError: The arguments do not satisfy the input schema;
            ``details["faults"]`` lists each place.
        InvalidManifestError: It is no field of a GraphQL API.
    """
    provider = manifest.provider
    if not isinstance(provider, GraphQlProvider):
        raise InvalidManifestError(f"{manifest.id} is no field of a GraphQL API.")
    return preview(
        manifest,
        arguments,
        lambda: request_of(
            provider,
            arguments,
            credentials=named_credentials(provider.auth),
            idempotency_key=PREVIEWED_KEY,
        ),
    )


def _provider(manifest: Manifest) -> GraphQlProvider:
    provider = manifest.provider
    if not isinstance(provider, GraphQlProvider):
        raise InvalidManifestError(f"{manifest.id} is no field of a GraphQL API.")
    if is_unknown_host(provider.endpoint):
        raise ProviderUnavailableError(
            f"The schema of {manifest.id} does not say where the API is.",
            next_step="Import it again with the endpoint of the API.",
            details={"reason": "base-url-missing"},
        )
    return provider
