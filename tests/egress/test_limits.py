from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Awaitable, Callable

import pytest

from ccos.egress import EgressPolicy, EgressRecord, EgressResponse
from ccos.errors import (
    EgressError,
    EgressRefusedError,
    EgressTimeoutError,
    ResponseTooLargeError,
)

from .internet import PUBLIC_V4, Handler, Internet, Seen, egress_in, reply, serving

LIMIT = 64 * 1024
POLICY = EgressPolicy(
    require_https=False, max_request_bytes=1000, max_response_bytes=LIMIT, timeout_seconds=0.4
)


async def ask(
    handler: Handler | bytes, records: list[EgressRecord] | None = None, **request: object
) -> EgressResponse:
    async with serving(handler) as server:
        internet = Internet({"example.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
        observer = None if records is None else records.append
        async with egress_in(internet, POLICY, observer=observer) as egress:
            return await egress.request(
                str(request.pop("method", "GET")),
                "http://example.test/?key=secret",
                purpose="test",
                **request,  # type: ignore[arg-type]
            )


def fails(
    handler: Handler | bytes,
    kind: type[EgressError],
    reason: str,
    *,
    sent: bool = True,
    **request: object,
) -> list[EgressRecord]:
    records: list[EgressRecord] = []
    with pytest.raises(EgressError) as caught:
        asyncio.run(ask(handler, records, **request))
    assert type(caught.value) is kind
    assert caught.value.details["reason"] == reason
    assert caught.value.details["sent"] is sent
    assert "secret" not in repr(caught.value.as_dict())
    [record] = records
    assert record.failure == reason
    return records


def drip(
    head: bytes, piece: bytes, pause: float
) -> Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]:
    async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


@pytest.mark.parametrize(
    "handler",
    [
        drip(b"", b"", 0.05),
        drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", 0.05),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    ],
    ids=["silence", "headers", "body", "chunks", "informational"],
)
def test_slow_answers_are_cut_off(handler: Handler) -> None:
    started = time.monotonic()
    fails(handler, EgressTimeoutError, "timeout")
    assert time.monotonic() - started < 2


def test_a_quick_answer_in_pieces_arrives() -> None:
    async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        for piece in (b"a", b"b", b"c"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    assert asyncio.run(ask(handler)).body == b"abc"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "handler",
    [
        drip(CHUNKED + b"\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", 0),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096, 0),
        drip(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"end", mtime=0),
            b"x" * 4096,
            0,
        ),
        reply(body=b"x" * (LIMIT + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        reply(body=gzip.compress(b"\0" * 50_000_000, mtime=0), Content_Encoding="gzip"),
        reply(body=zlib.compress(b"\0" * 50_000_000), Content_Encoding="deflate"),
        reply(
            body=gzip.compress(gzip.compress(b"\0" * 50_000_000, mtime=0)),
            Content_Encoding="gzip, gzip",
        ),
    ],
    ids=[
        "chunks",
        "until-close",
        "after-gzip",
        "long",
        "announced",
        "gzip",
        "deflate",
        "gzip-twice",
    ],
)
def test_large_answers_are_cut_off(handler: Handler | bytes) -> None:
    [record] = fails(handler, ResponseTooLargeError, "response-too-large")
    assert record.response_bytes <= 4 * LIMIT


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"x" * LIMIT, ""),
        (gzip.compress(b"x" * LIMIT, mtime=0), "gzip"),
        (zlib.compress(b"x" * LIMIT), "deflate"),
        (b"x" * LIMIT, "identity"),
    ],
)
def test_answers_up_to_the_limit_arrive(body: bytes, encoding: str) -> None:
    response = asyncio.run(ask(reply(body=body, Content_Encoding=encoding)))
    assert response.body == b"x" * LIMIT
    assert response.headers.get("content-encoding") in (None, "", "identity")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    fails(reply(body=b"x", Content_Encoding=encoding), EgressError, "content-encoding")


def test_bytes_that_are_not_in_their_encoding_are_refused() -> None:
    fails(reply(body=b"plain", Content_Encoding="gzip"), EgressError, "protocol")


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
            ResponseTooLargeError,
            "headers-too-large",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
            ResponseTooLargeError,
            "headers-too-large",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000, EgressError, "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", EgressError, "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", EgressError, "protocol"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            EgressError,
            "protocol",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", EgressError, "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", EgressError, "protocol"),
    ],
)
def test_broken_heads_are_refused(answer: bytes, kind: type[EgressError], reason: str) -> None:
    fails(answer, kind, reason)


def test_many_headers_within_the_limit_arrive() -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"Content-Length: 0\r\n\r\n"
    assert asyncio.run(ask(answer)).status == 200


def test_an_answer_shorter_than_announced_is_an_error() -> None:
    async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        writer.close()

    fails(handler, EgressError, "protocol")


def test_what_follows_the_announced_length_is_not_read() -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n"
        async with serving(answer) as server:
            internet = Internet({"example.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet, POLICY) as egress:
                for _ in range(2):
                    response = await egress.request("GET", "http://example.test/", purpose="test")
                    assert (response.status, response.body) == (200, b"ok")
            assert server.connections == 2

    asyncio.run(main())


def test_a_connection_that_breaks_may_have_been_served() -> None:
    async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.close()

    fails(handler, EgressError, "protocol", method="POST")


def test_a_refused_connection_was_certainly_not_served() -> None:
    async def main() -> None:
        async with egress_in(Internet({"example.test": [[PUBLIC_V4]]}), POLICY) as egress:
            with pytest.raises(EgressError) as caught:
                await egress.request("POST", "http://example.test/", purpose="test")
            assert caught.value.details["reason"] == "connect"
            assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_a_large_request_is_not_sent() -> None:
    fails(
        reply(),
        EgressRefusedError,
        "request-too-large",
        sent=False,
        method="POST",
        content=b"x" * 1001,
    )


def test_a_request_up_to_the_limit_is_sent() -> None:
    records: list[EgressRecord] = []
    asyncio.run(ask(reply(body=b"four"), records, method="POST", content=b"x" * 1000))
    [record] = records
    assert (record.request_bytes, record.response_bytes, record.status) == (1000, 4, 200)
    assert (record.method, record.host, record.port, record.purpose) == (
        "POST",
        "example.test",
        80,
        "test",
    )
    assert record.sent
    assert record.address == "127.0.0.1"
    assert 0 <= record.duration_seconds < 5


def test_a_connection_reset_in_the_middle_is_an_error() -> None:
    async def handler(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        await writer.drain()
        await asyncio.sleep(0.05)
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    fails(handler, EgressError, "network")
