"""GraphQL operations as HTTP requests (GraphQL over HTTP, section 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.capabilities import GraphQlProvider
from ccos.providers.http_bodies import json_body
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest, assemble

_ACCEPT: Final = "application/graphql-response+json, application/json;q=0.9"


def payload_of(provider: GraphQlProvider, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent for a call: the document as it is, and the arguments as its variables."""
    return {
        "query": provider.document,
        "operationName": provider.field,
        "variables": dict(arguments),
    }


def request_of(
    provider: GraphQlProvider,
    arguments: Mapping[str, Any],
    *,
    credentials: Credentials,
    idempotency_key: str,
) -> HttpRequest:
    """The request for one call; only a mutation carries the key.

    Raises:
        InvalidArgumentsError: The arguments cannot be written as JSON.
    """
    subscribes = provider.operation == "subscription"
    return post(
        (subscribes and provider.subscriptions_endpoint) or provider.endpoint,
        payload_of(provider, arguments),
        credentials=credentials,
        idempotency_key=idempotency_key if provider.operation == "mutation" else None,
    )


def post(
    endpoint: str,
    payload: Mapping[str, Any],
    *,
    credentials: Credentials,
    idempotency_key: str | None = None,
) -> HttpRequest:
    """A request for an endpoint, whose path and query are kept as they are.

    Raises:
        InvalidArgumentsError: The payload cannot be written as JSON.
    """
    parts = urlsplit(endpoint)
    request = assemble(
        "POST",
        f"{parts.scheme}://{parts.netloc}",
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        query=[],
        headers={"accept": _ACCEPT},
        cookies=[],
        body=json_body(payload),
        credentials=credentials,
        idempotency_key=idempotency_key or "",
    )
    if idempotency_key is None:
        del request.headers["idempotency-key"]
    return request
