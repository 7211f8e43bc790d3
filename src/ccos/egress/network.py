"""The one place where a name becomes an address and the address a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Protocol

import httpcore2

from ccos.egress.policy import EgressPolicy
from ccos.egress.target import is_address
from ccos.errors import EgressError


class Resolver(Protocol):
    """Turns a host name into addresses."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """All addresses of ``host``, IPv4 and IPv6, in the order to try them.

        Raises:
            OSError: The name has no address.
        """
        ...


class SystemResolver:
    """Asks the operating system."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """All addresses ``getaddrinfo`` knows for a stream socket."""
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Opens TCP connections, each to an address it has checked itself.

    A name is resolved once for each connection, every answer is checked, and the socket is
    opened to one of these very addresses. Between check and use there is no second look-up,
    so an answer that changes (DNS rebinding) changes nothing. The layers above still know
    only the name, which is what TLS verifies the certificate against.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        resolver: Resolver,
        backend: httpcore2.AsyncNetworkBackend,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, and connect to the first address that answers.

        Raises:
            EgressRefusedError: One of the addresses must not be reached.
            EgressError: The name has no address.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        async with asyncio.timeout_at(deadline):
            addresses = await self._addresses(host, port)
        self._policy.check_addresses(host, port, addresses)
        failure: Exception = _unresolved(host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # One silent address must not use up the time of those after it.
            share = None if deadline is None else max(deadline - loop.time(), 0) / left
            try:
                return await self._backend.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        if is_address(host):
            return [host]
        try:
            return await self._resolver.resolve(host, port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise _unresolved(host, port) from error


def _unresolved(host: str, port: int) -> EgressError:
    return EgressError(
        f"The name {host} has no address.",
        details={"reason": "dns", "host": host, "port": port, "sent": False},
    )
