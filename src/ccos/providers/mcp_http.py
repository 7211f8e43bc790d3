"""MCP over streamable HTTP, through a guarded transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, Unpack

import httpx2
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from fastmcp.client.transports.http import StreamableHttpTransport
from mcp import ClientSession

from ccos.capabilities import HttpServer
from ccos.providers.base import Secrets
from ccos.providers.http_credentials import Credentials, find_credentials
from ccos.providers.mcp_connection import RelayingSession, request_failures


class HttpTransport(StreamableHttpTransport):
    """Speaks to one MCP endpoint; every request passes ``transport()`` and carries the secret.

    Attributes:
        fault: Always None; what went wrong is in the errors themselves.
        ended: Always False; a connection that broke is seen by its session.
    """

    def __init__(
        self,
        server: HttpServer,
        transport: Callable[[], httpx2.AsyncBaseTransport],
        secrets: Secrets,
    ) -> None:
        self.fault: str | None = None
        self.ended = False
        self._transport = transport
        self._secrets = secrets
        self._server = server
        super().__init__(server.url, httpx_client_factory=self._client)

    def story(self) -> str:
        """Nothing: a remote server leaves no last words."""
        return ""

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncIterator[ClientSession]:
        """Open a session; see the base class."""
        options = TransportOptions(session_class=RelayingSession)
        async with super().connect_session(transport_options=options, **session_kwargs) as session:
            yield session

    def _client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        **_: Any,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=_Witness(self._transport()),
            headers=headers,
            auth=self._credentials(),
            timeout=timeout or httpx2.Timeout(30.0, read=None),
            trust_env=False,
        )

    def _credentials(self) -> httpx2.Auth | None:
        if self._server.auth is None:
            return None
        label = f"The MCP server at {self._server.url}"
        return _Auth(find_credentials((self._server.auth,), self._secrets, capability=label))


class _Witness(httpx2.AsyncBaseTransport):
    """Notes for the caller why a request failed."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except Exception as error:
            failures = request_failures.get()
            if failures is not None:
                failures.append(error)
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Auth(httpx2.Auth):
    """Adds the credentials to each request."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Yield the request with the credentials in it."""
        request.headers.update(self._credentials.headers)
        if self._credentials.cookies:
            pairs = (f"{name}={value}" for name, value in self._credentials.cookies)
            request.headers["Cookie"] = "; ".join(pairs)
        if self._credentials.query:
            query = [request.url.query.decode()] if request.url.query else []
            query += (f"{name}={value}" for name, value in self._credentials.query)
            request.url = request.url.copy_with(query="&".join(query).encode())
        yield request
