"""The queue: one durable request per missing capability, however many executions wait for it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit import AuditTrail, redacted
from ccos.config import MissingCapabilityConfig
from ccos.errors import ResolutionNotFoundError
from ccos.events import Event, EventType
from ccos.runtime import Sighting
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import resolutions


class RequestStatus(StrEnum):
    """Where a request stands."""

    DEFERRED = "deferred"
    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    FAILED = "failed"
    PERMANENTLY_FAILED = "permanently_failed"
    BLOCKED = "blocked"
    REJECTED = "rejected"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self in (
            self.RESOLVED,
            self.PERMANENTLY_FAILED,
            self.BLOCKED,
            self.REJECTED,
        )


class Priority(StrEnum):
    """How urgent a request is; not how risky."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the most urgent."""
        return list(Priority).index(self)


_AGING_SECONDS: Final = 300.0
_CONTEXT_LIMIT: Final = 400
_STALE_AFTER_TIMEOUTS: Final = 2
_OPEN: Final = (
    RequestStatus.PENDING.value,
    RequestStatus.AWAITING_APPROVAL.value,
    RequestStatus.IN_PROGRESS.value,
)


_REQUEST: Final = Statement(
    sa.select(resolutions).where(resolutions.c.capability_id == sa.bindparam("id"))
)
_INSERT: Final = Statement(sa.insert(resolutions))
_OPEN_COUNT: Final = Statement(
    sa.select(sa.func.count()).select_from(resolutions).where(resolutions.c.status.in_(_OPEN))
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is missing, and how the search for it stands."""

    capability_id: str
    status: RequestStatus
    priority: Priority
    risk: str | None
    arguments: dict[str, Any]
    context: str
    requested_at: float
    last_seen_at: float
    seen_count: int
    attempt_count: int
    run_count: int
    last_attempt: float | None
    next_attempt: float | None
    backoff_seconds: float | None
    last_error: str | None
    methods_tried: list[str]
    approval_id: str | None
    override_reason: str | None
    resolution: dict[str, Any] | None
    worker_id: str | None
    finished_at: float | None


class ResolutionQueue:
    """Keeps the requests. Several processes may share one."""

    def __init__(
        self, storage: Storage, audit: AuditTrail, config: MissingCapabilityConfig
    ) -> None:
        self._storage = storage
        self._audit = audit
        self._config = config

    def note_in(
        self,
        transaction: Transaction,
        sightings: Sequence[Sighting],
        *,
        source: str,
        priority: Priority,
    ) -> None:
        """Remember sightings of missing capabilities, as part of ``transaction``."""
        for sighting in sightings:
            self._note(transaction, sighting, priority)
            self._audit.record(
                transaction,
                Event(
                    EventType.MISSING_CAPABILITY_RUNTIME,
                    sighting.capability_id,
                    sighting.execution_id,
                    data={
                        "source": source,
                        "context": sighting.context[:_CONTEXT_LIMIT],
                        "arguments": sighting.arguments,
                    },
                ),
            )

    def _note(self, transaction: Transaction, sighting: Sighting, priority: Priority) -> None:
        now = time.time()
        row = _REQUEST.first(transaction.connection, {"id": sighting.capability_id})
        if row is None:
            self._add(transaction, sighting, priority, now)
            return
        changes: dict[str, Any] = {
            "last_seen_at": now,
            "seen_count": row.seen_count + 1,
            "priority": min(row.priority, priority.rank),
        }
        status = RequestStatus(row.status)
        if status is RequestStatus.RESOLVED:
            changes |= {
                "status": RequestStatus.PENDING.value,
                "requested_at": now,
                "attempt_count": 0,
                "next_attempt": now,
                "override_reason": None,
                "resolution": None,
                "finished_at": None,
            }
        elif status is RequestStatus.FAILED:
            changes["status"] = RequestStatus.PENDING.value
        transaction.execute(
            sa.update(resolutions)
            .where(resolutions.c.capability_id == sighting.capability_id)
            .values(**changes)
        )

    def _add(
        self, transaction: Transaction, sighting: Sighting, priority: Priority, now: float
    ) -> None:
        waiting = _OPEN_COUNT.scalar(transaction.connection)
        room = waiting < self._config.max_pending_capabilities
        status = RequestStatus.PENDING if room else RequestStatus.DEFERRED
        _INSERT.change(
            transaction.connection,
            {
                "capability_id": sighting.capability_id,
                "status": status.value,
                "priority": priority.rank,
                "arguments": json.dumps(redacted(sighting.arguments)),
                "context": sighting.context[:_CONTEXT_LIMIT],
                "requested_at": now,
                "last_seen_at": now,
                "seen_count": 1,
                "attempt_count": 0,
                "run_count": 0,
                "next_attempt": now,
                "methods_tried": "[]",
            },
        )
        event = EventType.RESOLUTION_QUEUED if room else EventType.RESOLUTION_DEFERRED
        self._audit.record(
            transaction,
            Event(event, sighting.capability_id, data={"priority": priority.value}),
        )

    async def claim(self, worker_id: str, limit: int) -> list[Request]:
        """Take the most urgent requests that are due; nobody else works on them from now on.

        Urgency is the priority, one level higher for each five minutes of waiting.
        """
        if limit <= 0:
            return []
        now = time.time()
        urgency = resolutions.c.priority - (now - resolutions.c.requested_at) / _AGING_SECONDS
        due = (
            sa.select(resolutions)
            .where(
                resolutions.c.status == RequestStatus.PENDING.value,
                sa.or_(resolutions.c.next_attempt.is_(None), resolutions.c.next_attempt <= now),
            )
            .order_by(urgency, resolutions.c.requested_at)
            .limit(limit)
        )
        if not await self._storage.read(lambda c: c.execute(due).first()):
            return []

        def unit(transaction: Transaction) -> list[Request]:
            rows = transaction.execute(due.with_for_update(skip_locked=True)).all()
            return [self._claim_in(transaction, row, worker_id) for row in rows]

        return await self._storage.write("claim", unit)

    def _claim_in(self, transaction: Transaction, row: Any, worker_id: str) -> Request:
        transaction.execute(
            sa.update(resolutions)
            .where(resolutions.c.capability_id == row.capability_id)
            .values(
                status=RequestStatus.IN_PROGRESS.value,
                worker_id=worker_id,
                run_count=row.run_count + 1,
                last_attempt=time.time(),
            )
        )
        self._audit.record(
            transaction,
            Event(
                EventType.RESOLUTION_STARTED,
                row.capability_id,
                data={"attempt": row.attempt_count + 1, "priority": row.priority},
            ),
        )
        return load_request(transaction.connection, row.capability_id)

    def change_in(
        self, transaction: Transaction, capability_id: str, status: RequestStatus, **values: Any
    ) -> None:
        """Move a request to ``status``, as part of ``transaction``."""
        finished = time.time() if status.finished else None
        changed = transaction.execute(
            sa.update(resolutions)
            .where(resolutions.c.capability_id == capability_id)
            .values(status=status.value, finished_at=finished, **values)
        )
        if changed.rowcount != 1:
            raise ResolutionNotFoundError(f"Nobody asked for {capability_id}.")

    def fail_in(
        self,
        transaction: Transaction,
        request: Request,
        reason: str,
        *,
        methods: list[str],
        permanent: bool = False,
    ) -> RequestStatus:
        """Count a failed attempt, as part of ``transaction``.

        The next one waits longer each time; after the last, the failure is permanent until a
        person asks again.
        """
        attempts = request.attempt_count + 1
        delay = self._delay(attempts)
        ends = permanent or attempts >= self._config.max_resolution_attempts
        status = RequestStatus.PERMANENTLY_FAILED if ends else RequestStatus.FAILED
        self.change_in(
            transaction,
            request.capability_id,
            status,
            attempt_count=attempts,
            last_error=reason,
            methods_tried=json.dumps(methods),
            backoff_seconds=None if ends else delay,
            next_attempt=None if ends else time.time() + delay,
            worker_id=None,
        )
        event = EventType.RESOLUTION_PERMANENTLY_FAILED if ends else EventType.RESOLUTION_FAILED
        self._audit.record(
            transaction,
            Event(
                event,
                request.capability_id,
                data={
                    "attempt": attempts,
                    "reason": reason,
                    "methods": methods,
                    "retry_after": None if ends else round(delay, 3),
                },
            ),
        )
        return status

    def _delay(self, attempt: int) -> float:
        """Seconds to wait after attempt number ``attempt``, counted from 1."""
        backoff = self._config.retry_backoff_config
        delay = min(
            backoff.max_delay_seconds,
            backoff.initial_delay_seconds * backoff.backoff_multiplier ** (attempt - 1),
        )
        # The jitter only spreads retries in time; nothing secret depends on it.
        return delay * random.uniform(0.5, 1.0) if backoff.jitter_enabled else delay  # noqa: S311

    async def promote(self, *, retry_failed: bool) -> int:
        """Let deferred requests in as there is room and, if asked, failed ones that are due."""
        waiting = sa.or_(
            resolutions.c.status == RequestStatus.DEFERRED.value,
            sa.and_(
                sa.literal(retry_failed),
                resolutions.c.status == RequestStatus.FAILED.value,
                resolutions.c.next_attempt <= time.time(),
            ),
        )
        candidates = (
            sa.select(resolutions.c.capability_id)
            .where(waiting)
            .order_by(resolutions.c.requested_at)
        )
        if not await self._storage.read(lambda c: c.execute(candidates.limit(1)).first()):
            return 0

        def unit(transaction: Transaction) -> int:
            used = _OPEN_COUNT.scalar(transaction.connection)
            room = max(0, self._config.max_pending_capabilities - used)
            chosen = list(transaction.execute(candidates.limit(room)).scalars())
            for capability_id in chosen:
                self.change_in(transaction, capability_id, RequestStatus.PENDING)
                self._audit.record(transaction, Event(EventType.RESOLUTION_QUEUED, capability_id))
            return len(chosen)

        return await self._storage.write("promote", unit)

    async def release_stale(self) -> int:
        """Let go of requests that were claimed longer ago than any attempt can take.

        Should the attempt still run somewhere, its writes no longer count.
        """
        stale = (
            resolutions.c.status == RequestStatus.IN_PROGRESS.value,
            resolutions.c.last_attempt
            < time.time() - _STALE_AFTER_TIMEOUTS * self._config.resolution_timeout_seconds,
        )
        query = sa.select(resolutions.c.capability_id).where(*stale)
        if not await self._storage.read(lambda c: c.execute(query.limit(1)).first()):
            return 0

        def unit(transaction: Transaction) -> int:
            chosen = list(transaction.execute(query).scalars())
            for capability_id in chosen:
                self.reopen_in(transaction, capability_id)
            return len(chosen)

        return await self._storage.write("release", unit)

    def reopen_in(self, transaction: Transaction, capability_id: str, **values: Any) -> None:
        """Put a request back at the start, as part of ``transaction``."""
        self.change_in(
            transaction,
            capability_id,
            RequestStatus.PENDING,
            next_attempt=time.time(),
            worker_id=None,
            **values,
        )
        self._audit.record(transaction, Event(EventType.RESOLUTION_QUEUED, capability_id))

    def reopen_waiting_in(self, transaction: Transaction, reason: str) -> None:
        """Put back what failed for a reason that begins so, as part of ``transaction``."""
        waiting = sa.select(resolutions.c.capability_id).where(
            resolutions.c.status == RequestStatus.FAILED.value,
            resolutions.c.last_error.startswith(reason, autoescape=True),
        )
        for capability_id in list(transaction.execute(waiting).scalars()):
            self.reopen_in(transaction, capability_id)

    async def get(self, capability_id: str) -> Request:
        """The request for a capability.

        Raises:
            ResolutionNotFoundError: if nobody asked for it.
        """
        return await self._storage.read(lambda c: load_request(c, capability_id))

    async def requests(
        self, *, status: RequestStatus | None = None, limit: int = 1000
    ) -> list[Request]:
        """Requests in the order in which they would be worked on."""
        query = (
            sa.select(resolutions)
            .order_by(resolutions.c.priority, resolutions.c.requested_at)
            .limit(limit)
        )
        if status is not None:
            query = query.where(resolutions.c.status == status.value)
        rows = await self._storage.read(lambda c: c.execute(query).all())
        return [_request(row) for row in rows]

    async def in_progress(self) -> list[Request]:
        """Requests that some worker has claimed."""
        return await self.requests(status=RequestStatus.IN_PROGRESS)


def load_request(connection: sa.Connection, capability_id: str) -> Request:
    """The request for a capability.

    Raises:
        ResolutionNotFoundError: if nobody asked for it.
    """
    row = _REQUEST.first(connection, {"id": capability_id})
    if row is None:
        raise ResolutionNotFoundError(
            f"Nobody asked for {capability_id}.", details={"capability_id": capability_id}
        )
    return _request(row)


def _request(row: Any) -> Request:
    return Request(
        capability_id=row.capability_id,
        status=RequestStatus(row.status),
        priority=list(Priority)[row.priority],
        risk=row.risk,
        arguments=json.loads(row.arguments),
        context=row.context,
        requested_at=row.requested_at,
        last_seen_at=row.last_seen_at,
        seen_count=row.seen_count,
        attempt_count=row.attempt_count,
        run_count=row.run_count,
        last_attempt=row.last_attempt,
        next_attempt=row.next_attempt,
        backoff_seconds=row.backoff_seconds,
        last_error=row.last_error,
        methods_tried=json.loads(row.methods_tried),
        approval_id=row.approval_id,
        override_reason=row.override_reason,
        resolution=None if row.resolution is None else json.loads(row.resolution),
        worker_id=row.worker_id,
        finished_at=row.finished_at,
    )
