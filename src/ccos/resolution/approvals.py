"""Approvals: questions to a person that survive restarts and are answered once."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.errors import ApprovalNotFoundError, ApprovalStateError
from ccos.events import Event, EventType
from ccos.resolution.risk import RiskAssessment, RiskLevel
from ccos.storage import Storage, Transaction
from ccos.storage.schema import approvals

_REASON_LIMIT = 1000


class ApprovalState(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class ApprovalCategory(StrEnum):
    """What is asked."""

    SERVER_DISCOVERY = "ServerDiscovery"
    """May providers for this id be looked for at all?"""
    EFFECT_APPROVAL = "EffectApproval"
    """May this candidate be registered and called?"""


@dataclass(frozen=True, slots=True)
class Approval:
    """One question and its answer.

    ``candidate`` is the manifest that would be registered, exactly; None for a question about
    an id for which nothing was looked for yet.
    """

    id: str
    category: ApprovalCategory
    capability_id: str
    status: ApprovalState
    risk: dict[str, Any]
    candidate: dict[str, Any] | None
    candidate_hash: str | None
    requested_at: float
    requested_by: str
    expires_at: float
    decided_at: float | None
    decided_by: str | None
    reason: str | None

    @property
    def level(self) -> RiskLevel:
        """The level that a yes covers."""
        return RiskLevel(self.risk["level"])


class Approvals:
    """Asks, and keeps the answers."""

    def __init__(self, storage: Storage, audit: AuditTrail) -> None:
        self._storage = storage
        self._audit = audit

    def ask_in(
        self,
        transaction: Transaction,
        category: ApprovalCategory,
        capability_id: str,
        assessment: RiskAssessment,
        *,
        candidate: dict[str, Any] | None,
        candidate_hash: str | None,
        timeout_seconds: float,
    ) -> str:
        """Put a question as part of ``transaction`` and return its id.

        The same question that still waits is not put twice; another one for the same capability
        takes the place of the one that waits.
        """
        waiting = transaction.execute(
            sa.select(approvals).where(
                approvals.c.capability_id == capability_id,
                approvals.c.status == ApprovalState.PENDING.value,
            )
        ).first()
        if waiting is not None:
            same = (waiting.category, waiting.candidate_hash) == (category.value, candidate_hash)
            if same and waiting.expires_at > time.time():
                return str(waiting.id)
            self._close(transaction, waiting.id, ApprovalState.SUPERSEDED)
            self._audit.record(
                transaction,
                Event(
                    EventType.APPROVAL_SUPERSEDED,
                    capability_id,
                    data={"approval_id": waiting.id},
                ),
            )
        approval_id = f"ap-{secrets.token_hex(8)}"
        now = time.time()
        transaction.execute(
            sa.insert(approvals),
            {
                "id": approval_id,
                "category": category.value,
                "capability_id": capability_id,
                "status": ApprovalState.PENDING.value,
                "risk": json.dumps(assessment.as_dict()),
                "candidate": None if candidate is None else json.dumps(candidate),
                "candidate_hash": candidate_hash,
                "requested_at": now,
                "requested_by": "ccos",
                "expires_at": now + timeout_seconds,
            },
        )
        self._audit.record(
            transaction,
            Event(
                EventType.APPROVAL_REQUESTED,
                capability_id,
                data={
                    "approval_id": approval_id,
                    "category": category.value,
                    "risk": assessment.level.value,
                    "factors": list(assessment.risk_factors),
                    "candidate_hash": candidate_hash,
                },
            ),
        )
        return approval_id

    def decide_in(
        self,
        transaction: Transaction,
        approval_id: str,
        *,
        approve: bool,
        actor: str,
        reason: str,
    ) -> Approval:
        """Answer a question as part of ``transaction``; only the first answer counts.

        Raises:
            ApprovalNotFoundError: if there is no such question.
            ApprovalStateError: if it was answered, expired or superseded before.
        """
        approval = load_approval(transaction.connection, approval_id)
        if approval.status is not ApprovalState.PENDING:
            by = f" by {approval.decided_by}" if approval.decided_by else ""
            raise ApprovalStateError(
                f"{approval_id} is {approval.status.value} already{by}.",
                details={"approval_id": approval_id, "status": approval.status.value},
            )
        if approval.expires_at <= time.time():
            raise ApprovalStateError(
                f"{approval_id} expired before it was answered.",
                next_step=f"Ask again with `ccos resolve {approval.capability_id}`.",
                details={"approval_id": approval_id, "status": "expired"},
            )
        state = ApprovalState.APPROVED if approve else ApprovalState.REJECTED
        self._close(transaction, approval_id, state, actor=actor, reason=reason[:_REASON_LIMIT])
        event = EventType.APPROVAL_GRANTED if approve else EventType.APPROVAL_DENIED
        self._audit.record(
            transaction,
            Event(
                event,
                approval.capability_id,
                actor=actor,
                data={
                    "approval_id": approval_id,
                    "category": approval.category.value,
                    "by": actor,
                    "reason": reason[:_REASON_LIMIT],
                    "candidate_hash": approval.candidate_hash,
                },
            ),
        )
        return load_approval(transaction.connection, approval_id)

    def _close(
        self,
        transaction: Transaction,
        approval_id: str,
        state: ApprovalState,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        changed = transaction.execute(
            sa.update(approvals)
            .where(
                approvals.c.id == approval_id,
                approvals.c.status == ApprovalState.PENDING.value,
            )
            .values(status=state.value, decided_at=time.time(), decided_by=actor, reason=reason)
        )
        if changed.rowcount != 1:
            raise ApprovalStateError(f"{approval_id} was answered by somebody else meanwhile.")

    def expire_in(self, transaction: Transaction) -> list[Approval]:
        """Close the questions whose time ran out, as part of ``transaction``."""
        rows = transaction.execute(
            sa.select(approvals).where(
                approvals.c.status == ApprovalState.PENDING.value,
                approvals.c.expires_at <= time.time(),
            )
        ).all()
        for row in rows:
            self._close(transaction, row.id, ApprovalState.EXPIRED)
            self._audit.record(
                transaction,
                Event(EventType.APPROVAL_EXPIRED, row.capability_id, data={"approval_id": row.id}),
            )
        return [_approval(row) for row in rows]

    async def get(self, approval_id: str) -> Approval:
        """The approval of an id.

        Raises:
            ApprovalNotFoundError: if there is none.
        """
        return await self._storage.read(lambda c: load_approval(c, approval_id))

    async def waiting(self, capability_id: str) -> Approval | None:
        """The question about a capability that waits for an answer."""
        query = sa.select(approvals).where(
            approvals.c.capability_id == capability_id,
            approvals.c.status == ApprovalState.PENDING.value,
        )
        row = await self._storage.read(lambda c: c.execute(query).first())
        return None if row is None else _approval(row)

    async def overdue(self) -> bool:
        """Whether some question's time ran out and nobody closed it yet."""
        query = (
            sa.select(approvals.c.id)
            .where(
                approvals.c.status == ApprovalState.PENDING.value,
                approvals.c.expires_at <= time.time(),
            )
            .limit(1)
        )
        return await self._storage.read(lambda c: c.execute(query).first()) is not None

    async def recent(
        self, *, status: ApprovalState | None = None, limit: int = 100
    ) -> list[Approval]:
        """The newest approvals, of one status if given."""
        query = sa.select(approvals).order_by(approvals.c.requested_at.desc()).limit(limit)
        if status is not None:
            query = query.where(approvals.c.status == status.value)
        rows = await self._storage.read(lambda c: c.execute(query).all())
        return [_approval(row) for row in rows]


def load_approval(connection: sa.Connection, approval_id: str) -> Approval:
    """The approval of an id.

    Raises:
        ApprovalNotFoundError: if there is none.
    """
    row = connection.execute(sa.select(approvals).where(approvals.c.id == approval_id)).first()
    if row is None:
        raise ApprovalNotFoundError(
            f"There is no approval {approval_id!r}.", details={"approval_id": approval_id}
        )
    return _approval(row)


def granted(connection: sa.Connection, capability_id: str, since: float) -> list[Approval]:
    """Every yes about a capability from ``since`` on, newest first."""
    query = (
        sa.select(approvals)
        .where(
            approvals.c.capability_id == capability_id,
            approvals.c.status == ApprovalState.APPROVED.value,
            approvals.c.decided_at >= since,
        )
        .order_by(approvals.c.decided_at.desc())
    )
    return [_approval(row) for row in connection.execute(query).all()]


def _approval(row: Any) -> Approval:
    return Approval(
        id=row.id,
        category=ApprovalCategory(row.category),
        capability_id=row.capability_id,
        status=ApprovalState(row.status),
        risk=json.loads(row.risk),
        candidate=None if row.candidate is None else json.loads(row.candidate),
        candidate_hash=row.candidate_hash,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
    )
