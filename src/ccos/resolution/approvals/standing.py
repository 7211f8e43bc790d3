"""Grants that were remembered: a yes that also counts for the next candidate of the same kind."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.capabilities import Manifest, provider_url
from ccos.errors import ApprovalStateError
from ccos.events import Event, EventType
from ccos.resolution.approvals.records import (
    Approval,
    ApprovalCategory,
    ApprovalState,
    approval_of,
    load_approval,
)
from ccos.resolution.approvals.rules import ApprovalRule, RuleAction
from ccos.resolution.risk import RiskLevel
from ccos.storage import Storage, Transaction
from ccos.storage.schema import approvals

LONGEST: Final = 365 * 86_400
_CATEGORY: Final = ApprovalCategory.STANDING_APPROVAL.value


class StandingApprovals:
    """Keeps remembered grants.

    A grant covers one id, from the same kind of source, at the same host, of the same trust, with
    no further effects and no higher risk than what was approved. It never covers a definition
    that changed.
    """

    def __init__(self, storage: Storage, audit: AuditTrail) -> None:
        self._storage = storage
        self._audit = audit

    def remember_in(self, transaction: Transaction, approval: Approval, seconds: float) -> str:
        """Remember a yes for so long, as part of ``transaction``; returns the id of the grant.

        Raises:
            ApprovalStateError: if it is no yes to a candidate, or for longer than a year.
        """
        if approval.status is not ApprovalState.APPROVED or approval.candidate is None:
            raise ApprovalStateError(
                "Only a yes to a candidate can be remembered.",
                next_step="Approve the search first, then remember the answer about the candidate.",
            )
        if not 0 < seconds <= LONGEST:
            raise ApprovalStateError(
                "A grant is remembered for up to 365 days.", next_step="Name a shorter time."
            )
        now = time.time()
        manifest = Manifest.model_validate(approval.candidate["manifest"])
        rule = ApprovalRule(
            action=RuleAction.ALLOW,
            id=(approval.capability_id,),
            source=(approval.candidate["source"],),
            host=(host_of(manifest),),
            trust=(manifest.trust_tier,),
            effects=manifest.effects,
            up_to=_bounded(approval.level),
            expires_at=now + seconds,
            reason=f"{approval.decided_by} approved {approval.id}",
        )
        grant_id = f"sa-{secrets.token_hex(8)}"
        transaction.execute(
            sa.insert(approvals),
            {
                "id": grant_id,
                "category": _CATEGORY,
                "capability_id": approval.capability_id,
                "status": ApprovalState.APPROVED.value,
                "risk": json.dumps(approval.risk),
                "candidate": rule.model_dump_json(),
                "candidate_hash": None,
                "requested_at": now,
                "requested_by": approval.requested_by,
                "expires_at": now + seconds,
                # A grant is no answer to a question of its own, which would cover anything.
                "decided_at": None,
                "decided_by": approval.decided_by,
                "reason": rule.reason,
            },
        )
        self._record(transaction, EventType.APPROVAL_GRANTED, approval.capability_id, grant_id)
        return grant_id

    async def withdraw(self, grant_id: str, *, actor: str) -> Approval:
        """End a remembered grant; what it let in stays registered.

        Raises:
            ApprovalNotFoundError: if there is no such grant.
            ApprovalStateError: if it ended before, or is a question and no grant.
        """

        def unit(transaction: Transaction) -> Approval:
            grant = load_approval(transaction.connection, grant_id)
            if grant.category.value != _CATEGORY or grant.status is not ApprovalState.APPROVED:
                raise ApprovalStateError(f"{grant_id} is no grant that lasts.")
            transaction.execute(
                sa.update(approvals)
                .where(approvals.c.id == grant_id)
                .values(
                    status=ApprovalState.EXPIRED.value,
                    decided_at=time.time(),
                    reason=f"{actor} withdrew it",
                )
            )
            self._record(
                transaction, EventType.APPROVAL_EXPIRED, grant.capability_id, grant_id, actor=actor
            )
            return load_approval(transaction.connection, grant_id)

        return await self._storage.write("withdraw", unit)

    async def listed(self) -> list[Approval]:
        """The grants that last, newest first."""
        query = (
            sa.select(approvals)
            .where(
                approvals.c.category == _CATEGORY,
                approvals.c.status == ApprovalState.APPROVED.value,
                approvals.c.expires_at > time.time(),
            )
            .order_by(approvals.c.requested_at.desc())
        )
        rows = await self._storage.read(lambda c: c.execute(query).all())
        return [approval_of(row) for row in rows]

    async def rules(self) -> tuple[ApprovalRule, ...]:
        """The grants as rules."""
        return tuple(ApprovalRule.model_validate(one.candidate) for one in await self.listed())

    def _record(
        self,
        transaction: Transaction,
        event: EventType,
        capability_id: str,
        grant_id: str,
        *,
        actor: str = "ccos",
    ) -> None:
        data: dict[str, Any] = {"approval_id": grant_id, "category": _CATEGORY}
        self._audit.record(transaction, Event(event, capability_id, actor=actor, data=data))


def _bounded(level: RiskLevel) -> Literal[RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH]:
    """A level that a rule can permit; what is critical was let in as an exception, only once."""
    match level:
        case RiskLevel.CRITICAL | RiskLevel.HIGH:
            return RiskLevel.HIGH
        case RiskLevel.MEDIUM:
            return RiskLevel.MEDIUM
        case RiskLevel.LOW:
            return RiskLevel.LOW


def host_of(manifest: Manifest) -> str:
    """The host that a provider is reached at; empty for one that runs here."""
    return (urlsplit(provider_url(manifest.provider) or "").hostname or "").lower()
