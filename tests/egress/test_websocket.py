"""WebSockets are held to the policy, and end in time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from ccos.egress import Egress, EgressPolicy, EgressRecord
from ccos.errors import (
    EgressError,
    EgressRefusedError,
    EgressTimeoutError,
    ResponseTooLargeError,
)

from .conftest import Authority
from .internet import OPEN, PUBLIC_V4, Internet, egress_in, reply, serving

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def socket_server(
    handler: Handler, tls: ssl.SSLContext | None = None, *, subprotocols: Sequence[str] = ()
) -> AsyncIterator[int]:
    async with serve(
        handler,
        "127.0.0.1",
        0,
        ssl=tls,
        subprotocols=[Subprotocol(one) for one in subprotocols] or None,
        close_timeout=1,
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def listen(egress: Egress) -> None:
    async with egress.websocket("ws://socket.test/", purpose="test") as socket:
        while await socket.receive() is not None:
            pass


def internet_to(port: int, at: int = 80) -> Internet:
    return Internet({"socket.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, at): port})


def test_messages_go_both_ways_and_the_observer_is_told() -> None:
    async def main() -> None:
        records: list[EgressRecord] = []
        async with socket_server(echo, subprotocols=["one", "two"]) as port:
            internet = internet_to(port)
            async with (
                egress_in(internet, observer=records.append) as egress,
                egress.websocket(
                    "ws://socket.test/a?b=c", subprotocols=["two"], purpose="talk"
                ) as socket,
            ):
                assert socket.subprotocol == "two"
                for text in ("first", "ü" * 70_000):
                    await socket.send(text)
                    assert await socket.receive() == text
        assert internet.connections == [(PUBLIC_V4, 80)]
        (record,) = records
        assert (record.purpose, record.host, record.status) == ("talk", "socket.test", 101)
        assert record.failure is None
        assert record.request_bytes > 140_000
        assert record.response_bytes > 140_000

    asyncio.run(main())


def test_headers_reach_the_server_but_none_of_the_handshake_itself() -> None:
    async def main() -> None:
        seen: dict[str, str] = {}

        async def handler(connection: ServerConnection) -> None:
            assert connection.request is not None
            seen.update({name.lower(): value for name, value in connection.request.headers.items()})

        async with socket_server(handler) as port, egress_in(internet_to(port)) as egress:
            headers = {"Authorization": "Bearer x", "Host": "other.test", "Upgrade": "h2c"}
            async with egress.websocket(
                "ws://socket.test/", headers=headers, purpose="test"
            ) as socket:
                assert await socket.receive() is None
                assert socket.closing == (1000, "")
        assert seen["authorization"] == "Bearer x"
        assert seen["host"] == "socket.test"
        assert seen["upgrade"] == "websocket"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ws://inside.test/", "private-address"),
        ("ws://127.0.0.1/", "private-address"),
        ("ws://localhost/", "private-name"),
        ("ws://socket.test:8080/", "port"),
        ("ws://blocked.test/", "blocked-domain"),
        ("ws://user:secret@socket.test/", "userinfo"),
        ("ftp://socket.test/", "scheme"),
    ],
)
def test_what_the_policy_forbids_is_not_connected_to(url: str, reason: str) -> None:
    async def main() -> None:
        policy = EgressPolicy(require_https=False, blocked_domains=frozenset({"blocked.test"}))
        internet = Internet({"inside.test": [["10.0.0.1"]], "socket.test": [[PUBLIC_V4]]})
        async with egress_in(internet, policy) as egress:
            with pytest.raises(EgressRefusedError) as caught:
                async with egress.websocket(url, purpose="test"):
                    raise AssertionError("it is open")
        assert caught.value.details["reason"] == reason
        assert caught.value.details["sent"] is False
        assert internet.connections == []

    asyncio.run(main())


def test_plain_text_needs_to_be_allowed_and_tls_is_verified(authority: Authority) -> None:
    async def main() -> None:
        async with socket_server(echo, authority.server_context("socket.test")) as port:
            internet = internet_to(port, 443)
            policy = EgressPolicy()
            async with egress_in(
                internet, policy, ssl_context=authority.client_context()
            ) as egress:
                async with egress.websocket("wss://socket.test/", purpose="test") as socket:
                    await socket.send("safe")
                    assert await socket.receive() == "safe"
                with pytest.raises(EgressRefusedError):
                    async with egress.websocket("ws://socket.test/", purpose="test"):
                        pass
            async with egress_in(internet, policy) as egress:
                with pytest.raises(EgressError, match="cannot be reached"):
                    async with egress.websocket("wss://socket.test/", purpose="test"):
                        pass

    asyncio.run(main())


def test_a_name_that_changes_its_address_is_looked_up_once() -> None:
    async def main() -> None:
        async with socket_server(echo) as port:
            internet = Internet(
                {"rebind.test": [[PUBLIC_V4], ["127.0.0.1"]]}, {(PUBLIC_V4, 80): port}
            )
            async with (
                egress_in(internet) as egress,
                egress.websocket("ws://rebind.test/", purpose="test") as socket,
            ):
                await socket.send("here")
                assert await socket.receive() == "here"
            assert internet.lookups == ["rebind.test"]

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 302, 404, 426])
def test_a_server_that_speaks_http_only_is_told_by_its_status(status: int) -> None:
    async def main() -> None:
        answer = reply(status, b"no", Location="http://127.0.0.1/")
        async with serving(answer) as server, egress_in(internet_to(server.port)) as egress:
            with pytest.raises(EgressError, match=f"answered {status}") as caught:
                async with egress.websocket("ws://socket.test/", purpose="test"):
                    pass
            assert caught.value.details["reason"] == "websocket-refused"
            assert caught.value.details["status"] == status

    asyncio.run(main())


def test_silence_ends() -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def main() -> None:
        async with (
            socket_server(silent) as port,
            egress_in(internet_to(port)) as egress,
            egress.websocket(
                "ws://socket.test/", purpose="test", idle_timeout_seconds=0.2
            ) as socket,
        ):
            with pytest.raises(EgressTimeoutError):
                await socket.receive()

    asyncio.run(main())


def test_a_handshake_that_is_not_answered_ends() -> None:
    async def main() -> None:
        async def mute(*_: object) -> None:
            await asyncio.sleep(30)

        policy = EgressPolicy(require_https=False, timeout_seconds=0.3)
        async with serving(mute) as server:
            egress = egress_in(internet_to(server.port), policy)
            async with egress:
                with pytest.raises(EgressTimeoutError):
                    async with egress.websocket("ws://socket.test/", purpose="test"):
                        pass

    asyncio.run(main())


@pytest.mark.parametrize("together", [True, False])
def test_too_much_ends_it(together: bool) -> None:
    async def flood(connection: ServerConnection) -> None:
        while not together:
            await connection.send("x" * 1000)
        await connection.send("x" * 20_000)
        await connection.wait_closed()

    async def main() -> None:
        policy = EgressPolicy(require_https=False, max_response_bytes=10_000)
        async with (
            socket_server(flood) as port,
            egress_in(internet_to(port), policy) as egress,
        ):
            with pytest.raises(ResponseTooLargeError):
                await listen(egress)

    asyncio.run(main())


def test_bytes_and_a_broken_connection_are_errors() -> None:
    async def binary(connection: ServerConnection) -> None:
        await connection.send(b"\x00")
        await connection.wait_closed()

    async def broken(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def main() -> None:
        for handler, words in ((binary, "sent bytes"), (broken, "broke off")):
            async with socket_server(handler) as port, egress_in(internet_to(port)) as egress:
                with pytest.raises(EgressError, match=words):
                    await listen(egress)

    asyncio.run(main())


def test_a_header_cannot_smuggle_another() -> None:
    async def main() -> None:
        async with socket_server(echo) as port, egress_in(internet_to(port)) as egress:
            with pytest.raises(EgressRefusedError):
                async with egress.websocket(
                    "ws://socket.test/", headers={"x": "a\r\ny: b"}, purpose="test"
                ):
                    pass

    asyncio.run(main())


def test_a_closed_way_out_opens_none() -> None:
    async def main() -> None:
        egress = Egress(OPEN)
        await egress.aclose()
        with pytest.raises(EgressError, match="closed"):
            async with egress.websocket("ws://socket.test/", purpose="test"):
                pass

    asyncio.run(main())
