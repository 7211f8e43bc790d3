"""The one way out."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpcore2
import httpx2

from ccos.egress.hop import Observer
from ccos.egress.network import PinnedBackend, Resolver, SystemResolver
from ccos.egress.policy import EgressPolicy
from ccos.egress.redirects import redirected
from ccos.egress.refusal import refusal
from ccos.egress.strict_json import MAX_JSON_DEPTH, parse_json
from ccos.egress.target import Target, parse_url
from ccos.egress.transport import GuardedTransport
from ccos.errors import EgressError

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
        self._connections: httpcore2.AsyncConnectionPool | None = None
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
        if self._connections is not None:
            await self._connections.aclose()

    def transport(
        self,
        purpose: str,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        *,
        only_hosts: frozenset[str] = frozenset(),
        idle_timeout_seconds: float = 300.0,
        observer: Observer | None = None,
    ) -> GuardedTransport:
        """A transport for an `httpx2.AsyncClient` of someone else's, such as an MCP client's.

        Args:
            purpose: Why requests are made, for the observer.
            extra_allowed_hosts: Patterns that count as allowed for this transport alone.
            only_hosts: Patterns outside of which this transport reaches nothing; empty for no
                such restriction.
            idle_timeout_seconds: Longest silence within an answer.
            observer: Told about the hops of this transport, after the one that is told of all.
        """
        return GuardedTransport(
            self.policy,
            self._pool,
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

        Raises:
            EgressRefusedError: The policy forbids the request or a redirect of it;
                ``details["reason"]`` says why.
            EgressTimeoutError: The answer was not complete in time.
            ResponseTooLargeError: The answer is larger than the policy allows.
            EgressError: The server cannot be reached or breaks HTTP.
        """
        allowed = self.policy.timeout_seconds
        limit = allowed if timeout_seconds is None else min(timeout_seconds, allowed)
        transport = self.transport(
            purpose,
            extra_allowed_hosts,
            only_hosts=only_hosts,
            idle_timeout_seconds=limit,
            observer=observer,
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

    def _pool(self) -> httpcore2.AsyncConnectionPool:
        if self._closed:
            raise EgressError("This way out is closed.", details={"reason": "closed"})
        if self._connections is None:
            self._connections = httpcore2.AsyncConnectionPool(
                ssl_context=self._ssl_context or httpx2.create_ssl_context(trust_env=False),
                max_connections=_MAX_CONNECTIONS,
                network_backend=PinnedBackend(
                    self.policy, self._resolver, self._backend or httpcore2.AnyIOBackend()
                ),
            )
        return self._connections


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
