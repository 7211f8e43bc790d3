from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx2
import pytest

from ccos.egress import Egress, EgressPolicy, EgressRecord
from ccos.errors import (
    EgressError,
    EgressRefusedError,
    EgressTimeoutError,
    ResponseTooLargeError,
)

from .conftest import Authority
from .internet import OPEN, PUBLIC_V4, Internet, Seen, egress_in, reply, serving


def client(egress: Egress, **options: object) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=egress.transport("test", **options),  # type: ignore[arg-type]
        trust_env=False,
        follow_redirects=True,
    )


async def collect(response: httpx2.Response, into: bytearray) -> None:
    async for chunk in response.aiter_bytes():
        into += chunk


def internet_at(port: int) -> Internet:
    return Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): port, (PUBLIC_V4, 443): port})


def test_a_foreign_client_reads_through_it() -> None:
    async def main() -> None:
        body = gzip.compress(b'{"a": 1}')
        async with serving(reply(body=body, Content_Encoding="gzip", X_Kept="1")) as server:
            records: list[EgressRecord] = []
            async with egress_in(internet_at(server.port), observer=records.append) as egress:
                async with client(egress) as http:
                    response = await http.post("http://api.test/", content=b"hello")
                assert response.json() == {"a": 1}
                assert response.headers["x-kept"] == "1"
                assert "content-encoding" not in response.headers
                async with client(egress) as http:
                    assert (await http.get("http://api.test/")).status_code == 200
            assert [(r.request_bytes, r.response_bytes) for r in records] == [
                (5, len(body)),
                (0, len(body)),
            ]

    asyncio.run(main())


@pytest.mark.parametrize("location", ["http://127.0.0.1/", "http://localhost/", "ftp://api.test/"])
def test_each_redirect_of_a_foreign_client_is_checked(location: str) -> None:
    async def main() -> None:
        async with serving(reply(302, Location=location)) as server:
            internet = internet_at(server.port)
            async with egress_in(internet) as egress, client(egress) as http:
                with pytest.raises((EgressRefusedError, httpx2.UnsupportedProtocol)):
                    await http.get("http://api.test/")
            assert internet.connections == [(PUBLIC_V4, 80)]

    asyncio.run(main())


def test_a_foreign_client_may_follow_to_allowed_places() -> None:
    async def main() -> None:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(302, Location="/b") if seen.target == "/a" else reply(body=b"end"))

        async with (
            serving(handler) as server,
            egress_in(internet_at(server.port)) as egress,
            client(egress) as http,
        ):
            assert (await http.get("http://api.test/a")).content == b"end"

    asyncio.run(main())


def test_hosts_allowed_for_one_transport_are_not_for_another() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            policy = EgressPolicy(require_https=False, allowed_domains=frozenset({"other.test"}))
            async with egress_in(internet_at(server.port), policy) as egress:
                extra = frozenset({"api.test"})
                async with client(egress, extra_allowed_hosts=extra) as http:
                    assert (await http.get("http://api.test/")).status_code == 200
                async with client(egress) as http:
                    with pytest.raises(EgressRefusedError):
                        await http.get("http://api.test/")

    asyncio.run(main())


def test_an_event_stream_may_outlast_the_total_time() -> None:
    async def main() -> None:
        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(5):
                writer.write(b"data: %d\n\n" % number)
                await writer.drain()
                await asyncio.sleep(0.3)
            writer.close()

        async with serving(handler) as server:
            policy = EgressPolicy(require_https=False, timeout_seconds=1.0)
            async with (
                egress_in(internet_at(server.port), policy) as egress,
                client(egress) as http,
                http.stream("GET", "http://api.test/") as response,
            ):
                lines = [line async for line in response.aiter_lines() if line]
            assert lines == [f"data: {number}" for number in range(5)]

    asyncio.run(main())


def test_events_arrive_one_by_one() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"5\r\nfirst\r\n")
            await writer.drain()
            await go_on.wait()
            writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

        async with (
            serving(handler) as server,
            egress_in(internet_at(server.port)) as egress,
            client(egress) as http,
            http.stream("GET", "http://api.test/") as response,
        ):
            chunks = response.aiter_bytes()
            assert await anext(chunks) == b"first"
            go_on.set()
            assert [chunk async for chunk in chunks] == [b"second"]

    asyncio.run(main())


def test_a_silent_stream_ends() -> None:
    async def main() -> None:
        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\ndata")
            await writer.drain()
            await asyncio.sleep(10)

        async with serving(handler) as server:
            records: list[EgressRecord] = []
            async with (
                egress_in(internet_at(server.port), observer=records.append) as egress,
                client(egress, idle_timeout_seconds=0.2) as http,
            ):
                with pytest.raises(EgressTimeoutError):
                    await http.get("http://api.test/")
            assert [(r.failure, r.response_bytes) for r in records] == [("timeout", 4)]

    asyncio.run(main())


def test_an_answer_must_begin_in_time() -> None:
    async def main() -> None:
        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with serving(handler) as server:
            policy = EgressPolicy(require_https=False, timeout_seconds=0.2)
            async with (
                egress_in(internet_at(server.port), policy) as egress,
                client(egress) as http,
            ):
                with pytest.raises(EgressTimeoutError) as caught:
                    await http.get("http://api.test/")
                assert caught.value.details["sent"] is True

    asyncio.run(main())


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_endless_stream_ends_at_the_limit(encoding: str) -> None:
    async def main() -> None:
        piece = b"x" * 4096 if encoding == "identity" else b""
        bomb = gzip.compress(b"\0" * 10_000_000)

        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode())
            while True:
                writer.write(piece or bomb)
                await writer.drain()

        async with serving(handler) as server:
            policy = EgressPolicy(require_https=False, max_response_bytes=100_000)
            received = bytearray()
            async with (
                egress_in(internet_at(server.port), policy) as egress,
                client(egress) as http,
                http.stream("GET", "http://api.test/") as response,
            ):
                with pytest.raises(ResponseTooLargeError):
                    await collect(response, received)
            assert len(received) <= 100_000

    asyncio.run(main())


def test_an_upload_of_unknown_length_ends_at_the_limit() -> None:
    async def upload(pieces: int) -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"x" * 500

    async def main() -> None:
        async with serving(reply()) as server:
            policy = EgressPolicy(require_https=False, max_request_bytes=1000)
            async with egress_in(internet_at(server.port), policy) as egress:
                async with client(egress) as http:
                    await http.post("http://api.test/", content=upload(2))
                    with pytest.raises(EgressRefusedError) as caught:
                        await http.post("http://api.test/", content=upload(3))
                assert caught.value.details["reason"] == "request-too-large"
                assert caught.value.details["sent"] is True
            assert [seen.body for seen in server.seen] == [b"x" * 1000]

    asyncio.run(main())


@pytest.mark.parametrize("read", [True, False])
def test_a_stream_left_early_is_observed_and_hangs_up(read: bool) -> None:
    async def main() -> None:
        hung_up = asyncio.Event()

        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    await asyncio.sleep(0.01)
            finally:
                hung_up.set()

        async with serving(handler) as server:
            records: list[EgressRecord] = []
            async with egress_in(internet_at(server.port), observer=records.append) as egress:
                async with client(egress) as http, http.stream("GET", "http://api.test/") as answer:
                    if read:
                        await anext(answer.aiter_bytes())
                assert [(r.status, r.failure) for r in records] == [(200, None)]
                await asyncio.wait_for(hung_up.wait(), 5)

    asyncio.run(main())


def test_a_client_cannot_ask_a_checked_host_for_another_site() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            async with egress_in(internet_at(server.port)) as egress, client(egress) as http:
                await http.get("http://api.test/", headers={"Host": "inside.test"})
            assert server.seen[0].headers["host"] == "api.test"

    asyncio.run(main())


def test_a_client_cannot_change_the_name_that_is_verified(authority: Authority) -> None:
    async def main() -> None:
        async with serving(reply(), authority.server_context("evil.test")) as server:
            internet = internet_at(server.port)
            context = authority.client_context()
            async with (
                egress_in(internet, OPEN, ssl_context=context) as egress,
                client(egress) as http,
            ):
                with pytest.raises(EgressError):
                    await http.get("https://api.test/", extensions={"sni_hostname": "evil.test"})
            assert server.seen == []

    asyncio.run(main())


def test_the_clients_shorter_timeout_holds() -> None:
    async def main() -> None:
        async def handler(_: Seen, __: asyncio.StreamWriter) -> None:
            await asyncio.sleep(10)

        async with (
            serving(handler) as server,
            egress_in(internet_at(server.port)) as egress,
            client(egress) as http,
        ):
            with pytest.raises(EgressTimeoutError):
                await http.get("http://api.test/", timeout=0.1)

    asyncio.run(main())


def test_closing_a_client_leaves_the_others_connected() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            await writer.drain()
            await go_on.wait()
            writer.write(b"body")

        async with serving(handler) as server, egress_in(internet_at(server.port)) as egress:
            first, second = client(egress), client(egress)
            async with second, second.stream("GET", "http://api.test/") as response:
                await first.aclose()
                go_on.set()
                assert await response.aread() == b"body"

    asyncio.run(main())
