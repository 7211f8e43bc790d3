"""Asks a live GraphQL endpoint for its schema."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.egress import parse_json
from ccos.errors import EgressError, ImportDocumentError
from ccos.providers.graphql_requests import post
from ccos.providers.http_client import HttpClient
from ccos.providers.http_credentials import Credentials

_MAXIMUM_MESSAGE: Final = 300
_TYPE_REF: Final = "kind name " + "ofType { kind name " * 9 + "} " * 9


def _query(*, arguments: str, schema: str, types: str, inputs: str) -> str:
    value = f"name description type {{ {_TYPE_REF} }} defaultValue {inputs}"
    return (
        "query IntrospectionQuery { __schema { "
        f"{schema} queryType {{ name }} mutationType {{ name }} subscriptionType {{ name }} "
        f"types {{ kind name description {types} "
        "fields(includeDeprecated: true) { name description isDeprecated deprecationReason "
        f"args{arguments} {{ {value} }} type {{ {_TYPE_REF} }} }} "
        f"inputFields{arguments} {{ {value} }} "
        "interfaces { name } possibleTypes { name } "
        "enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } "
        "} } }"
    )


QUERIES: Final = (
    _query(
        arguments="(includeDeprecated: true)",
        schema="description",
        types="specifiedByURL isOneOf",
        inputs="isDeprecated deprecationReason",
    ),
    _query(
        arguments="(includeDeprecated: true)",
        schema="description",
        types="specifiedByURL",
        inputs="isDeprecated deprecationReason",
    ),
    _query(arguments="", schema="", types="", inputs=""),
)
"""Introspection queries for servers of the specification of 2025, of 2021, and of 2018."""


async def introspect(
    client: HttpClient,
    endpoint: str,
    *,
    credentials: Credentials | None = None,
    timeout_seconds: float = 30.0,
) -> Mapping[str, Any]:
    """The answer to an introspection query, for ``ccos.importers.graphql.import_graphql``.

    A server that does not know the newest query is asked again by an older one.

    Args:
        client: The way out.
        endpoint: Where the API is.
        credentials: What the secrets of the API add to a request.
        timeout_seconds: How long each answer may take.

    Raises:
        EgressError: The endpoint cannot be asked.
        ImportDocumentError: It does not give its schema; the message has its own words.
    """
    secrets = credentials or Credentials()
    said = ""
    for query in QUERIES:
        request = post(
            endpoint,
            {"query": query, "operationName": "IntrospectionQuery"},
            credentials=secrets,
        )
        response = await client.request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            purpose="read a GraphQL schema",
            # Somebody named this very address.
            extra_allowed_hosts=frozenset({urlsplit(endpoint).hostname or ""}),
            secret_headers=frozenset(secrets.headers),
            timeout_seconds=timeout_seconds,
            client_certificate=secrets.client_certificate,
        )
        answer = _answer(response.body)
        if _has_schema(answer):
            return answer
        said = _reason(answer) or f"it answered {response.status}"
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            break
    raise ImportDocumentError(
        f"{endpoint} does not give its schema: {secrets.redact(said)[:_MAXIMUM_MESSAGE]}.",
        next_step="Import the schema from a file, or name the secret that the API wants.",
        details={"location": endpoint},
    )


def _answer(body: bytes) -> Mapping[str, Any]:
    try:
        answer = parse_json(body)
    except EgressError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _has_schema(answer: Mapping[str, Any]) -> bool:
    data = answer.get("data")
    return isinstance(data, Mapping) and isinstance(data.get("__schema"), Mapping)


def _reason(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return " ".join(message.split()).rstrip(".") if isinstance(message, str) else ""
