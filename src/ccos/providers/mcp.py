"""Invokes what MCP servers offer, over standard streams or streamable HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ccos.capabilities import (
    Manifest,
    McpPromptProvider,
    McpProvider,
    McpResourceProvider,
    McpServer,
)
from ccos.capabilities.mcp import (
    McpOffers,
    McpPrompt,
    McpResource,
    McpTool,
    ToolListing,
    offer_hash,
    tool_hash,
)
from ccos.errors import (
    CapabilityFailedError,
    CcosError,
    DefinitionChangedError,
    EgressError,
    ProviderError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.nesting import nests_deeper
from ccos.providers.base import Secrets
from ccos.providers.launcher import Launcher
from ccos.providers.mcp_sessions import SessionPool, chain
from ccos.providers.mcp_text import plain_text
from ccos.providers.media_types import BodyKind, body_kind
from ccos.providers.uri_templates import expand

if TYPE_CHECKING:
    import httpx2
    import mcp_types

    from ccos.providers.mcp_connection import Connection

_Answer = TypeVar("_Answer")
_Listed = TypeVar("_Listed", ToolListing, McpOffers)

_SESSION_TERMINATED: Final = "Session terminated"
_LISTING_TIMEOUT_SECONDS: Final = 30.0
_DEPTH: Final = 128
"""Text is not read as JSON that nests deeper."""


class McpInvoker:
    """The invoker for capabilities whose provider is an MCP server.

    Servers are started or connected to on first use and shared between calls. Before a call the
    tool is compared with what was registered, by its hash. Nothing is opened on construction; use
    it within one event loop and close it at the end.

    Args:
        launcher: Starts servers that are processes.
        http_transport: Makes the guarded transport for one HTTP connection; it is given the hosts
            that are allowed beyond the policy.
        secrets: Where secrets for HTTP servers are looked up.
        call_timeout_seconds: How long a call may take, whatever its manifest allows.
        start_timeout_seconds: How long a server may take to start, downloads included.
        idle_seconds: After how long without a call a server is let go.
        listing_seconds: For how long its list of tools is relied on. A server that announces a
            change is asked again before the next call.
    """

    def __init__(
        self,
        launcher: Launcher,
        http_transport: Callable[[frozenset[str]], httpx2.AsyncBaseTransport],
        secrets: Secrets,
        *,
        call_timeout_seconds: float = 3600.0,
        start_timeout_seconds: float = 60.0,
        idle_seconds: float = 300.0,
        listing_seconds: float = 60.0,
    ) -> None:
        self._call_timeout_seconds = call_timeout_seconds
        self._sessions = SessionPool(
            launcher,
            http_transport,
            secrets,
            start_timeout_seconds=start_timeout_seconds,
            idle_seconds=idle_seconds,
            listing_seconds=listing_seconds,
        )

    async def list_tools(self, server: McpServer, *, vouched: bool = False) -> ToolListing:
        """Everything ``server`` offers, all pages of it.

        Args:
            server: What to ask.
            vouched: Whether somebody answers for it; if not, the policy must allow its host.

        Raises:
            ProviderUnavailableError: if the server cannot be reached or does not answer properly.
        """
        async with self._sessions.lease(server, vouched=vouched) as connection:
            return await self._listing(connection)

    async def list_offers(self, server: McpServer, *, vouched: bool = False) -> McpOffers:
        """The resources, templates and prompts of ``server``; see `list_tools`."""
        async with self._sessions.lease(server, vouched=vouched) as connection:
            return await self._offers(connection)

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Call the tool, read the resource, or fetch the prompt; see `Invoker` for the errors.

        The result of a tool is its structured content if it has any. Otherwise a single text block
        is the result: parsed when it is a JSON object or array, else as text. No content is None,
        and anything else is the list of content blocks as they came. A resource is its text, parsed
        if it is JSON by its media type, or ``{"content_type", "base64"}``; several make a list. A
        prompt is ``{"description", "messages"}``.
        """
        provider = manifest.provider
        if isinstance(provider, McpResourceProvider | McpPromptProvider):
            return await self._fetched(provider, arguments)
        assert isinstance(provider, McpProvider)
        async with self._sessions.lease(provider.server, vouched=True) as connection:
            _check_definition(provider, (await self._listing(connection)).find(provider.tool))
            result = await self._call(connection, provider, arguments, idempotency_key)
        return result_value(provider.tool, result)

    async def aclose(self) -> None:
        """Close all connections and end all servers. Calling it again does nothing."""
        await self._sessions.aclose()

    async def _listing(self, connection: Connection) -> ToolListing:
        return await self._listed(connection, connection.listing, "tools")

    async def _offers(self, connection: Connection) -> McpOffers:
        return await self._listed(connection, connection.offers, "resources and prompts")

    async def _listed(
        self, connection: Connection, fetch: Callable[[], Awaitable[_Listed]], what: str
    ) -> _Listed:
        try:
            async with asyncio.timeout(_LISTING_TIMEOUT_SECONDS):
                return await fetch()
        except Exception as error:
            self._sessions.retire(connection)
            raise ProviderUnavailableError(
                _sentence(f"The MCP server does not list its {what}", error, connection)
            ) from error

    async def _fetched(
        self, provider: McpResourceProvider | McpPromptProvider, arguments: dict[str, Any]
    ) -> Any:
        async with self._sessions.lease(provider.server, vouched=True) as connection:
            offers = await self._offers(connection)
            offer: McpResource | McpPrompt | None
            if isinstance(provider, McpPromptProvider):
                name, offer = provider.prompt, offers.prompt(provider.prompt)
            else:
                name = provider.uri
                offer = offers.resource(provider.uri, is_template=provider.is_template)
            _check_offer(name, provider.definition_hash, offer)
            if isinstance(provider, McpPromptProvider):
                prompt = await self._asked(
                    connection, provider, name, partial(connection.prompt, name, arguments)
                )
                return prompt.model_dump(
                    mode="json",
                    by_alias=True,
                    exclude_none=True,
                    include={"description", "messages"},
                )
            uri = expand(name, arguments) if provider.is_template else name
            result = await self._asked(connection, provider, name, partial(connection.read, uri))
        return resource_value(result)

    async def _call(
        self,
        connection: Connection,
        provider: McpProvider,
        arguments: dict[str, Any],
        idempotency_key: str,
    ) -> mcp_types.CallToolResult:
        send = partial(connection.call, provider.tool, arguments, idempotency_key=idempotency_key)
        return await self._asked(connection, provider, provider.tool, send)

    async def _asked(
        self,
        connection: Connection,
        provider: McpProvider | McpResourceProvider | McpPromptProvider,
        name: str,
        send: Callable[[], Awaitable[_Answer]],
    ) -> _Answer:
        """What the server answers in time, or what its failure means."""
        seconds = min(provider.timeout_seconds, self._call_timeout_seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await send()
        except Exception as error:
            if deadline.expired():
                self._sessions.retire(connection)
                raise ProviderTimeoutError(
                    f"The MCP {_kind(provider)} {name!r} did not answer within {seconds:g} s.",
                    details={"tool": name, "timeout_seconds": seconds},
                ) from error
            failure = _failure(name, error, connection, _kind(provider))
            if not isinstance(failure, CapabilityFailedError) and connection.usable:
                self._sessions.retire(connection)
            raise failure from error


def _check_definition(provider: McpProvider, tool: McpTool | None) -> None:
    """Refuse a tool that is not the one that was registered.

    Raises:
        DefinitionChangedError: with both hashes and the new definition, None if the tool is gone.
    """
    offered = None if tool is None else _hash(tool)
    if offered == provider.tool_hash:
        return
    what = "is not offered any more" if tool is None else "is not what was registered any more"
    raise DefinitionChangedError(
        f"The MCP tool {provider.tool!r} {what}.",
        details={
            "tool": provider.tool,
            "old_hash": provider.tool_hash,
            "new_hash": offered,
            "definition": None if tool is None else tool.as_dict(),
        },
    )


def _hash(tool: McpTool) -> str | None:
    try:
        return tool_hash(tool)
    except ValueError:
        return None


def _check_offer(name: str, registered: str, offer: McpResource | McpPrompt | None) -> None:
    """Refuse a resource or prompt that is not the one that was registered; as for a tool."""
    try:
        offered = None if offer is None else offer_hash(offer)
    except ValueError:
        offered = None
    if offered == registered:
        return
    what = "is not offered any more" if offer is None else "is not what was registered any more"
    raise DefinitionChangedError(
        f"{plain_text(name, limit=200)!r} of the MCP server {what}.",
        details={
            "tool": name,
            "old_hash": registered,
            "new_hash": offered,
            "definition": None if offer is None else offer.as_dict(),
        },
    )


def _kind(provider: McpProvider | McpResourceProvider | McpPromptProvider) -> str:
    return provider.type.removeprefix("mcp").removeprefix("_") or "tool"


def resource_value(result: mcp_types.ReadResourceResult) -> Any:
    """The value of a resource, as `McpInvoker.invoke` describes it."""
    values = [_content_value(one) for one in result.contents]
    return values[0] if len(values) == 1 else values


def _content_value(content: Any) -> Any:
    blob = getattr(content, "blob", None)
    media_type = content.mime_type or ""
    if blob is not None:
        return {"content_type": media_type or "application/octet-stream", "base64": blob}
    is_json = bool(media_type) and body_kind(media_type) is BodyKind.JSON
    return _parsed(content.text) if is_json else content.text


def _failure(
    tool: str, error: Exception, connection: Connection, kind: str = "tool"
) -> ProviderError:
    """What a failed call means: answered, never sent, or nobody knows."""
    import httpx2
    import mcp_types
    from mcp import MCPError

    causes = chain(error)
    if any(_never_sent(cause, httpx2.ConnectError) for cause in causes):
        return ProviderUnavailableError(
            _sentence(f"The MCP {kind} {tool!r} was not reached", error, connection)
        )
    answer = next((cause for cause in causes if isinstance(cause, MCPError)), None)
    lost = (mcp_types.CONNECTION_CLOSED, mcp_types.PARSE_ERROR, mcp_types.INVALID_REQUEST)
    if answer is None or answer.code in lost:
        if answer is not None and answer.message == _SESSION_TERMINATED:
            # A 404 to a session id: the server forgot the session and did not look further.
            return ProviderUnavailableError("The MCP server has ended its session with CCOS.")
        return ProviderInterruptedError(
            _sentence(f"The MCP server went away during the call of {tool!r}", error, connection),
            details={"tool": tool},
        )
    message = plain_text(answer.message)
    return CapabilityFailedError(
        f"The MCP {kind} {tool!r} refused the call: {message}",
        details={"tool": tool, "code": answer.code, "text": message},
    )


def _never_sent(error: BaseException, connect_error: type[Exception]) -> bool:
    if isinstance(error, EgressError):
        return error.details.get("sent") is False
    return isinstance(error, connect_error)


def _sentence(what: str, error: Exception, connection: Connection) -> str:
    known = next((cause for cause in chain(error) if isinstance(cause, CcosError)), None)
    reason = known.message if known else plain_text(str(error), limit=500)
    story = connection.transport.story()
    return " ".join(part for part in (f"{what}: {reason or type(error).__name__}", story) if part)


def result_value(tool: str, result: mcp_types.CallToolResult) -> Any:
    """The value of a tool's answer, as `McpInvoker.invoke` describes it.

    Raises:
        CapabilityFailedError: if the tool says that it failed, with its own text.
    """
    if result.is_error:
        texts = [block.text for block in result.content if block.type == "text"]
        text = plain_text("\n".join(texts)) or "no reason given"
        raise CapabilityFailedError(
            f"The MCP tool {tool!r} failed: {text}", details={"tool": tool, "text": text}
        )
    if "structured_content" in result.model_fields_set and result.structured_content is not None:
        return result.structured_content
    if not result.content:
        return None
    first = result.content[0]
    if len(result.content) == 1 and first.type == "text":
        return _parsed(first.text)
    return [
        block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content
    ]


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    if nests_deeper(text, _DEPTH):
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")
