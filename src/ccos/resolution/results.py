"""What comes of asking for a capability. A result is data; only a misuse raises."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ccos.resolution.queue import Request, RequestStatus


@dataclass(frozen=True, slots=True)
class Resolved:
    """The capability can be called.

    Attributes:
        capability_id: The registered id behind the requested one.
        resolution_method: How it was found, such as ``mcp_registry``.
        provider_info: Kind of provider, version and trust tier.
    """

    capability_id: str
    resolution_method: str
    provider_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AwaitingApproval:
    """A person has to decide first."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """It is too risky to be looked for at all."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotResolved:
    """This attempt found nothing, or may not look.

    ``retry_after`` is in seconds; None if no further attempt is planned.
    """

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PermanentlyFailed:
    """No further attempt is made until a person asks for one."""

    reason: str


ResolutionResult = Resolved | AwaitingApproval | Blocked | NotResolved | PermanentlyFailed


def result_of(request: Request) -> ResolutionResult:
    """What a stored request came to so far."""
    reason = request.last_error or ""
    match request.status:
        case RequestStatus.RESOLVED:
            found = request.resolution or {}
            info = {key: found.get(key) for key in ("provider", "version", "tier")}
            return Resolved(found["capability_id"], found["method"], info)
        case RequestStatus.AWAITING_APPROVAL:
            return AwaitingApproval(request.approval_id or "")
        case RequestStatus.BLOCKED:
            return Blocked(tuple(reason.split("; ")))
        case RequestStatus.PERMANENTLY_FAILED:
            return PermanentlyFailed(reason)
        case RequestStatus.REJECTED:
            return PermanentlyFailed(reason or "a person rejected it")
        case RequestStatus.FAILED:
            planned = request.next_attempt
            return NotResolved(reason, None if planned is None else planned - time.time())
        case _:
            return NotResolved(f"it is {request.status.value.replace('_', ' ')}")
