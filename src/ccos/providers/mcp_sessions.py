"""Connections to MCP servers: opened on first use, shared, and renewed after a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ccos.capabilities import HttpServer, McpServer
from ccos.errors import CcosError, EgressError, ProviderUnavailableError
from ccos.providers.base import Secrets
from ccos.providers.launcher import Launcher
from ccos.providers.mcp_text import plain_text

if TYPE_CHECKING:
    import httpx2

    from ccos.providers.mcp_connection import Connection

_LONGEST_BACKOFF_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Slot:
    """What is known about one server."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    failures: int = 0
    retry_at: float = 0.0
    last_error: str = ""


class SessionPool:
    """At most one connection in use for each server definition.

    Args:
        launcher: Starts servers that are processes.
        http_transport: Makes the transport through which one HTTP connection is made; it is given
            the hosts that are allowed beyond the policy.
        secrets: Where secrets are looked up.
        start_timeout_seconds: How long connecting may take, with everything a package manager
            has to fetch for it.
        idle_seconds: How long an unused connection stays open.
        listing_seconds: How long a list of tools is relied on.
    """

    def __init__(
        self,
        launcher: Launcher,
        http_transport: Callable[[frozenset[str]], httpx2.AsyncBaseTransport],
        secrets: Secrets,
        *,
        start_timeout_seconds: float,
        idle_seconds: float,
        listing_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launcher = launcher
        self._http_transport = http_transport
        self._secrets = secrets
        self._start_timeout_seconds = start_timeout_seconds
        self._idle_seconds = idle_seconds
        self._listing_seconds = listing_seconds
        self._clock = clock
        self._slots: dict[tuple[McpServer, bool], _Slot] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self._closed = False

    @asynccontextmanager
    async def lease(self, server: McpServer, *, vouched: bool) -> AsyncIterator[Connection]:
        """A usable connection to ``server``.

        Args:
            server: What to connect to.
            vouched: Whether somebody answers for it, so that its host is allowed.

        Raises:
            ProviderUnavailableError: if the server cannot be reached or started, or failed so
                recently that it is not tried again yet.
        """
        slot = self._slots.setdefault((server, vouched), _Slot())
        async with slot.lock:
            connection = await self._current(server, slot, vouched)
            connection.in_flight += 1
            if timer := self._timers.pop(connection, None):
                timer.cancel()
        try:
            yield connection
        finally:
            connection.in_flight -= 1
            if connection.usable:
                slot.failures = 0
            self._release(slot, connection)

    def retire(self, connection: Connection) -> None:
        """Give ``connection`` to no further call; it is closed when the last one has ended."""
        connection.retired = True

    async def aclose(self) -> None:
        """Close everything. Calling it again does nothing."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for slot in self._slots.values():
            async with slot.lock:
                if slot.connection is not None:
                    self._discard(slot.connection)
                    slot.connection = None
        if self._closing:
            await asyncio.wait(self._closing)

    async def _current(self, server: McpServer, slot: _Slot, vouched: bool) -> Connection:
        if self._closed:
            raise ProviderUnavailableError("The MCP client is closed.")
        if slot.connection is not None:
            if slot.connection.usable:
                return slot.connection
            self._part_with(slot, slot.connection)
        if (wait := slot.retry_at - self._clock()) > 0:
            raise ProviderUnavailableError(
                f"{_label(server)} failed {slot.failures} times and is tried again in "
                f"{wait:.0f} s. {slot.last_error}",
                details={"retry_after_seconds": round(wait, 1)},
            )
        try:
            slot.connection = await self._open(server, vouched)
        except ProviderUnavailableError as error:
            self._count_failure(slot, error.message)
            raise
        return slot.connection

    async def _open(self, server: McpServer, vouched: bool) -> Connection:
        connection = self._make(server, vouched)
        try:
            async with asyncio.timeout(self._start_timeout_seconds):
                await connection.open()
        except BaseException as error:
            self._discard(connection)
            if not isinstance(error, Exception):
                raise
            raise _not_started(server, connection, error, self._start_timeout_seconds) from error
        return connection

    def _make(self, server: McpServer, vouched: bool) -> Connection:
        from ccos.providers.mcp_connection import Connection

        if isinstance(server, HttpServer):
            from ccos.providers.mcp_http import HttpTransport

            host = urlsplit(server.url).hostname
            allowed = frozenset({host} if vouched and host else ())
            transport: object = HttpTransport(
                server, lambda: self._http_transport(allowed), self._secrets
            )
        else:
            from ccos.providers.mcp_stdio import StdioTransport

            transport = StdioTransport(self._launcher, server)
        return Connection(transport, listing_seconds=self._listing_seconds, clock=self._clock)

    def _release(self, slot: _Slot, connection: Connection) -> None:
        if not connection.usable:
            self._part_with(slot, connection)
        elif connection.in_flight == 0 and not self._closed:
            self._timers[connection] = asyncio.get_running_loop().call_later(
                self._idle_seconds, self._close_idle, slot, connection
            )

    def _close_idle(self, slot: _Slot, connection: Connection) -> None:
        self._timers.pop(connection, None)
        if connection.in_flight == 0:
            self.retire(connection)
            self._part_with(slot, connection)

    def _part_with(self, slot: _Slot, connection: Connection) -> None:
        """Let go of a connection that is not usable any more."""
        if slot.connection is connection:
            slot.connection = None
            if not connection.retired:
                self._count_failure(slot, connection.transport.story())
        if timer := self._timers.pop(connection, None):
            timer.cancel()
        if connection.in_flight == 0:
            self._discard(connection)

    def _count_failure(self, slot: _Slot, story: str) -> None:
        """The first failure after a success may be made good at once; then it takes longer."""
        slot.last_error = story
        delay = min(2.0 ** (slot.failures - 1), _LONGEST_BACKOFF_SECONDS) if slot.failures else 0.0
        slot.failures += 1
        slot.retry_at = self._clock() + delay

    def _discard(self, connection: Connection) -> None:
        async def close() -> None:
            with suppress(Exception):
                await connection.close()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _not_started(
    server: McpServer, connection: Connection, error: Exception, seconds: float
) -> ProviderUnavailableError:
    known = next((item for item in chain(error) if isinstance(item, CcosError)), None)
    if isinstance(known, ProviderUnavailableError):
        return known
    if known is not None:
        reason = known.message
    elif isinstance(error, TimeoutError):
        reason = f"It was not ready within {seconds:g} s."
    else:
        reason = plain_text(str(error), limit=500)
    next_step = known.next_step if isinstance(known, EgressError) else None
    story = connection.transport.story()
    what = "cannot be connected to" if isinstance(server, HttpServer) else "does not start"
    return ProviderUnavailableError(
        " ".join(part for part in (f"{_label(server)} {what}.", reason, story) if part),
        next_step=next_step,
        details={"reason": reason, "story": story},
    )


def chain(error: BaseException) -> list[BaseException]:
    """The error with everything that led to it, group members included, outermost first."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        item = pending.pop(0)
        if item is None or item in found:
            continue
        found.append(item)
        if isinstance(item, BaseExceptionGroup):
            pending.extend(item.exceptions)
        pending.extend((item.__cause__, item.__context__))
    return found


def _label(server: McpServer) -> str:
    where = server.url if isinstance(server, HttpServer) else server.package
    return f"The MCP server {where}"
