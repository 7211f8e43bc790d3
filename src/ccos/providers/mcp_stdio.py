"""MCP over the standard streams of a process, with bounds on what the process may send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Unpack

import anyio
from anyio.abc import ByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from fastmcp.client.transports.base import ClientTransport, SessionKwargs, TransportOptions
from mcp import ClientSession
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from ccos.capabilities import StdioServer
from ccos.providers.launcher import Launcher, ServerProcess
from ccos.providers.mcp_connection import RelayingSession

MAXIMUM_LINE_BYTES: Final = 16_000_000
_MAXIMUM_STRAY_LINES: Final = 1000
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


class StdioTransport(ClientTransport):
    """Starts the server for one session and ends it afterwards.

    Attributes:
        fault: Why CCOS stopped listening to the server, or None.
        ended: Whether nothing more comes from the server.
    """

    legacy_only = False

    def __init__(self, launcher: Launcher, server: StdioServer) -> None:
        self.fault: str | None = None
        self.ended = False
        self._launcher = launcher
        self._server = server
        self._process: ServerProcess | None = None

    def story(self) -> str:
        """What is known about the end of the server: its exit, its last words."""
        parts = [self.fault] if self.fault else []
        if self._process is not None:
            if self._process.returncode is not None and not self.fault:
                parts.append(f"It ended with code {self._process.returncode}.")
            if words := self._process.stderr_tail():
                parts.append(f"Its last words: {words}")
        return " ".join(parts)

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncIterator[ClientSession]:
        """Run the server and speak to it; see the base class."""
        arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        async with self._launcher.start(self._server) as process:
            self._process = process
            async with anyio.create_task_group() as tasks, incoming, outgoing:
                tasks.start_soon(self._receive, process, arriving)
                tasks.start_soon(self._send, process, leaving, arriving)
                try:
                    async with RelayingSession(incoming, outgoing, **session_kwargs) as session:
                        yield session
                finally:
                    tasks.cancel_scope.cancel()

    async def _receive(
        self,
        process: ServerProcess,
        arriving: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        stray = 0
        try:
            async with arriving:
                async for line in _lines(process.stdout):
                    try:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except ValueError:
                        stray += 1
                        if stray > _MAXIMUM_STRAY_LINES:
                            self.fault = "It writes text that is no MCP to standard output."
                            return
                        continue
                    await arriving.send(SessionMessage(message))
        except _LineTooLongError:
            self.fault = f"It sent a message of more than {MAXIMUM_LINE_BYTES} bytes."
        except _CLOSED:
            pass
        finally:
            self.ended = True

    async def _send(
        self,
        process: ServerProcess,
        leaving: MemoryObjectReceiveStream[SessionMessage],
        arriving: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        try:
            async with leaving:
                async for item in leaving:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode() + b"\n")
        except _CLOSED:
            # Whoever waits for an answer must learn that none can come.
            self.ended = True
            await arriving.aclose()


class _LineTooLongError(Exception):
    pass


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    pending: list[bytes] = []
    size = 0
    async for chunk in stream:
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            yield b"".join((*pending, line))
            pending, size = [], 0
        pending.append(rest)
        size += len(rest)
        if size > MAXIMUM_LINE_BYTES:
            raise _LineTooLongError
