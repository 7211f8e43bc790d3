"""WebSocket connections (RFC 6455) under the same policy as every other request."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import httpcore2
import httpx2
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ccos.egress.hop import Hop
from ccos.egress.network import PinnedBackend
from ccos.egress.policy import EgressPolicy
from ccos.egress.refusal import refusal
from ccos.egress.target import Target
from ccos.errors import ResponseTooLargeError

_READ_BYTES: Final = 65_536
_CLOSE_SECONDS: Final = 2.0
_OWN_HEADERS: Final = ("host", "connection", "upgrade", "content-length", "transfer-encoding")
_QUIET: Final = logging.Logger("websocket", logging.CRITICAL + 1)
"""Says nothing: the library would write secrets of the handshake into a log of debugging."""


class WebSocket:
    """An open connection, over which text messages go both ways.

    One task uses it at a time. Messages that the server sends meanwhile wait in the network.

    Attributes:
        subprotocol: What the server chose of the subprotocols offered, or None.
    """

    def __init__(
        self,
        stream: httpcore2.AsyncNetworkStream,
        protocol: ClientProtocol,
        hop: Hop,
        *,
        limit: int,
        idle_timeout_seconds: float,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._hop = hop
        self._limit = limit
        self._idle_timeout_seconds = idle_timeout_seconds
        self._messages: deque[str] = deque()
        self._fragments = bytearray()
        self._closed = False

    @property
    def subprotocol(self) -> str | None:
        """What the server chose of the subprotocols offered, or None."""
        return self._protocol.subprotocol

    @property
    def closing(self) -> tuple[int, str] | None:
        """Code and reason with which the server closed, or None if it did not."""
        close = self._protocol.close_rcvd
        return None if close is None else (close.code, close.reason)

    async def send(self, text: str) -> None:
        """Send one message.

        Raises:
            EgressError: The connection broke off or is closed.
        """
        with self._hop.translated():
            self._protocol.send_text(text.encode())
            await self._flush()

    async def receive(self) -> str | None:
        """The next message; None once the server has closed the connection.

        Raises:
            EgressTimeoutError: Nothing came for as long as silence is allowed.
            ResponseTooLargeError: All messages together exceed the limit of the policy.
            EgressError: The connection broke off, or a message is no text.
        """
        with self._hop.translated():
            while not self._messages:
                if self._closed:
                    return None
                await self._read()
            return self._messages.popleft()

    async def open(self, headers: Mapping[str, str]) -> None:
        """Send the opening handshake and wait for the answer."""
        request = self._protocol.connect()
        for name, value in headers.items():
            lowered = name.lower()
            if lowered in _OWN_HEADERS or lowered.startswith("sec-websocket-"):
                continue
            if not (value.isascii() and value.isprintable()):
                raise refusal("request", "a header cannot be written")
            request.headers[name] = value
        self._protocol.send_request(request)
        self._hop.sent = True
        await self._flush()
        while self._protocol.state is State.CONNECTING:
            await self._read()

    async def aclose(self) -> None:
        """Say goodbye and close the connection."""
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._flush()
        except (httpcore2.NetworkError, httpcore2.TimeoutException, TimeoutError, OSError):
            pass  # It is gone already, which is what was wanted.
        finally:
            await self._stream.aclose()

    async def _read(self) -> None:
        data = await self._stream.read(_READ_BYTES, self._idle_timeout_seconds)
        self._hop.response_bytes += len(data)
        if self._hop.response_bytes > self._limit:
            raise self._too_large()
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._check()
        if self._protocol.close_rcvd is not None:
            self._closed = True
        else:
            await self._flush()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            raise self._hop.failure("websocket", "sent bytes where text is spoken")
        if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return
        self._fragments += frame.data
        if frame.fin:
            self._messages.append(self._fragments.decode())
            self._fragments.clear()

    def _check(self) -> None:
        handshake = self._protocol.handshake_exc
        if isinstance(handshake, InvalidStatus):
            status = handshake.response.status_code
            self._hop.status = status
            error = self._hop.failure(
                "websocket-refused", f"answered {status} instead of opening a WebSocket"
            )
            error.details["status"] = status
            raise error
        if handshake is not None:
            raise self._hop.failure("websocket-refused", "does not open a WebSocket properly")
        if isinstance(self._protocol.parser_exc, PayloadTooBig):
            raise self._too_large()
        if self._protocol.parser_exc is not None and self._protocol.close_rcvd is None:
            raise self._hop.failure("network", "broke off")

    def _too_large(self) -> Exception:
        return self._hop.failure(
            "response-too-large", f"sent more than {self._limit} bytes", ResponseTooLargeError
        )

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:  # an empty one would close our half, which aclose does for both
                self._hop.request_bytes += len(data)
                await self._stream.write(data, self._idle_timeout_seconds)


async def open_websocket(
    url: httpx2.URL,
    *,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    hop: Hop,
    policy: EgressPolicy,
    network: PinnedBackend,
    tls: Callable[[], ssl.SSLContext],
    extra_allowed_hosts: frozenset[str],
    only_hosts: frozenset[str],
    idle_timeout_seconds: float,
) -> WebSocket:
    """Connect to an address that was checked, and open a WebSocket there.

    Raises:
        EgressError: As ``Egress.websocket`` says.
    """
    target = hop.target = Target.of(url)
    policy.check(target, extra_allowed_hosts, only_hosts)
    secure = target.scheme == "https"
    stream = await network.connect_tcp(target.host, target.port, policy.timeout_seconds)
    try:
        if secure:
            stream = await stream.start_tls(tls(), target.host, policy.timeout_seconds)
        peer = stream.get_extra_info("server_addr")
        hop.address = str(peer[0]) if peer else None
        protocol = ClientProtocol(
            WebSocketURI(secure, target.host, target.port, url.raw_path.decode("ascii"), ""),
            subprotocols=[Subprotocol(one) for one in subprotocols] or None,
            max_size=policy.max_response_bytes,
            logger=_QUIET,
        )
        socket = WebSocket(
            stream,
            protocol,
            hop,
            limit=policy.max_response_bytes,
            idle_timeout_seconds=idle_timeout_seconds,
        )
        await socket.open(headers)
    except BaseException:
        await stream.aclose()
        raise
    hop.status = HTTPStatus.SWITCHING_PROTOCOLS
    return socket
