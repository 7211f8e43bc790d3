"""How GraphQL calls look on the wire, and what each answer means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from ccos.capabilities import AuthReference, GraphQlProvider, HttpProvider, Manifest
from ccos.egress import Egress, EgressPolicy
from ccos.errors import (
    CapabilityFailedError,
    EgressRefusedError,
    ImportDocumentError,
    InvalidArgumentsError,
    InvalidManifestError,
    InvalidResultError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.providers.base import Invoker
from ccos.providers.graphql import GraphQlInvoker, preview_graphql_request
from ccos.providers.graphql_introspection import QUERIES, introspect
from ccos.providers.secrets import EnvironmentSecrets
from egress.internet import PUBLIC_V4, Internet, Seen, Server, egress_in, reply, serving

from .conftest import free_port

BEARER = AuthReference(scheme="bearer", environment=("TOKEN",))
KEY = "execution-1:2"
LOOPBACK = EgressPolicy(private_hosts=frozenset({"127.0.0.1"}), timeout_seconds=10)


def manifest(endpoint: str, operation: str = "query", **provider: Any) -> Manifest:
    described = {
        "schema_location": "test",
        "endpoint": endpoint,
        "operation": operation,
        "field": "book",
        "document": f"{operation} book($id: ID!) {{ book(id: $id) {{ title }} }}",
    }
    return Manifest(
        id=f"graphql.test.{operation}.book",
        name="book",
        provider=GraphQlProvider.model_validate(described | provider),
        input_schema={"type": "object", "properties": {"id": {"type": "string"}}},
    )


@asynccontextmanager
async def invoking(policy: EgressPolicy = LOOPBACK) -> AsyncIterator[GraphQlInvoker]:
    async with Egress(policy) as egress:
        yield GraphQlInvoker(egress, EnvironmentSecrets({"TOKEN": "s3cret"}))


async def answered(answer: bytes, **provider: Any) -> tuple[Any, Seen]:
    async with serving(answer) as server, invoking() as invoker:
        endpoint = f"http://127.0.0.1:{server.port}/graphql/?tenant=a"
        one = manifest(endpoint, **provider)
        result = await invoker.invoke(one, {"id": "1"}, idempotency_key=KEY)
    return result, server.seen[0]


def graphql(status: int = 200, **body: Any) -> bytes:
    return reply(status, json.dumps(body).encode(), Content_Type="application/json")


FOUND = graphql(data={"book": {"title": "One"}})


def test_an_invoker_is_an_invoker() -> None:
    invoker: Invoker = GraphQlInvoker(Egress(LOOPBACK), EnvironmentSecrets({}))
    asyncio.run(invoker.aclose())


def test_arguments_travel_as_variables_and_never_in_the_document() -> None:
    result, seen = asyncio.run(answered(FOUND))
    assert result == {"data": {"title": "One"}}
    assert (seen.method, seen.target) == ("POST", "/graphql/?tenant=a")
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept"].startswith("application/graphql-response+json")
    assert json.loads(seen.body) == {
        "query": "query book($id: ID!) { book(id: $id) { title } }",
        "operationName": "book",
        "variables": {"id": "1"},
    }
    assert "idempotency-key" not in seen.headers


def test_a_mutation_carries_its_key() -> None:
    _, seen = asyncio.run(answered(FOUND, operation="mutation"))
    assert seen.headers["idempotency-key"] == f'"{KEY}"'


def test_secrets_go_where_they_belong() -> None:
    in_query = AuthReference(scheme="api_key", location="query", name="k", environment=("TOKEN",))
    in_cookie = AuthReference(scheme="api_key", location="cookie", name="c", environment=("TOKEN",))
    _, seen = asyncio.run(answered(FOUND, auth=(BEARER, in_query, in_cookie)))
    assert seen.headers["authorization"] == "Bearer s3cret"
    assert seen.target == "/graphql/?tenant=a&k=s3cret"
    assert seen.headers["cookie"] == "c=s3cret"
    missing = AuthReference(scheme="bearer", environment=("OTHER",))
    with pytest.raises(ProviderUnavailableError, match="secret that is not set"):
        asyncio.run(answered(FOUND, auth=(missing,)))


def test_data_with_errors_keeps_both() -> None:
    errors = [
        {"message": "torn \x1b[31mpage s3cret", "path": ["book", 0], "locations": [{"line": 1}]},
        {"message": 7, "path": [None], "extensions": {"code": "TORN", "stack": "long"}},
        "odd",
    ]
    answer = graphql(data={"book": {"title": None}}, errors=errors)
    result, _ = asyncio.run(answered(answer, auth=(BEARER,)))
    assert result == {
        "data": {"title": None},
        "errors": [
            {"message": "torn page ***", "path": ["book", 0]},
            {"message": "the API gives no reason", "code": "TORN"},
            {"message": "odd"},
        ],
    }


@pytest.mark.parametrize("media_type", ["application/graphql-response+json", "text/plain"])
def test_an_answer_is_known_by_its_content(media_type: str) -> None:
    body = json.dumps({"data": {"book": {"title": "x"}}, "errors": []}).encode()
    result, _ = asyncio.run(answered(reply(200, body, Content_Type=media_type)))
    assert result == {"data": {"title": "x"}}


def test_data_counts_even_beside_a_bad_status() -> None:
    answer = graphql(500, data={"book": {"title": "x"}}, errors=[{"message": "half"}])
    result, _ = asyncio.run(answered(answer))
    assert result["data"] == {"title": "x"}
    assert result["errors"] == [{"message": "half"}]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (graphql(data=None, errors=[{"message": "no"}]), CapabilityFailedError, "failed: no"),
        (graphql(data={"book": None}, errors=[{"message": "no"}]), CapabilityFailedError, "no"),
        (graphql(400, errors=[{"message": "bad id"}]), CapabilityFailedError, "400.*bad id"),
        (graphql(401, message="who?"), CapabilityFailedError, "401.*who"),
        (reply(502, b"<html>"), CapabilityFailedError, "502"),
        (reply(200, b"<html>"), InvalidResultError, "no answer of GraphQL"),
        (reply(200, b"[1]"), InvalidResultError, "no answer of GraphQL"),
        (reply(204, b""), InvalidResultError, "no answer of GraphQL"),
        (graphql(data={"other": 1}), InvalidResultError, "without book"),
        (graphql(data=[]), InvalidResultError, "without book"),
        (reply(200, b'{"data":' + b"[" * 200 + b"]" * 200 + b"}"), InvalidResultError, "no answer"),
    ],
)
def test_an_answer_without_data(answer: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        asyncio.run(answered(answer))


def test_a_limit_of_the_api_says_when_to_come_again() -> None:
    body = json.dumps({"errors": [{"message": "slow down", "extensions": {"code": "LIMIT"}}]})
    with pytest.raises(CapabilityFailedError) as caught:
        asyncio.run(answered(reply(429, body.encode(), Retry_After="7")))
    assert caught.value.details["retry_after"] == 7
    assert caught.value.details["errors"] == [{"message": "slow down", "code": "LIMIT"}]


def test_what_never_arrived_is_told_apart_from_what_may_have() -> None:
    async def main() -> None:
        async with invoking() as invoker:
            nowhere = manifest(f"http://127.0.0.1:{free_port()}/")
            with pytest.raises(ProviderUnavailableError):
                await invoker.invoke(nowhere, {}, idempotency_key=KEY)
            unknown = manifest("https://x.base-url-unknown.invalid/graphql")
            with pytest.raises(ProviderUnavailableError, match="does not say where"):
                await invoker.invoke(unknown, {}, idempotency_key=KEY)

            async def mute(*_: Any) -> None:
                await asyncio.sleep(30)

            async with serving(mute) as server:
                slow = manifest(f"http://127.0.0.1:{server.port}/", timeout_seconds=0.3)
                with pytest.raises(ProviderTimeoutError):
                    await invoker.invoke(slow, {}, idempotency_key=KEY)
        async with invoking(EgressPolicy()) as invoker:
            inside = manifest("http://127.0.0.1:80/", "subscription")
            with pytest.raises(ProviderUnavailableError) as caught:
                await invoker.invoke(inside, {}, idempotency_key=KEY)
            assert caught.value.details["reason"] == "private-address"

    asyncio.run(main())


def test_other_capabilities_are_refused() -> None:
    other = manifest("https://x.test/").model_copy(
        update={"provider": HttpProvider(base_url="https://x.test")}
    )

    async def main() -> None:
        async with invoking() as invoker:
            with pytest.raises(InvalidManifestError, match="no field of a GraphQL API"):
                await invoker.invoke(other, {}, idempotency_key=KEY)
            with pytest.raises(InvalidManifestError, match="no subscription"):
                await anext(invoker.subscribe(manifest("https://x.test/"), {}))
            with pytest.raises(InvalidArgumentsError, match="not JSON"):
                await invoker.invoke(
                    manifest("https://x.test/"), {"id": float("nan")}, idempotency_key=KEY
                )

    asyncio.run(main())
    with pytest.raises(InvalidManifestError):
        preview_graphql_request(other, {})


def test_a_request_can_be_seen_before_it_is_sent() -> None:
    one = manifest("https://x.test/graphql", "mutation", auth=(BEARER,))
    shown = preview_graphql_request(one, {"id": "1"})
    assert (shown["method"], shown["url"]) == ("POST", "https://x.test/graphql")
    assert shown["headers"]["authorization"] == "Bearer $TOKEN"
    assert json.loads(shown["body"])["variables"] == {"id": "1"}
    with pytest.raises(InvalidArgumentsError) as caught:
        preview_graphql_request(one, {"id": 1})
    assert caught.value.details["faults"][0]["path"] == "/id"


Handler = Callable[[ServerConnection], Awaitable[None]]


async def say(connection: ServerConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def heard(connection: ServerConnection) -> Any:
    return json.loads(await connection.recv())


async def greet(connection: ServerConnection) -> Any:
    """Take the greeting and the subscription, which is returned."""
    assert (await heard(connection))["type"] == "connection_init"
    await say(connection, type="connection_ack")
    return await heard(connection)


async def subscribed(
    handler: Handler, protocol: str = "graphql-transport-ws", **provider: Any
) -> Any:
    async with (
        serve(
            handler, "127.0.0.1", 0, subprotocols=[Subprotocol(protocol)], close_timeout=1
        ) as server,
        invoking() as invoker,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        one = manifest(f"http://127.0.0.1:{port}/live", "subscription", **provider)
        return await invoker.invoke(one, {"id": "1"}, idempotency_key=KEY)


def test_the_modern_protocol_word_by_word() -> None:
    seen: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        seen.append(await heard(connection))
        await say(connection, type="ping")
        seen.append(await heard(connection))
        await say(connection, type="connection_ack")
        seen.append(await heard(connection))
        await say(connection, type="pong")
        await say(connection, id="1", type="next", payload={"data": {"book": {"title": "x"}}})
        await say(connection, id="1", type="next", payload={"errors": [{"message": "torn"}]})
        await say(connection, id="1", type="complete")
        await connection.wait_closed()

    result = asyncio.run(subscribed(handler, auth=(BEARER,)))
    assert result == {
        "events": [{"data": {"title": "x"}}, {"data": None, "errors": [{"message": "torn"}]}],
        "complete": True,
    }
    secret = {"Authorization": "Bearer s3cret"}
    assert seen[0] == {"type": "connection_init", "payload": secret | {"headers": secret}}
    assert seen[1] == {"type": "pong"}
    assert seen[2]["type"] == "subscribe"
    assert seen[2]["payload"]["variables"] == {"id": "1"}


def test_the_older_protocol_word_by_word() -> None:
    async def handler(connection: ServerConnection) -> None:
        started = await greet(connection)
        await say(connection, type="ka")
        assert started["type"] == "start"
        await say(connection, id="1", type="data", payload={"data": {"book": None}})
        await say(connection, id="1", type="complete")
        await connection.wait_closed()

    assert asyncio.run(subscribed(handler, "graphql-ws")) == {
        "events": [{"data": None}],
        "complete": True,
    }


async def no_greeting(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def refuses_the_connection(connection: ServerConnection) -> None:
    await connection.recv()
    await say(connection, type="connection_error", payload={"message": "who are you"})
    await connection.wait_closed()


async def closes_with_a_reason(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.close(4403, "Forbidden for s3cret")


async def refuses_the_subscription(connection: ServerConnection) -> None:
    await greet(connection)
    await say(connection, id="1", type="error", payload=[{"message": "no such book"}])
    await connection.wait_closed()


async def goes_away(connection: ServerConnection) -> None:
    await greet(connection)
    await connection.close(1001, "restart")


async def breaks_off(connection: ServerConnection) -> None:
    await greet(connection)
    connection.transport.abort()


async def babbles(connection: ServerConnection) -> None:
    await connection.send("no json")
    await connection.wait_closed()


@pytest.mark.parametrize(
    ("handler", "kind", "words"),
    [
        (no_greeting, ProviderTimeoutError, "not taken within"),
        (refuses_the_connection, CapabilityFailedError, "who are you"),
        (closes_with_a_reason, CapabilityFailedError, r"Forbidden for \*\*\*"),
        (refuses_the_subscription, CapabilityFailedError, "no such book"),
        (goes_away, ProviderInterruptedError, "restart"),
        (breaks_off, ProviderInterruptedError, "broke off"),
        (babbles, InvalidResultError, "no answer of GraphQL"),
    ],
)
def test_how_a_subscription_can_fail(handler: Handler, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        asyncio.run(subscribed(handler, auth=(BEARER,), timeout_seconds=3.0))


def test_a_registered_host_needs_no_other_permission_and_a_blocked_one_stays_blocked() -> None:
    async def at_once(connection: ServerConnection) -> None:
        await greet(connection)
        await say(connection, id="1", type="complete")
        await connection.wait_closed()

    async def main() -> None:
        protocols = [Subprotocol("graphql-transport-ws")]
        async with serve(at_once, "127.0.0.1", 0, subprotocols=protocols) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            internet = Internet({"live.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): port})
            allowed = EgressPolicy(require_https=False, allowed_domains=frozenset({"other.test"}))
            blocked = EgressPolicy(require_https=False, blocked_domains=frozenset({"live.test"}))
            one = manifest("http://live.test/graphql", "subscription")
            async with egress_in(internet, allowed) as egress:
                invoker = GraphQlInvoker(egress, EnvironmentSecrets({}))
                result = await invoker.invoke(one, {}, idempotency_key=KEY)
                assert result == {"events": [], "complete": True}
            async with egress_in(internet, blocked) as egress:
                invoker = GraphQlInvoker(egress, EnvironmentSecrets({}))
                with pytest.raises(ProviderUnavailableError):
                    await invoker.invoke(one, {}, idempotency_key=KEY)

    asyncio.run(main())


def test_silence_after_the_start_is_no_failure() -> None:
    async def silent(connection: ServerConnection) -> None:
        await greet(connection)
        await connection.wait_closed()

    assert asyncio.run(subscribed(silent, timeout_seconds=3.0)) == {
        "events": [],
        "complete": False,
    }


def stream(*events: str, end: bool = True) -> bytes:
    body = "".join(f"event: next\ndata: {event}\n\n" for event in events)
    body += "event: complete\ndata:\n\n" * end
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(body)}\r\n"
        f"Content-Encoding: none\r\n\r\n{body}"
    ).encode()


async def listened(answer: bytes, **provider: Any) -> tuple[Any, Server]:
    """A server that opens no WebSocket and answers the request after that."""

    async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(404) if seen.method == "GET" else answer)
        await writer.drain()

    async with serving(handler) as server, invoking() as invoker:
        one = manifest(f"http://127.0.0.1:{server.port}/graphql", "subscription", **provider)
        return await invoker.invoke(one, {"id": "1"}, idempotency_key=KEY), server


def test_server_sent_events_where_no_websocket_is() -> None:
    one = '{"data":{"book":{"title":"a"}}}'
    result, server = asyncio.run(listened(stream(one, one), auth=(BEARER,)))
    assert result == {"events": [{"data": {"title": "a"}}] * 2, "complete": True}
    refused, asked = server.seen
    assert refused.headers["upgrade"] == "websocket"
    assert asked.headers["accept"].startswith("text/event-stream")
    assert asked.headers["authorization"] == "Bearer s3cret"
    assert json.loads(asked.body)["variables"] == {"id": "1"}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (stream("{}", end=False), ProviderInterruptedError, "before its end"),
        (stream("no json"), InvalidResultError, "no answer of GraphQL"),
        (graphql(errors=[{"message": "not here"}]), CapabilityFailedError, "not here"),
        (graphql(403, errors=[{"message": "not you"}]), CapabilityFailedError, "403.*not you"),
        (reply(200, b"x" * 2_000_000), InvalidResultError, "no answer of GraphQL"),
        (reply(302, b"", Location="http://10.0.0.1/"), InvalidResultError, "no answer of GraphQL"),
    ],
)
def test_how_a_stream_over_http_can_fail(answer: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        asyncio.run(listened(answer))


def test_an_answer_that_is_no_stream_is_one_event() -> None:
    result, _ = asyncio.run(listened(FOUND))
    assert result == {"events": [{"data": {"title": "One"}}], "complete": True}


def test_subscriptions_may_have_a_place_of_their_own() -> None:
    async def main() -> None:
        async with serving(stream()) as live, invoking() as invoker:
            one = manifest(
                "http://127.0.0.1:1/graphql",
                "subscription",
                subscriptions_endpoint=f"http://127.0.0.1:{live.port}/live",
            )
            result = await invoker.invoke(one, {}, idempotency_key=KEY)
        assert result == {"events": [], "complete": True}
        assert {seen.target for seen in live.seen} == {"/live"}

    asyncio.run(main())


SCHEMA = {"data": {"__schema": {"queryType": {"name": "Query"}, "types": []}}}


def test_introspection_asks_in_older_words_where_the_newest_are_not_known() -> None:
    async def main() -> None:
        async def old(seen: Seen, writer: asyncio.StreamWriter) -> None:
            query = json.loads(seen.body)["query"]
            known = query == QUERIES[-1]
            said = SCHEMA if known else {"errors": [{"message": "Cannot query field isOneOf"}]}
            writer.write(graphql(200 if known else 400, **said))
            await writer.drain()

        async with serving(old) as server, Egress(LOOPBACK) as egress:
            endpoint = f"http://127.0.0.1:{server.port}/graphql"
            assert await introspect(egress, endpoint) == SCHEMA
            assert len(server.seen) == len(QUERIES)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "words", "requests"),
    [
        (graphql(errors=[{"message": "introspection is off."}]), "introspection is off", 3),
        (graphql(401, errors=[{"message": "who"}]), "who", 1),
        (reply(200, b"<html>"), "it answered 200", 3),
    ],
)
def test_a_server_that_keeps_its_schema_says_why(answer: bytes, words: str, requests: int) -> None:
    async def main() -> None:
        async with serving(answer) as server, Egress(LOOPBACK) as egress:
            with pytest.raises(ImportDocumentError, match=words):
                await introspect(egress, f"http://127.0.0.1:{server.port}/graphql")
            assert len(server.seen) == requests

    asyncio.run(main())


def test_introspection_keeps_to_the_policy() -> None:
    async def main() -> None:
        async with Egress(EgressPolicy()) as egress:
            with pytest.raises(EgressRefusedError):
                await introspect(egress, "http://127.0.0.1/graphql")

    asyncio.run(main())
