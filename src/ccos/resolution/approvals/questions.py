"""Putting questions to a person, and keeping the answers."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.errors import ApprovalStateError
from ccos.events import Event, EventType
from ccos.resolution.approvals.records import (
    Approval,
    ApprovalCategory,
    ApprovalState,
    BudgetExtension,
    approval_of,
    load_approval,
)
from ccos.resolution.risk import RiskAssessment
from ccos.storage import Storage, Transaction
from ccos.storage.schema import approvals, executions, waits

NOT_IN_TIME: Final = "nobody decided in time"
ABANDONED: Final = "the process that asked has ended"
_REASON_LIMIT: Final = 1000


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
        findings: dict[str, Any] | None = None,
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
        approval_id = self._insert(
            transaction,
            category,
            capability_id,
            risk={**assessment.as_dict(), **(findings or {})},
            subject=candidate,
            candidate_hash=candidate_hash,
            requested_by="ccos",
            timeout_seconds=timeout_seconds,
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

    async def ask_for_budget(
        self, extension: BudgetExtension, *, requested_by: str, timeout_seconds: float
    ) -> Approval:
        """Put the question whether an execution may use more, and return it."""

        def unit(transaction: Transaction) -> Approval:
            approval_id = self._insert(
                transaction,
                ApprovalCategory.BUDGET_EXTENSION,
                "",
                risk={},
                subject=asdict(extension),
                candidate_hash=None,
                requested_by=requested_by,
                timeout_seconds=timeout_seconds,
            )
            approval = load_approval(transaction.connection, approval_id)
            asked = asdict(extension) | {"expires_at": approval.expires_at}
            self._record(
                transaction, EventType.APPROVAL_REQUESTED, approval, actor=requested_by, **asked
            )
            return approval

        return await self._storage.write("ask", unit)

    def _insert(
        self,
        transaction: Transaction,
        category: ApprovalCategory,
        capability_id: str,
        *,
        risk: dict[str, Any],
        subject: dict[str, Any] | None,
        candidate_hash: str | None,
        requested_by: str,
        timeout_seconds: float,
    ) -> str:
        """Store a question; its ``subject`` is what exactly a yes would be about."""
        approval_id = f"ap-{secrets.token_hex(8)}"
        now = time.time()
        transaction.execute(
            sa.insert(approvals),
            {
                "id": approval_id,
                "category": category.value,
                "capability_id": capability_id,
                "status": ApprovalState.PENDING.value,
                "risk": json.dumps(risk),
                "candidate": None if subject is None else json.dumps(subject),
                "candidate_hash": candidate_hash,
                "requested_at": now,
                "requested_by": requested_by,
                "expires_at": now + timeout_seconds,
            },
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
            why = f": {approval.reason}" if approval.reason and not by else ""
            raise ApprovalStateError(
                f"{approval_id} is {approval.status.value} already{by}{why}.",
                next_step=_ask_again(approval) if why else None,
                details={"approval_id": approval_id, "status": approval.status.value},
            )
        if approval.expires_at <= time.time():
            raise ApprovalStateError(
                f"{approval_id} expired before it was answered.",
                next_step=_ask_again(approval),
                details={"approval_id": approval_id, "status": "expired"},
            )
        self._check_who(transaction, approval, actor)
        state = ApprovalState.APPROVED if approve else ApprovalState.REJECTED
        self._close(transaction, approval_id, state, actor=actor, reason=reason[:_REASON_LIMIT])
        self._record(
            transaction,
            EventType.APPROVAL_GRANTED if approve else EventType.APPROVAL_DENIED,
            approval,
            actor=actor,
            by=actor,
            reason=reason[:_REASON_LIMIT],
            candidate_hash=approval.candidate_hash,
        )
        return load_approval(transaction.connection, approval_id)

    def _check_who(self, transaction: Transaction, approval: Approval, actor: str) -> None:
        """Refuse an answer of somebody whom the rule behind the question does not name."""
        risk, now = approval.risk, time.time()
        named = list(risk.get("approvers") or ())
        after = risk.get("escalate_after_seconds")
        if named and after is not None and now >= approval.requested_at + after:
            named += risk.get("escalate_to") or ()
        if named and actor not in named:
            raise ApprovalStateError(
                f"{actor} may not answer {approval.id}.",
                next_step=f"Let one of these answer: {', '.join(named)}.",
                details={"approval_id": approval.id, "approvers": named},
            )
        if risk.get("other_than_requester") and actor in _askers(transaction, approval):
            raise ApprovalStateError(
                f"{actor} asked for {approval.capability_id} and may not answer {approval.id}.",
                next_step="Let somebody else answer.",
                details={"approval_id": approval.id},
            )

    async def escalate(self) -> list[Approval]:
        """Tell, once, of each question that further people may answer by now."""
        now = time.time()
        due = [
            one
            for one in await self.recent(status=ApprovalState.PENDING)
            if (after := one.risk.get("escalate_after_seconds")) is not None
            and not one.risk.get("escalated_at")
            and now >= one.requested_at + after
        ]

        def unit(transaction: Transaction) -> list[Approval]:
            told = []
            for one in due:
                current = load_approval(transaction.connection, one.id)
                if current.status is not ApprovalState.PENDING or "escalated_at" in current.risk:
                    continue
                transaction.execute(
                    sa.update(approvals)
                    .where(approvals.c.id == one.id)
                    .values(risk=json.dumps({**current.risk, "escalated_at": now}))
                )
                to = current.risk.get("escalate_to")
                self._record(transaction, EventType.APPROVAL_ESCALATED, current, to=to)
                told.append(current)
            return told

        return await self._storage.write("escalate", unit) if due else []

    async def needed_by(self, capability_id: str) -> frozenset[str]:
        """What the candidate that waits, or was approved, for a capability calls in vain."""
        query = sa.select(approvals.c.risk).where(
            approvals.c.capability_id == capability_id,
            approvals.c.status.in_((ApprovalState.PENDING.value, ApprovalState.APPROVED.value)),
        )
        rows = await self._storage.read(lambda c: c.execute(query).scalars().all())
        return frozenset().union(*(json.loads(one).get("needs") or () for one in rows))

    def _record(
        self,
        transaction: Transaction,
        event: EventType,
        approval: Approval,
        *,
        actor: str = "ccos",
        **data: Any,
    ) -> None:
        about = approval.extension
        self._audit.record(
            transaction,
            Event(
                event,
                approval.capability_id,
                execution_id=about.execution_id if about else "",
                actor=actor,
                data={"approval_id": approval.id, "category": approval.category.value, **data},
            ),
        )

    def _close(
        self,
        transaction: Transaction,
        approval_id: str,
        state: ApprovalState,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        if not self._settle(transaction, approval_id, state, actor=actor, reason=reason):
            raise ApprovalStateError(f"{approval_id} was answered by somebody else meanwhile.")

    def _settle(
        self,
        transaction: Transaction,
        approval_id: str,
        state: ApprovalState,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Close a question; False if it is closed already."""
        changed = transaction.execute(
            sa.update(approvals)
            .where(
                approvals.c.id == approval_id,
                approvals.c.status == ApprovalState.PENDING.value,
            )
            .values(status=state.value, decided_at=time.time(), decided_by=actor, reason=reason)
        )
        return changed.rowcount == 1

    def expire_in(self, transaction: Transaction) -> list[Approval]:
        """Close the questions whose time ran out, as part of ``transaction``."""
        rows = transaction.execute(
            sa.select(approvals).where(
                approvals.c.status == ApprovalState.PENDING.value,
                approvals.c.expires_at <= time.time(),
            )
        ).all()
        expired = [approval_of(row) for row in rows]
        for approval in expired:
            self._close(transaction, approval.id, ApprovalState.EXPIRED)
            self._record(transaction, EventType.APPROVAL_EXPIRED, approval, reason=NOT_IN_TIME)
        return expired

    async def close_unanswered(self, approval_id: str, reason: str) -> Approval:
        """Close a question if it still waits; an answer that came before stands.

        Raises:
            ApprovalNotFoundError: if there is no such question.
        """

        def unit(transaction: Transaction) -> Approval:
            if self._settle(transaction, approval_id, ApprovalState.EXPIRED, reason=reason):
                closed = load_approval(transaction.connection, approval_id)
                self._record(transaction, EventType.APPROVAL_EXPIRED, closed, reason=reason)
            return load_approval(transaction.connection, approval_id)

        return await self._storage.write("expire", unit)

    async def close_abandoned(self, alive: Collection[str]) -> None:
        """Close the questions about budgets of processes that are not ``alive`` any more."""
        query = sa.select(approvals).where(
            approvals.c.status == ApprovalState.PENDING.value,
            approvals.c.category == ApprovalCategory.BUDGET_EXTENSION.value,
        )
        for row in await self._storage.read(lambda c: c.execute(query).all()):
            about = approval_of(row).extension
            if about is not None and about.worker_id not in alive:
                await self.close_unanswered(row.id, ABANDONED)

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
        return None if row is None else approval_of(row)

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
        return [approval_of(row) for row in rows]


def _askers(transaction: Transaction, approval: Approval) -> set[str]:
    """On whose behalf it is asked: those whose executions wait for the capability."""
    waiting = (
        sa.select(executions.c.principal)
        .join(waits, waits.c.execution_id == executions.c.id)
        .where(waits.c.capability_id == approval.capability_id)
    )
    return {approval.requested_by, *transaction.execute(waiting).scalars()}


def _ask_again(approval: Approval) -> str:
    if approval.extension is not None:
        return "Run the script again; it asks again if it needs to."
    return f"Ask again with `ccos resolve {approval.capability_id}`."
