"""MCP over streamable HTTP, through a guarded transport."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Unpack

import httpx2
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from fastmcp.client.transports.http import StreamableHttpTransport
from mcp import ClientSession

from ccos.capabilities import AuthReference, HttpServer
from ccos.errors import ProviderUnavailableError
from ccos.providers.base import Secrets
from ccos.providers.mcp_connection import RelayingSession

_SCHEMES = ("bearer ", "token ", "basic ")


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
            transport=self._transport(),
            headers=headers,
            auth=self._credentials(),
            timeout=timeout or httpx2.Timeout(30.0, read=None),
            trust_env=False,
        )

    def _credentials(self) -> httpx2.Auth | None:
        reference = self._server.auth
        if reference is None:
            return None
        secret = self._secrets.find(reference.environment)
        if secret is None:
            names = " or ".join(reference.environment)
            raise ProviderUnavailableError(
                f"The MCP server at {self._server.url} needs a secret that is not set.",
                next_step=f"Set {names}.",
                details={"missing": list(reference.environment)},
            )
        return _Credentials(reference, secret)


class _Credentials(httpx2.Auth):
    """Puts the secret where its reference says."""

    def __init__(self, reference: AuthReference, secret: str) -> None:
        self._reference = reference
        self._value = _spelled(reference, secret)

    def auth_flow(self, request: httpx2.Request) -> Any:
        """Yield the request with the secret in it."""
        name = self._reference.name
        match self._reference.location:
            case "header":
                request.headers[name] = self._value
            case "query":
                request.url = request.url.copy_set_param(name, self._value)
            case "cookie":
                request.headers["Cookie"] = f"{name}={self._value}"
        yield request


def _spelled(reference: AuthReference, secret: str) -> str:
    if reference.scheme == "api_key" or secret.lower().startswith(_SCHEMES):
        return secret
    if reference.scheme == "basic":
        return "Basic " + base64.b64encode(secret.encode()).decode()
    return "Bearer " + secret
