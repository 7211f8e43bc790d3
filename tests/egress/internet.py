"""A small internet on loopback: names, public addresses, and servers behind them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import pytest

from ccos.egress import Egress, EgressPolicy
from ccos.errors import EgressRefusedError

PUBLIC_V4 = "93.184.216.34"
OTHER_V4 = "93.184.216.35"
PUBLIC_V6 = "2606:2800:220:1:248:1893:25c8:1946"

OPEN = EgressPolicy(require_https=False, timeout_seconds=5)
"""Plain http to any public host, so that most tests need no certificates."""


@dataclass
class Seen:
    """A request as a server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    port: int
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def serving(
    handler: Handler | bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Run a server on 127.0.0.1 that answers each request with bytes, or by a handler."""
    server = Server(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while (seen := await _read(reader)) is not None:
                server.seen.append(seen)
                if isinstance(handler, bytes):
                    writer.write(handler)
                    await writer.drain()
                else:
                    await handler(seen, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = start.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return Seen(method, target, headers, body)


def reply(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A response with its length; header names are written with underscores."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Internet(httpcore2.AnyIOBackend):
    """Resolver and network at once: names have addresses, and addresses lead to servers.

    Args:
        names: Each name's answers, one list for each look-up; the last one repeats.
        routes: The loopback port behind each address and port.
        silent: Addresses that never answer an attempt to connect.
    """

    def __init__(
        self,
        names: dict[str, Iterable[list[str]]] | None = None,
        routes: dict[tuple[str, int], int] | None = None,
        silent: set[str] | None = None,
    ) -> None:
        self._names = {name: list(answers) for name, answers in (names or {}).items()}
        self._routes = routes or {}
        self._silent = silent or set()
        self.lookups: list[str] = []
        self.connections: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.lookups.append(host)
        if host not in self._names:
            raise OSError("unknown name")
        answers = self._names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.connections.append((host, port))
        if host in self._silent:
            await asyncio.sleep(timeout or 60)
            raise httpcore2.ConnectTimeout("silence")
        if (host, port) not in self._routes:
            raise httpcore2.ConnectError("no route")
        return await super().connect_tcp("127.0.0.1", self._routes[host, port], timeout)


def egress_in(internet: Internet, policy: EgressPolicy = OPEN, **options: Any) -> Egress:
    return Egress(policy, resolver=internet, backend=internet, **options)


async def refused(
    url: str,
    policy: EgressPolicy = OPEN,
    *,
    internet: Internet | None = None,
    **request: Any,
) -> str:
    """The reason a request was refused, after making sure that no connection was opened."""
    internet = internet or Internet()
    async with egress_in(internet, policy) as egress:
        with pytest.raises(EgressRefusedError) as caught:
            await egress.request("GET", url, purpose="test", **request)
    assert internet.connections == []
    assert caught.value.details["sent"] is False
    return str(caught.value.details["reason"])
