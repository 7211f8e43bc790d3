"""What an approval is, and how it is read from its row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ccos.engine.budget import Dimension
from ccos.errors import ApprovalNotFoundError
from ccos.resolution.risk import RiskLevel
from ccos.storage.schema import approvals


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
    BUDGET_EXTENSION = "BudgetExtension"
    """May this execution use more than its budget allows?"""
    STANDING_APPROVAL = "StandingApproval"
    """A yes that was remembered for later candidates of the same kind."""


@dataclass(frozen=True, slots=True)
class BudgetExtension:
    """More of a budget, for an execution that waits for the answer.

    Attributes:
        execution_id, script_id: What waits, and what it runs.
        dimension: What is used up.
        limit: How much is allowed, with extensions that were granted before.
        used: How much it would have used after what it is about to do.
        more: How much more is asked for; a yes grants exactly this.
        worker_id: The process that waits for the answer.
    """

    execution_id: str
    script_id: str
    dimension: Dimension
    limit: float
    used: float
    more: float
    worker_id: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One question and its answer.

    Attributes:
        capability_id: What it is about; empty if it is about a budget, as ``risk`` is.
        candidate: The manifest that would be registered, exactly; None for a question about an
            id for which nothing was looked for yet.
        extension: What is asked for of a budget; None if it is about a capability.
        requested_by: On whose behalf it is asked.
    """

    id: str
    category: ApprovalCategory
    capability_id: str
    status: ApprovalState
    risk: dict[str, Any]
    candidate: dict[str, Any] | None
    candidate_hash: str | None
    extension: BudgetExtension | None
    requested_at: float
    requested_by: str
    expires_at: float
    decided_at: float | None
    decided_by: str | None
    reason: str | None

    @property
    def level(self) -> RiskLevel:
        """The level that a yes about a capability covers."""
        return RiskLevel(self.risk["level"])


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
    return approval_of(row)


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
    return [approval_of(row) for row in connection.execute(query).all()]


def approval_of(row: Any) -> Approval:
    """The approval that a row of the table holds."""
    category = ApprovalCategory(row.category)
    subject: dict[str, Any] | None = None if row.candidate is None else json.loads(row.candidate)
    extension = None
    if category is ApprovalCategory.BUDGET_EXTENSION and subject is not None:
        dimension = Dimension(subject["dimension"])
        extension, subject = BudgetExtension(**{**subject, "dimension": dimension}), None
    return Approval(
        id=row.id,
        category=category,
        capability_id=row.capability_id,
        status=ApprovalState(row.status),
        risk=json.loads(row.risk),
        candidate=subject,
        candidate_hash=row.candidate_hash,
        extension=extension,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
    )
