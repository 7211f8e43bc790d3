"""Following a parked execution until it has its outcome or cannot go on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ccos.assembly import Ccos
from ccos.config import MissingCapabilityFeatureFlags
from ccos.errors import ResolutionNotFoundError
from ccos.resolution.queue import RequestStatus
from ccos.runtime import Outcome, Parked

_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One capability that somebody waits for, and how the search for it stands.

    Attributes:
        registered: Whether it can be called by now.
        status: Of its request; None if there is none.
        reason: What the last attempt came to.
        approval_id: The question that a person has to answer.
        retry_in: Seconds until the next attempt; None if none is planned.
    """

    capability_id: str
    registered: bool
    status: RequestStatus | None
    reason: str = ""
    approval_id: str | None = None
    retry_in: float | None = None

    @property
    def state(self) -> str:
        """The standing in words."""
        if self.registered:
            return "registered"
        return "unknown" if self.status is None else self.status.value.replace("_", " ")

    def searching(self, flags: MissingCapabilityFeatureFlags) -> bool:
        """Whether a worker goes on looking for it without anybody's help."""
        if self.registered or not flags.auto_resolution:
            return False
        if self.status is RequestStatus.FAILED:
            return flags.continuous_resolution and self.retry_in is not None
        return self.status in (RequestStatus.PENDING, RequestStatus.IN_PROGRESS)


async def wanted(ccos: Ccos, capability_ids: Iterable[str]) -> list[Wanted]:
    """How the search for each capability stands."""
    return [await _wanted(ccos, one) for one in capability_ids]


async def _wanted(ccos: Ccos, capability_id: str) -> Wanted:
    registered = await ccos.marketplace.get(capability_id) is not None
    try:
        request = await ccos.resolver.queue.get(capability_id)
    except ResolutionNotFoundError:
        return Wanted(capability_id, registered, None)
    waits = request.status is RequestStatus.AWAITING_APPROVAL
    planned = request.next_attempt
    return Wanted(
        capability_id,
        registered,
        request.status,
        reason=request.last_error or "",
        approval_id=request.approval_id if waits else None,
        retry_in=None if planned is None else max(0.0, planned - time.time()),
    )


def goes_on(found: Sequence[Wanted], flags: MissingCapabilityFeatureFlags) -> bool:
    """Whether an execution that waits for these gets further without anybody's help."""
    if any(one.searching(flags) for one in found):
        return True
    return flags.auto_resume_enabled and all(one.registered for one in found)


async def follow(
    ccos: Ccos,
    execution_id: str,
    *,
    timeout_seconds: float | None = None,
    observe: Callable[[Sequence[Wanted]], None] = lambda _: None,
) -> Outcome | None:
    """Wait until an execution ends, or waits for something that only a person can give.

    Args:
        ccos: Where it runs; some process has to work on the queue meanwhile.
        execution_id: The execution.
        timeout_seconds: The longest wait; for ever if left out.
        observe: Is told how the search stands, several times a second.

    Returns:
        The outcome so far: :class:`Parked` if a person is needed or the time is up; None if
        the time is up while the execution runs.

    Raises:
        ExecutionNotFoundError: if there is no such execution.
    """
    outcome: Outcome | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            while True:
                outcome = await ccos.runtime.outcome(execution_id)
                if outcome is not None and not isinstance(outcome, Parked):
                    return outcome
                if outcome is not None:
                    found = await wanted(ccos, outcome.missing)
                    observe(found)
                    if not goes_on(found, ccos.settings.missing.feature_flags):
                        # It may have been resumed between the two looks.
                        if await ccos.runtime.outcome(execution_id) == outcome:
                            return outcome
                        continue
                await asyncio.sleep(_POLL_SECONDS)
    return outcome


async def follow_request(
    ccos: Ccos,
    capability_id: str,
    *,
    timeout_seconds: float | None = None,
    observe: Callable[[Sequence[Wanted]], None] = lambda _: None,
) -> Wanted:
    """Wait until the search for a capability ends or needs a person; returns how it stands."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        found = await _wanted(ccos, capability_id)
        observe([found])
        late = deadline is not None and time.monotonic() >= deadline
        if late or not found.searching(ccos.settings.missing.feature_flags):
            return found
        await asyncio.sleep(_POLL_SECONDS)
