"""Invokes tools of MCP servers, over standard streams or streamable HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ccos.capabilities import Manifest, McpProvider, McpServer
from ccos.capabilities.mcp import McpTool, ToolListing, tool_hash
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

if TYPE_CHECKING:
    import httpx2
    import mcp_types

    from ccos.providers.mcp_connection import Connection

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

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Call the tool; see `Invoker` for the errors.

        The result is the tool's structured content if it has any. Otherwise a single text block is
        the result: parsed when it is a JSON object or array, else as text. No content is None, and
        anything else is the list of content blocks as they came.
        """
        provider = manifest.provider
        assert isinstance(provider, McpProvider)
        async with self._sessions.lease(provider.server, vouched=True) as connection:
            _check_definition(provider, (await self._listing(connection)).find(provider.tool))
            result = await self._call(connection, provider, arguments, idempotency_key)
        return result_value(provider.tool, result)

    async def aclose(self) -> None:
        """Close all connections and end all servers. Calling it again does nothing."""
        await self._sessions.aclose()

    async def _listing(self, connection: Connection) -> ToolListing:
        try:
            async with asyncio.timeout(_LISTING_TIMEOUT_SECONDS):
                return await connection.listing()
        except Exception as error:
            self._sessions.retire(connection)
            raise ProviderUnavailableError(
                _sentence("The MCP server does not list its tools", error, connection)
            ) from error

    async def _call(
        self,
        connection: Connection,
        provider: McpProvider,
        arguments: dict[str, Any],
        idempotency_key: str,
    ) -> mcp_types.CallToolResult:
        seconds = min(provider.timeout_seconds, self._call_timeout_seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await connection.call(
                    provider.tool, arguments, idempotency_key=idempotency_key
                )
        except Exception as error:
            if deadline.expired():
                self._sessions.retire(connection)
                raise ProviderTimeoutError(
                    f"The MCP tool {provider.tool!r} did not answer within {seconds:g} s.",
                    details={"tool": provider.tool, "timeout_seconds": seconds},
                ) from error
            failure = _failure(provider.tool, error, connection)
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


def _failure(tool: str, error: Exception, connection: Connection) -> ProviderError:
    """What a failed call means: answered, never sent, or nobody knows."""
    import httpx2
    import mcp_types
    from mcp import MCPError

    causes = chain(error)
    if any(_never_sent(cause, httpx2.ConnectError) for cause in causes):
        return ProviderUnavailableError(
            _sentence(f"The MCP tool {tool!r} was not reached", error, connection)
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
        f"The MCP tool {tool!r} refused the call: {message}",
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
