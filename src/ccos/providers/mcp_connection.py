"""One open connection to one MCP server: its tools, and calls to them.

This module and the transports import the MCP client, which takes a second; they are imported when
the first connection is opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final, Protocol

import mcp_types
from fastmcp import Client
from mcp import ClientSession

from ccos.capabilities.mcp import (
    MAXIMUM_LISTING_BYTES,
    MAXIMUM_PAGES,
    MAXIMUM_TOOLS,
    McpTool,
    ToolListing,
)
from ccos.errors import ProviderError

IDEMPOTENCY_KEY: Final = "ccos/idempotencyKey"
"""Name in the ``_meta`` of a call under which the idempotency key travels."""


request_failures: ContextVar[list[Exception] | None] = ContextVar("request_failures", default=None)
"""Where an HTTP transport notes why a request of the current call failed.

The client reports every such failure as a closed connection, which hides whether the request left.
It does carry the caller's context to where the request is made.
"""


class RelayingSession(ClientSession):
    """A session that hands results on unjudged; whoever asked holds them to the schema."""

    async def validate_tool_result(self, name: str, result: mcp_types.CallToolResult) -> None:
        """Accept every result."""


class Transport(Protocol):
    """What a connection asks of the transport besides carrying messages."""

    fault: str | None
    ended: bool

    def story(self) -> str:
        """What is known about why the server went away; may be empty."""
        ...


class Connection:
    """A session with a server, as long as it lasts.

    Args:
        transport: A `Transport` that is a ``ClientTransport``, made for this connection alone.
        listing_seconds: How long a listing is relied on before it is fetched again.
    """

    def __init__(
        self,
        transport: Any,
        *,
        listing_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport: Transport = transport
        self.in_flight = 0
        self.retired = False
        self._listing: ToolListing | None = None
        self._listed_at = 0.0
        self._changes = 0
        self._listing_seconds = listing_seconds
        self._clock = clock
        self._relisting = asyncio.Lock()
        self._client: Client[Any] = Client(
            transport,
            client_info=mcp_types.Implementation(name="ccos", version=version("ccos")),
            log_handler=_ignore,
            progress_handler=_ignore,
            message_handler=self._on_message,
            init_timeout=0,
        )

    @property
    def usable(self) -> bool:
        """Whether a call may be sent over it."""
        return not (self.retired or self.transport.ended) and self._client.is_connected()

    async def open(self) -> None:
        """Connect and fetch the list of tools. Raises whatever goes wrong."""
        with _true_failures():
            await self._client.__aenter__()  # type: ignore[no-untyped-call]
            await self.listing()

    async def close(self) -> None:
        """Disconnect; a server that runs as a process ends."""
        self.retired = True
        await self._client.close()  # type: ignore[no-untyped-call]

    async def listing(self) -> ToolListing:
        """The tools on offer: fetched again when the server said so, or from time to time."""
        async with self._relisting:
            expired = self._clock() - self._listed_at > self._listing_seconds
            if self._listing is None or expired:
                changes, self._listed_at = self._changes, self._clock()
                listing = await self._fetch()
                self._listing = listing if self._changes == changes else None
                return listing
            return self._listing

    async def call(
        self, tool: str, arguments: dict[str, Any], *, idempotency_key: str
    ) -> mcp_types.CallToolResult:
        """Call a tool. Raises whatever goes wrong."""
        with _true_failures():
            return await self._client.call_tool_mcp(
                tool, arguments, meta={IDEMPOTENCY_KEY: idempotency_key}
            )

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._changes += 1
            self._listing = None

    async def _fetch(self) -> ToolListing:
        tools: list[McpTool] = []
        size = 0
        cursor: str | None = None
        for _ in range(MAXIMUM_PAGES):
            page = await self._client.list_tools_mcp(cursor=cursor)
            for tool in page.tools:
                tools.append(_tool(tool))
                size += len(tool.model_dump_json())
            if len(tools) > MAXIMUM_TOOLS or size > MAXIMUM_LISTING_BYTES:
                raise ProviderError(
                    f"The MCP server lists more than {MAXIMUM_TOOLS} tools or "
                    f"{MAXIMUM_LISTING_BYTES} bytes of them."
                )
            cursor = page.next_cursor
            if cursor is None:
                return self._listing_of(tools)
        raise ProviderError("The MCP server's list of tools does not end.")

    def _listing_of(self, tools: list[McpTool]) -> ToolListing:
        server = self._client.server_info
        return ToolListing(
            tuple(tools), server.name if server else "", server.version if server else ""
        )


@contextmanager
def _true_failures() -> Iterator[None]:
    """Raise what went wrong with the last request in place of what the client makes of it."""
    failures: list[Exception] = []
    token = request_failures.set(failures)
    try:
        yield
    except Exception as error:
        if failures:
            raise failures[-1] from error
        raise
    finally:
        request_failures.reset(token)


def _tool(tool: mcp_types.Tool) -> McpTool:
    annotations = tool.annotations
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=(
            annotations.model_dump(mode="json", by_alias=True, exclude_none=True)
            if annotations
            else {}
        ),
    )


async def _ignore(*_: Any, **__: Any) -> None:
    """Log and progress messages of a server are its own affair."""
