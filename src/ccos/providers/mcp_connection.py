"""One open connection to one MCP server: what it offers, and calls to that.

This module and the transports import the MCP client, which takes a second; they are imported when
the first connection is opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final, Protocol

import mcp_types
from fastmcp import Client
from mcp import ClientSession, MCPError

from ccos.capabilities.mcp import (
    MAXIMUM_LISTING_BYTES,
    MAXIMUM_PAGES,
    MAXIMUM_TOOLS,
    McpOffers,
    McpPrompt,
    McpPromptArgument,
    McpResource,
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
        self._offers: McpOffers | None = None
        self._offered_at = 0.0
        self._offer_changes = 0
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

    async def offers(self) -> McpOffers:
        """The resources, templates and prompts on offer, renewed as `listing` is."""
        async with self._relisting:
            expired = self._clock() - self._offered_at > self._listing_seconds
            if self._offers is None or expired:
                changes, self._offered_at = self._offer_changes, self._clock()
                with _true_failures():
                    offers = await self._fetch_offers()
                self._offers = offers if self._offer_changes == changes else None
                return offers
            return self._offers

    async def read(self, uri: str) -> mcp_types.ReadResourceResult:
        """Read a resource. Raises whatever goes wrong."""
        with _true_failures():
            return await self._client.read_resource_mcp(uri)

    async def prompt(self, name: str, arguments: dict[str, Any]) -> mcp_types.GetPromptResult:
        """Fetch a prompt. Raises whatever goes wrong."""
        with _true_failures():
            return await self._client.get_prompt_mcp(name, arguments)

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
        elif isinstance(
            message,
            mcp_types.ResourceListChangedNotification | mcp_types.PromptListChangedNotification,
        ):
            self._offer_changes += 1
            self._offers = None

    async def _fetch_offers(self) -> McpOffers:
        found = self._client.server_capabilities
        resources: list[McpResource] = []
        prompts: list[McpPrompt] = []
        if found is None or found.resources is not None:
            resources += map(_resource, await _all(self._client.list_resources_mcp, "resources"))
            templates = await _all(self._client.list_resource_templates_mcp, "resource_templates")
            resources += map(_template, templates)
        if found is None or found.prompts is not None:
            prompts += map(_prompt, await _all(self._client.list_prompts_mcp, "prompts"))
        return McpOffers(tuple(resources), tuple(prompts))

    async def _fetch(self) -> ToolListing:
        found = await _all(self._client.list_tools_mcp, "tools")
        return self._listing_of([_tool(one) for one in found])

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


async def _all(fetch: Callable[..., Awaitable[Any]], name: str) -> list[Any]:
    """All pages of a list; a server that does not know the method has an empty one."""
    found: list[Any] = []
    size = 0
    cursor: str | None = None
    for _ in range(MAXIMUM_PAGES):
        try:
            page = await fetch(cursor=cursor)
        except MCPError as error:
            if error.code == mcp_types.METHOD_NOT_FOUND and cursor is None:
                return []
            raise
        items = getattr(page, name)
        found += items
        size += sum(len(one.model_dump_json()) for one in items)
        if len(found) > MAXIMUM_TOOLS or size > MAXIMUM_LISTING_BYTES:
            raise ProviderError(
                f"The MCP server lists more than {MAXIMUM_TOOLS} {name.replace('_', ' ')} or "
                f"{MAXIMUM_LISTING_BYTES} bytes of them."
            )
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise ProviderError(f"The MCP server's list of {name.replace('_', ' ')} does not end.")


def _resource(resource: mcp_types.Resource) -> McpResource:
    return McpResource(
        resource.uri,
        resource.name,
        title=resource.title,
        description=resource.description,
        mime_type=resource.mime_type,
        annotations=_plain(resource.annotations),
    )


def _template(template: mcp_types.ResourceTemplate) -> McpResource:
    return McpResource(
        template.uri_template,
        template.name,
        is_template=True,
        title=template.title,
        description=template.description,
        mime_type=template.mime_type,
        annotations=_plain(template.annotations),
    )


def _prompt(prompt: mcp_types.Prompt) -> McpPrompt:
    return McpPrompt(
        prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=tuple(
            McpPromptArgument(one.name, one.title, one.description, one.required is True)
            for one in prompt.arguments or ()
        ),
    )


def _plain(annotations: Any) -> dict[str, Any]:
    if annotations is None:
        return {}
    found: dict[str, Any] = annotations.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def _tool(tool: mcp_types.Tool) -> McpTool:
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=_plain(tool.annotations),
    )


async def _ignore(*_: Any, **__: Any) -> None:
    """Log and progress messages of a server are its own affair."""
