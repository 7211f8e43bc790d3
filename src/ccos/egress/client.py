"""The one way out."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpcore2
import httpx2

from ccos.egress.hop import Hop, Observer
from ccos.egress.network import PinnedBackend, Resolver, SystemResolver
from ccos.egress.policy import EgressPolicy
from ccos.egress.redirects import redirected
from ccos.egress.refusal import refusal
from ccos.egress.strict_json import MAX_JSON_DEPTH, parse_json
from ccos.egress.target import Target, parse_url
from ccos.egress.transport import GuardedTransport
from ccos.errors import EgressError

if TYPE_CHECKING:
    from ccos.egress.websocket import WebSocket

_MAX_CONNECTIONS = 100

# The length and the framing of a body, and the host, are ours to say.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """A complete answer.

    Attributes:
        status: The HTTP status; 4xx and 5xx are answers too, not errors.
        headers: Case-insensitive headers.
        body: The body, decompressed.
        url: Where the answer came from, after redirects, with its query.
    """

    status: int
    headers: httpx2.Headers = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text, by the charset it declares or else UTF-8, faults replaced."""
        return httpx2.Response(self.status, headers=self.headers, content=self.body).text

    def json(self, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
        """The body as JSON, read strictly by `parse_json`.

        Raises:
            EgressError: It is not JSON with exactly one meaning.
        """
        return parse_json(self.body, max_depth=max_depth)


class Egress:
    """All outgoing HTTP, under one policy.

    Proxies, netrc and certificate settings of the environment are not read, and no cookie
    outlives its request. Use it as an async context manager, within one event loop.

    Every request has a connection of its own. Were one reused, the server might close it at
    that moment and leave open whether it acted, or have left bytes on it that pass for the
    next answer; and the address would be one that was checked some time ago.

    Args:
        policy: The rules.
        resolver: Looks names up; the operating system by default.
        observer: Told about every hop once it ended, whether it went well or not. What it
            raises reaches whoever made the request.
        ssl_context: How certificates are verified; the system's authorities by default.
        backend: Opens sockets to addresses that were checked already.
        now: A clock in seconds, for durations.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: Resolver | None = None,
        observer: Observer | None = None,
        ssl_context: ssl.SSLContext | None = None,
        backend: httpcore2.AsyncNetworkBackend | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self._resolver = resolver or SystemResolver()
        self._observer = observer
        self._ssl_context = ssl_context
        self._backend = backend
        self._now = now
        self._pools: dict[tuple[Path, float] | None, httpcore2.AsyncConnectionPool] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; requests made later fail."""
        self._closed = True
        for pool in self._pools.values():
            await pool.aclose()

    def transport(
        self,
        purpose: str,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        *,
        only_hosts: frozenset[str] = frozenset(),
        idle_timeout_seconds: float = 300.0,
        observer: Observer | None = None,
        client_certificate: Path | None = None,
    ) -> GuardedTransport:
        """A transport for an `httpx2.AsyncClient` of someone else's, such as an MCP client's.

        Args:
            purpose: Why requests are made, for the observer.
            extra_allowed_hosts: Patterns that count as allowed for this transport alone.
            only_hosts: Patterns outside of which this transport reaches nothing; empty for no
                such restriction.
            idle_timeout_seconds: Longest silence within an answer.
            observer: Told about the hops of this transport, after the one that is told of all.
            client_certificate: PEM file with the certificate and key to show to the server.
        """
        return GuardedTransport(
            self.policy,
            partial(self._pool, client_certificate),
            purpose=purpose,
            extra_allowed_hosts=extra_allowed_hosts,
            only_hosts=only_hosts,
            idle_timeout_seconds=idle_timeout_seconds,
            observers=tuple(one for one in (self._observer, observer) if one is not None),
            now=self._now,
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | str | None = None,
        json: Any = None,
        purpose: str,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        only_hosts: frozenset[str] = frozenset(),
        secret_headers: frozenset[str] = frozenset(),
        timeout_seconds: float | None = None,
        observer: Observer | None = None,
        client_certificate: Path | None = None,
    ) -> EgressResponse:
        """Send a request, follow its redirects, and read the whole answer.

        Every error has ``details["sent"]``: False when certainly no byte of the request left,
        True when the server may have acted on it.

        Args:
            method: The HTTP method.
            url: An absolute http or https URL without credentials.
            headers: Headers to send.
            params: Added to the query of ``url``.
            content: The body; or
            json: a value to send as JSON.
            purpose: Why the request is made, for the observer.
            extra_allowed_hosts: Patterns that count as allowed for this request alone.
            only_hosts: Patterns outside of which neither the request nor a redirect of it may
                lead; empty for no such restriction.
            secret_headers: Names of headers never carried to another origin by a redirect,
                besides the usual credentials.
            timeout_seconds: Less time than the policy allows.
            observer: Told about the hops of this request, after the one that is told of all.
            client_certificate: PEM file with a certificate and its key (mutual TLS); it is shown
                to the host of ``url`` alone, so a redirect must not lead to another.

        Raises:
            EgressRefusedError: The policy forbids the request or a redirect of it;
                ``details["reason"]`` says why.
            EgressTimeoutError: The answer was not complete in time.
            ResponseTooLargeError: The answer is larger than the policy allows.
            EgressError: The server cannot be reached or breaks HTTP.
        """
        allowed = self.policy.timeout_seconds
        limit = allowed if timeout_seconds is None else min(timeout_seconds, allowed)
        if client_certificate is not None:
            only_hosts |= {parse_url(url).host}
        transport = self.transport(
            purpose,
            extra_allowed_hosts,
            only_hosts=only_hosts,
            idle_timeout_seconds=limit,
            observer=observer,
            client_certificate=client_certificate,
        )
        secrets = frozenset(name.lower() for name in secret_headers)
        hop = transport.begin(method.upper())
        try:
            async with asyncio.timeout(limit) as deadline:
                hop.deadline = deadline
                with hop.translated():
                    request = _build(method, url, headers, params, content, json)
                for _ in range(self.policy.max_redirects + 1):
                    response = await transport.send(request, hop)
                    try:
                        if not response.has_redirect_location:
                            body = await response.aread()
                            return EgressResponse(
                                response.status_code, response.headers, body, str(request.url)
                            )
                    finally:
                        await response.aclose()
                    hop = hop.next()
                    with hop.translated():
                        request = redirected(request, response, self.policy, secrets)
                    hop.method = request.method
                with hop.translated():
                    raise _too_many_redirects(request.url)
        except TimeoutError:
            error = hop.timed_out()
            hop.finish(error)
            raise error from None
        except BaseException as error:
            hop.finish(error)
            raise

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        purpose: str,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        only_hosts: frozenset[str] = frozenset(),
        idle_timeout_seconds: float = 300.0,
        observer: Observer | None = None,
        client_certificate: Path | None = None,
    ) -> AsyncIterator[WebSocket]:
        """Open a WebSocket (RFC 6455), and close it at the end of the block.

        It is held to what every request is held to: scheme, host, port and each address are
        checked, and the connection is pinned to a checked address. A redirect is not followed,
        messages are not compressed, and all of them together stay within the limit of an answer.

        Args:
            url: An absolute URL; ``ws`` and ``wss`` stand for http and https.
            headers: Headers of the opening handshake.
            subprotocols: What is offered, best first.
            purpose: Why it is opened, for the observer.
            extra_allowed_hosts: Patterns that count as allowed for this connection alone.
            only_hosts: Patterns outside of which it may not lead; empty for no such restriction.
            idle_timeout_seconds: Longest silence of the server.
            observer: Told once it is closed, after the one that is told of all.
            client_certificate: PEM file with the certificate and key to show to the server.

        Raises:
            EgressRefusedError: The policy forbids it.
            EgressTimeoutError: It was not open in the time that the policy allows.
            EgressError: The server cannot be reached, or does not open a WebSocket; then
                ``details["reason"]`` is ``websocket-refused``.
        """
        from ccos.egress.websocket import open_websocket

        observers = tuple(one for one in (self._observer, observer) if one is not None)
        hop = Hop(purpose, "GET", observers=observers, now=self._now)
        try:
            try:
                async with asyncio.timeout(self.policy.timeout_seconds) as deadline:
                    hop.deadline = deadline
                    with hop.translated():
                        socket = await open_websocket(
                            _http_url(url),
                            headers={"user-agent": "ccos", **(headers or {})},
                            subprotocols=subprotocols,
                            hop=hop,
                            policy=self.policy,
                            network=self._network(),
                            tls=partial(self._context, client_certificate),
                            extra_allowed_hosts=extra_allowed_hosts,
                            only_hosts=only_hosts,
                            idle_timeout_seconds=idle_timeout_seconds,
                        )
            except TimeoutError:
                raise hop.timed_out() from None
            try:
                yield socket
            finally:
                await socket.aclose()
        except BaseException as error:
            hop.finish(error)
            raise
        hop.finish()

    def _network(self) -> PinnedBackend:
        if self._closed:
            raise EgressError("This way out is closed.", details={"reason": "closed"})
        backend = self._backend or httpcore2.AnyIOBackend()
        return PinnedBackend(self.policy, self._resolver, backend)

    def _pool(self, certificate: Path | None = None) -> httpcore2.AsyncConnectionPool:
        network = self._network()
        key = None
        if certificate is not None:
            try:
                key = certificate, certificate.stat().st_mtime
            except OSError as error:
                raise _unusable_certificate(error) from None
        if key not in self._pools:
            self._pools[key] = httpcore2.AsyncConnectionPool(
                ssl_context=self._context(certificate),
                max_connections=_MAX_CONNECTIONS,
                network_backend=network,
            )
        return self._pools[key]

    def _context(self, certificate: Path | None) -> ssl.SSLContext:
        if certificate is not None:
            return self._showing(certificate)
        return self._ssl_context or httpx2.create_ssl_context(trust_env=False)

    def _showing(self, certificate: Path) -> ssl.SSLContext:
        """A context of its own for a client certificate, with the same authorities."""
        if self._ssl_context is None:
            context = httpx2.create_ssl_context(trust_env=False)
        else:
            authorities = b"".join(self._ssl_context.get_ca_certs(binary_form=True))
            context = ssl.create_default_context(cadata=authorities)
        try:
            # Without a password given here, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate, password="")
        except (OSError, ValueError) as error:
            raise _unusable_certificate(error) from None
        return context


def _unusable_certificate(error: Exception) -> EgressError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else "it is not readable"
    return refusal("client-certificate", f"the client certificate cannot be used ({said})")


def _http_url(url: str) -> httpx2.URL:
    parsed = parse_url(url)
    scheme = {"ws": "http", "wss": "https"}.get(parsed.scheme)
    return parsed if scheme is None else parsed.copy_with(scheme=scheme)


def _build(
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    params: Mapping[str, Any] | None,
    content: bytes | str | None,
    json: Any,
) -> httpx2.Request:
    parsed = parse_url(url)
    try:
        given = {
            name: value
            for name, value in (headers or {}).items()
            if name.lower() not in _OWN_HEADERS
        }
        request = httpx2.Request(
            method,
            parsed.copy_merge_params(params) if params else parsed,
            headers=given,
            content=content,
            json=json,
        )
    except (TypeError, ValueError, httpx2.InvalidURL):
        raise refusal("request", "a header, parameter or the body cannot be written") from None
    request.headers.setdefault("accept", "*/*")
    request.headers.setdefault("user-agent", "ccos")
    return request


def _too_many_redirects(url: httpx2.URL) -> EgressError:
    target = Target.of(url)
    return refusal("too-many-redirects", "it redirects too often", target.host, target.port)
