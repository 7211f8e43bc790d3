"""What an MCP server offers: asked once, however many want to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ccos.capabilities import McpServer
from ccos.capabilities.mcp import ToolListing
from ccos.errors import CcosError, SourceError

ListTools = Callable[[McpServer], Awaitable[ToolListing]]


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    answer: ToolListing | SourceError | None = None
    asked_at: float = 0.0


class Introspector:
    """Lists the tools of servers for all sources.

    Concurrent questions about one server wait for one answer, and an answer, or a failure, is
    remembered for a while.

    Args:
        list_tools: Asks the server, such as `McpInvoker.list_tools`.
        timeout_seconds: How long one server may take.
        remember_seconds: How long an answer is good for.
    """

    def __init__(
        self,
        list_tools: ListTools,
        *,
        timeout_seconds: float = 30.0,
        remember_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_tools = list_tools
        self._timeout_seconds = timeout_seconds
        self._remember_seconds = remember_seconds
        self._clock = clock
        self._known: dict[McpServer, _Known] = {}

    async def tools(self, server: McpServer) -> ToolListing:
        """The tools of ``server``.

        Raises:
            SourceError: if it does not tell, in time.
        """
        self._forget()
        known = self._known.setdefault(server, _Known())
        async with known.lock:
            if known.answer is None or self._expired(known):
                known.answer = await self._ask(server)
                known.asked_at = self._clock()
        if isinstance(known.answer, SourceError):
            raise known.answer
        return known.answer

    async def _ask(self, server: McpServer) -> ToolListing | SourceError:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._list_tools(server)
        except CcosError as error:
            return SourceError(error.message, next_step=error.next_step, details=error.details)
        except TimeoutError:
            return SourceError(
                f"The MCP server did not list its tools within {self._timeout_seconds:g} s."
            )

    def _expired(self, known: _Known) -> bool:
        return self._clock() - known.asked_at > self._remember_seconds

    def _forget(self) -> None:
        stale = [
            server
            for server, known in self._known.items()
            if not known.lock.locked() and known.answer is not None and self._expired(known)
        ]
        for server in stale:
            del self._known[server]
