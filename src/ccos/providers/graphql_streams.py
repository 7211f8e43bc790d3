"""Subscriptions: streams of answers over WebSocket or server-sent events."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from ccos.egress import Egress, EgressResponse, read_json
from ccos.egress.websocket import WebSocket
from ccos.errors import (
    EgressError,
    InvalidResultError,
    ProviderInterruptedError,
    ProviderTimeoutError,
)
from ccos.providers.event_stream import read_events
from ccos.providers.graphql_answers import (
    MAXIMUM_DEPTH,
    failed_call,
    read_answer,
    read_errors,
    read_payload,
)
from ccos.providers.http_client import provider_error
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest

IDLE_SECONDS: Final = 300.0
_MODERN: Final = "graphql-transport-ws"
_LEGACY: Final = "graphql-ws"
_OPERATION: Final = "1"
_EVENT_STREAM: Final = "text/event-stream"
_NO_MORE_THAN: Final = 1_000_000
"""Bytes of an answer that is no stream, which is read for its errors."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription, ready to be sent."""

    capability: str
    field: str
    url: str
    payload: Mapping[str, Any]
    """``query``, ``variables`` and ``operationName``."""
    request: HttpRequest
    """The same as a request for server-sent events."""
    credentials: Credentials
    started: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set once the server has taken the subscription."""


async def listen(
    egress: Egress, subscription: Subscription
) -> AsyncGenerator[dict[str, Any], None]:
    """Every event of a subscription, each ``data`` with ``errors`` if there are any.

    A WebSocket is tried first, by the protocols ``graphql-transport-ws`` and ``graphql-ws`` (the
    older one), whichever the server speaks. A server that opens none is asked for server-sent
    events (GraphQL over SSE, distinct connections mode). Nothing was subscribed to by then.

    Raises:
        CapabilityFailedError: The API refused the subscription, or ended it with errors.
        InvalidResultError: What came is no GraphQL, or too much.
        ProviderError: By the rules of ``Invoker``.
    """
    try:
        try:
            async with aclosing(_over_websocket(egress, subscription)) as events:
                async for event in events:
                    yield event
            return
        except EgressError as error:
            if error.details.get("reason") != "websocket-refused":
                raise
        async with aclosing(_over_http(egress, subscription)) as events:
            async for event in events:
                yield event
    except EgressError as error:
        raise provider_error(error, subscription.capability) from error


async def _over_websocket(
    egress: Egress, subscription: Subscription
) -> AsyncGenerator[dict[str, Any], None]:
    credentials = subscription.credentials
    cookies = "; ".join(f"{name}={value}" for name, value in credentials.cookies)
    async with egress.websocket(
        subscription.url,
        headers=credentials.headers | ({"cookie": cookies} if cookies else {}),
        subprotocols=(_MODERN, _LEGACY),
        purpose=f"subscribe {subscription.capability}",
        extra_allowed_hosts=_host(subscription.url),
        idle_timeout_seconds=IDLE_SECONDS,
        client_certificate=credentials.client_certificate,
    ) as socket:
        protocol = _Protocol(socket, subscription)
        await protocol.start(egress.policy.timeout_seconds)
        while (event := await protocol.next()) is not None:
            yield event


class _Protocol:
    """The messages of either protocol; they differ in a few names."""

    def __init__(self, socket: WebSocket, subscription: Subscription) -> None:
        self._socket = socket
        self._subscription = subscription
        self._legacy = socket.subprotocol == _LEGACY

    async def start(self, seconds: float) -> None:
        """Say who is there, and subscribe once the server knows.

        What servers want as proof is not agreed on: some read the payload by the names of headers,
        some look in its ``headers``, others at the handshake. Each of these gets it.
        """
        headers = self._subscription.credentials.headers
        payload = {**headers, "headers": headers} if headers else {}
        await self._send({"type": "connection_init", "payload": payload})
        try:
            async with asyncio.timeout(seconds):
                await self._acknowledged()
        except TimeoutError:
            raise ProviderTimeoutError(
                f"{self._subscription.capability}: the server did not acknowledge the connection."
            ) from None
        kind = "start" if self._legacy else "subscribe"
        await self._send({"id": _OPERATION, "type": kind, "payload": self._subscription.payload})
        self._subscription.started.set()

    async def next(self) -> dict[str, Any] | None:
        """The next event; None at the end of the stream."""
        subscription = self._subscription
        while True:
            message = await self._receive()
            kind, payload = message.get("type"), message.get("payload")
            if kind in ("next", "data") and isinstance(payload, Mapping):
                return read_payload(
                    payload, field=subscription.field, credentials=subscription.credentials
                )
            if kind == "error":
                errors = payload if isinstance(payload, list) else [payload]
                raise failed_call(
                    read_errors(errors, subscription.credentials),
                    capability=subscription.capability,
                )
            if kind == "complete":
                return None
            await self._answer(message)

    async def _acknowledged(self) -> None:
        while (message := await self._receive()).get("type") != "connection_ack":
            if message.get("type") == "connection_error":
                raise failed_call(
                    read_errors([message.get("payload")], self._subscription.credentials),
                    capability=self._subscription.capability,
                )
            await self._answer(message)

    async def _answer(self, message: Mapping[str, Any]) -> None:
        """Answer a ping; what else may come in between says nothing."""
        if message.get("type") == "ping":
            await self._send({"type": "pong"})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._socket.send(json.dumps(message, ensure_ascii=False))

    async def _receive(self) -> Mapping[str, Any]:
        text = await self._socket.receive()
        if text is None:
            raise self._closed()
        try:
            message = read_json(text, max_depth=MAXIMUM_DEPTH)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise _no_graphql(self._subscription)
        return message

    def _closed(self) -> Exception:
        code, reason = self._socket.closing or (1006, "")
        words = self._subscription.credentials.redact(reason) or f"code {code}"
        errors = read_errors([{"message": words}], self._subscription.credentials)
        if 4000 <= code < 5000:  # the protocols close with these when they refuse something
            return failed_call(errors, capability=self._subscription.capability)
        return ProviderInterruptedError(
            f"{self._subscription.capability}: the server ended the connection "
            f"({errors[0]['message']})."
        )


async def _over_http(
    egress: Egress, subscription: Subscription
) -> AsyncGenerator[dict[str, Any], None]:
    request = subscription.request
    transport = egress.transport(
        f"subscribe {subscription.capability}",
        _host(request.url),
        idle_timeout_seconds=IDLE_SECONDS,
        client_certificate=subscription.credentials.client_certificate,
    )
    headers = request.headers | {"accept": f"{_EVENT_STREAM}, application/json;q=0.5"}
    async with (
        httpx2.AsyncClient(transport=transport, trust_env=False, timeout=IDLE_SECONDS) as client,
        client.stream("POST", request.url, headers=headers, content=request.content) as response,
    ):
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != HTTPStatus.OK or kind != _EVENT_STREAM:
            yield await _single(response, subscription)
            return
        subscription.started.set()
        async with aclosing(read_events(response.aiter_bytes())) as events:
            async for event in events:
                if event.event == "complete":
                    return
                if event.event == "next":
                    yield read_payload(
                        _event_payload(event.data, subscription),
                        field=subscription.field,
                        credentials=subscription.credentials,
                    )
    raise ProviderInterruptedError(
        f"{subscription.capability}: the server broke the stream off before its end."
    )


async def _single(response: httpx2.Response, subscription: Subscription) -> dict[str, Any]:
    """An answer that is no stream: a failure most likely, or one event."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _NO_MORE_THAN:
            raise _no_graphql(subscription)
    return read_answer(
        EgressResponse(response.status_code, response.headers, body, subscription.url),
        field=subscription.field,
        capability=subscription.capability,
        credentials=subscription.credentials,
    )


def _event_payload(text: str, subscription: Subscription) -> Mapping[str, Any]:
    try:
        payload = read_json(text, max_depth=MAXIMUM_DEPTH)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise _no_graphql(subscription)
    return payload


def _no_graphql(subscription: Subscription) -> InvalidResultError:
    return InvalidResultError(f"{subscription.capability} was sent what is no answer of GraphQL.")


def _host(url: str) -> frozenset[str]:
    return frozenset({urlsplit(url).hostname or ""})
