"""The guarded transport: the checks of one hop, whoever makes the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing

import httpcore2
import httpx2

from ccos.egress.hop import Hop, Observer
from ccos.egress.policy import EgressPolicy
from ccos.egress.refusal import refusal
from ccos.egress.target import Target
from ccos.errors import ResponseTooLargeError

MAX_RESPONSE_HEADERS = 256
MAX_RESPONSE_HEADER_BYTES = 64 * 1024

_DECODED = frozenset({"gzip", "deflate"})
_PLAIN = frozenset({"identity", "", "none"})  # "none" is no registered coding, but is sent
_ACCEPT_ENCODING = "gzip, deflate"


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A transport for any `httpx2.AsyncClient` that keeps to an `EgressPolicy`.

    Each request, and so each redirect the client follows, passes the checks anew. The answer
    must begin within ``policy.timeout_seconds``; after that only silence is timed, so that an
    event stream may stay open. Bodies arrive decompressed, and stop at the byte limit.

    Closing it closes nothing: the connections belong to the `Egress` that made it.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        pool: Callable[[], httpcore2.AsyncConnectionPool],
        *,
        purpose: str,
        extra_allowed_hosts: frozenset[str],
        only_hosts: frozenset[str],
        idle_timeout_seconds: float,
        observers: tuple[Observer, ...],
        now: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._pool = pool
        self._purpose = purpose
        self._extra_allowed_hosts = extra_allowed_hosts
        self._only_hosts = only_hosts
        self._idle_timeout_seconds = idle_timeout_seconds
        self._observers = observers
        self._now = now

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            EgressRefusedError: The policy forbids it.
            EgressTimeoutError: The answer did not begin in time.
            EgressError: The server cannot be reached or breaks HTTP.
        """
        return await self.send(request, self.begin(request.method))

    def begin(self, method: str) -> Hop:
        """A hop to hand to `send`; it reports to the observer when it ends."""
        return Hop(self._purpose, method, observers=self._observers, now=self._now)

    async def send(self, request: httpx2.Request, hop: Hop) -> httpx2.Response:
        """As `handle_async_request`, leaving in ``hop`` what became of the request."""
        try:
            with hop.translated():
                target = hop.target = Target.of(request.url)
                self._policy.check(target, self._extra_allowed_hosts, self._only_hosts)
                outgoing = self._outgoing(request, target, hop)
                async with asyncio.timeout(self._policy.timeout_seconds):
                    answer = await self._pool().handle_async_request(outgoing)
                try:
                    return self._incoming(answer, hop)
                except BaseException:
                    await answer.aclose()
                    raise
        except BaseException as error:
            hop.finish(error)
            raise

    def _outgoing(self, request: httpx2.Request, target: Target, hop: Hop) -> httpcore2.Request:
        if request.method == "CONNECT":
            raise refusal("method", "tunnels are not allowed", target.host, target.port)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._policy.max_request_bytes:
            raise _request_too_large(target)
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        headers = httpx2.Headers(request.headers)
        # Always the host that was checked: another name here would reach another site there.
        headers["host"] = target.authority
        headers["accept-encoding"] = _ACCEPT_ENCODING
        # One request a connection; `Egress` says why.
        headers["connection"] = "close"
        hop.request_head_bytes = (
            len(request.method) + len(request.url.raw_path) + _head_bytes(headers.raw)
        )
        return httpcore2.Request(
            request.method,
            httpcore2.URL(
                scheme=target.scheme.encode("ascii"),
                host=target.host.encode("ascii"),
                port=target.port,
                target=request.url.raw_path,
            ),
            headers=headers.raw,
            content=_upload(request.stream, target, hop, self._policy.max_request_bytes),
            # Nothing else of the caller's extensions: `sni_hostname` would change the name
            # that the certificate is verified against.
            extensions={"timeout": self._timeouts(request), "trace": hop.trace},
        )

    def _timeouts(self, request: httpx2.Request) -> dict[str, float]:
        """The caller's own timeouts, cut to what the policy allows."""
        wanted = request.extensions.get("timeout", {})
        limits = dict.fromkeys(("connect", "write", "pool"), self._policy.timeout_seconds)
        limits["read"] = self._idle_timeout_seconds
        return {
            phase: limit if wanted.get(phase) is None else min(wanted[phase], limit)
            for phase, limit in limits.items()
        }

    def _incoming(self, answer: httpcore2.Response, hop: Hop) -> httpx2.Response:
        hop.status = answer.status
        hop.address = _peer(answer)
        limit = self._policy.max_response_bytes
        hop.response_head_bytes = _head_bytes(answer.headers)
        if (
            len(answer.headers) > MAX_RESPONSE_HEADERS
            or hop.response_head_bytes > MAX_RESPONSE_HEADER_BYTES
        ):
            raise hop.failure("headers-too-large", "sent too many headers", ResponseTooLargeError)
        headers = httpx2.Headers(answer.headers)
        encodings = {
            encoding.strip().lower()
            for encoding in headers.get_list("content-encoding", split_commas=True)
        } - _PLAIN
        if not encodings <= _DECODED:
            raise hop.failure("content-encoding", "answered in an encoding it was not asked for")
        declared = headers.get("content-length", "")
        if hop.method != "HEAD" and declared.isdecimal() and int(declared) > limit:
            raise _response_too_large(hop, limit)
        encoded = httpx2.Response(
            answer.status, headers=answer.headers, stream=_Wire(answer, hop, limit)
        )
        if encodings and hop.method != "HEAD":
            # The body is handed on decompressed, so these no longer describe it.
            del headers["content-encoding"]
            headers.pop("content-length", None)
        return httpx2.Response(
            answer.status,
            headers=headers,
            stream=_Body(encoded, hop, limit),
            extensions={
                key: answer.extensions[key]
                for key in ("http_version", "reason_phrase")
                if key in answer.extensions
            },
        )


class _Wire(httpx2.AsyncByteStream):
    """The body as it comes over the wire, up to the limit."""

    def __init__(self, answer: httpcore2.Response, hop: Hop, limit: int) -> None:
        self._answer = answer
        self._hop = hop
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self._answer.aiter_stream()) as chunks:
            async for chunk in chunks:
                self._hop.response_bytes += len(chunk)
                if self._hop.response_bytes > self._limit:
                    raise _response_too_large(self._hop, self._limit)
                yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Body(httpx2.AsyncByteStream):
    """The decompressed body, up to the limit.

    `httpx2.Response` decompresses in pieces of at most 1 MiB, so a bomb is noticed before it
    fills the memory.
    """

    def __init__(self, encoded: httpx2.Response, hop: Hop, limit: int) -> None:
        self._encoded = encoded
        self._hop = hop
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        try:
            with self._hop.translated():
                async with aclosing(self._encoded.aiter_bytes()) as chunks:
                    async for chunk in chunks:
                        length += len(chunk)
                        if length > self._limit:
                            raise _response_too_large(self._hop, self._limit)
                        yield chunk
        except BaseException as error:
            self._hop.finish(error)
            raise

    async def aclose(self) -> None:
        await self._encoded.aclose()
        self._hop.finish()


def _head_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + len(": \r\n") for name, value in headers)


async def _upload(
    stream: httpx2.AsyncByteStream, target: Target, hop: Hop, limit: int
) -> AsyncIterator[bytes]:
    async for chunk in stream:
        hop.request_bytes += len(chunk)
        if hop.request_bytes > limit:
            raise _request_too_large(target)
        yield chunk


def _request_too_large(target: Target) -> Exception:
    return refusal("request-too-large", "its body is too large", target.host, target.port)


def _response_too_large(hop: Hop, limit: int) -> Exception:
    return hop.failure(
        "response-too-large", f"answered more than {limit} bytes", ResponseTooLargeError
    )


def _peer(answer: httpcore2.Response) -> str | None:
    stream = answer.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream is not None else None
    return str(address[0]) if address else None
