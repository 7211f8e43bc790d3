"""One request on its way to one origin: what happened to it, and what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore2

from ccos.egress.target import Target
from ccos.errors import CcosError, EgressError, EgressTimeoutError


@dataclass(frozen=True, slots=True)
class EgressRecord:
    """What one hop did, for audit and budgets. It holds no header, query or body.

    Attributes:
        purpose: Why the request was made, in the caller's words.
        method: The HTTP method.
        host: The normalised host, empty when the URL could not be read.
        port: The port, or None when the URL could not be read.
        address: The peer that answered or the address that was refused, if it came that far.
        status: The HTTP status, if an answer began.
        failure: A reason such as ``private-address``, ``timeout`` or ``cancelled``; None when
            the answer was read or closed in peace.
        sent: Whether the request may have reached the server.
        request_bytes: Length of the body sent.
        response_bytes: Length of the body received, before decompression.
        duration_seconds: From the first check to the end of the answer.
        head_bytes: About the length of what goes before the bodies, sent and received: the
            request line and all headers.
    """

    purpose: str
    method: str
    host: str
    port: int | None
    address: str | None
    status: int | None
    failure: str | None
    sent: bool
    request_bytes: int
    response_bytes: int
    duration_seconds: float
    head_bytes: int

    @property
    def network_bytes(self) -> int:
        """What went over the network, both ways, without what carries it (TLS, TCP)."""
        return self.request_bytes + self.response_bytes + self.head_bytes


Observer = Callable[[EgressRecord], None]


class Hop:
    """Collects the facts of one hop and reports them once."""

    deadline: asyncio.Timeout | None = None
    """The time limit around this hop, which shows whether a cancellation is a timeout."""

    def __init__(
        self,
        purpose: str,
        method: str,
        *,
        observers: tuple[Observer, ...],
        now: Callable[[], float],
        sent_before: bool = False,
    ) -> None:
        self.method = method
        self.target: Target | None = None
        self.address: str | None = None
        self.status: int | None = None
        self.sent = False
        self.request_bytes = 0
        self.response_bytes = 0
        self.request_head_bytes = 0
        self.response_head_bytes = 0
        self._purpose = purpose
        self._observers = observers
        self._now = now
        self._started = now()
        self._sent_before = sent_before
        self._finished = False

    def next(self) -> Hop:
        """The hop after this one, when the answer is a redirect."""
        hop = Hop(
            self._purpose,
            self.method,
            observers=self._observers,
            now=self._now,
            sent_before=self.sent_anything,
        )
        hop.deadline = self.deadline
        return hop

    @property
    def sent_anything(self) -> bool:
        """Whether this hop, or one that redirected to it, may have reached a server."""
        return self.sent or self._sent_before

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Learn from httpcore2's ``trace`` extension when the first byte may have left."""
        if event == "http11.send_request_headers.started":
            self.sent = True
        elif event == "http11.send_request_headers.failed" and isinstance(
            info["exception"], httpcore2.LocalProtocolError
        ):
            # The headers could not even be written down, so none of them was sent.
            self.sent = False

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn whatever the network raises into an `EgressError` that knows if it was sent.

        The texts are ours: those of the protocol library may quote a header.
        """
        try:
            yield
        except CcosError as error:
            error.details["sent"] = self.sent_anything
            raise
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise self.timed_out() from error
        except httpcore2.ConnectError as error:
            raise self.failure("connect", f"cannot be reached: {error}") from error
        except httpcore2.NetworkError as error:
            raise self.failure("network", "broke off") from error
        except httpcore2.LocalProtocolError:
            # Without its cause, which quotes the header at fault.
            raise self.failure("request", "cannot be written as HTTP") from None
        except Exception as error:
            raise self.failure("protocol", "got no proper HTTP answer") from error

    def failure(self, reason: str, what: str, kind: type[EgressError] = EgressError) -> EgressError:
        """An error of this hop: its origin, then ``what`` went wrong."""
        return kind(
            f"{self.method} {self.target or 'request'} {what}.",
            details={
                "reason": reason,
                "host": self.target.host if self.target else "",
                "port": self.target.port if self.target else None,
                "sent": self.sent_anything,
            },
        )

    def timed_out(self) -> EgressError:
        """The error of a hop that used up its time."""
        return self.failure("timeout", "took too long", EgressTimeoutError)

    def finish(self, error: BaseException | None = None) -> None:
        """Report to the observers, the first time only."""
        if self._finished:
            return
        self._finished = True
        if not self._observers:
            return
        details = error.details if isinstance(error, CcosError) else {}
        record = EgressRecord(
            purpose=self._purpose,
            method=self.method,
            host=self.target.host if self.target else details.get("host", ""),
            port=self.target.port if self.target else details.get("port"),
            address=self.address or details.get("address"),
            status=self.status,
            failure=self._reason(error),
            sent=self.sent,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            duration_seconds=self._now() - self._started,
            head_bytes=self.request_head_bytes * self.sent + self.response_head_bytes,
        )
        for observer in self._observers:
            observer(record)

    def _reason(self, error: BaseException | None) -> str | None:
        if error is None or isinstance(error, GeneratorExit):
            return None
        if isinstance(error, CcosError):
            return str(error.details.get("reason", error.code))
        expired = self.deadline is not None and self.deadline.expired()
        return "timeout" if expired else "cancelled"
