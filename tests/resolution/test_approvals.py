"""Approvals: asked once, answered once, for one candidate, and not for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.errors import ApprovalNotFoundError, ApprovalStateError, CcosError
from ccos.events import EventType
from ccos.resolution.approvals import Approval, ApprovalCategory, ApprovalState
from ccos.resolution.queue import RequestStatus
from ccos.resolution.results import AwaitingApproval, PermanentlyFailed, Resolved
from ccos.resolution.risk import RiskLevel
from ccos.storage.schema import approvals
from opening import (
    ON,
    RESOLVING,
    ScriptedSource,
    change,
    happened,
    increment,
    offer,
    opened,
    parked,
    status,
    value,
)

pytestmark = pytest.mark.anyio

ASKING = {**RESOLVING, "CCOS_HUMAN_APPROVAL_REQUIRED": ON}


async def asked(ccos: Ccos, capability_id: str = "user.login") -> Approval:
    """The question that comes of resolving something of high risk."""
    result = await ccos.resolver.resolve_capability(capability_id)
    assert isinstance(result, AwaitingApproval)
    return await ccos.resolver.approvals.get(result.approval_id)


async def test_a_question_tells_what_it_is_about_and_survives_a_restart(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as ccos:
        approval = await asked(ccos)
    async with opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as ccos:
        assert await ccos.resolver.approvals.waiting("user.login") == approval
        assert approval.status is ApprovalState.PENDING
        assert approval.category is ApprovalCategory.SERVER_DISCOVERY
        assert (approval.level, approval.candidate) == (RiskLevel.HIGH, None)
        assert approval.risk["security_concerns"] == ["identity"]
        assert approval.expires_at == pytest.approx(approval.requested_at + 3600)
        (listed,) = await ccos.resolver.approvals.recent(status=ApprovalState.PENDING)
        assert listed == approval
        (requested,) = await happened(ccos, EventType.APPROVAL_REQUESTED)
        assert (requested["approval_id"], requested["risk"]) == (approval.id, "high")


async def test_the_same_question_is_not_put_twice(tmp_path: Path) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        first = await asked(ccos)
        assert await asked(ccos) == first
        assert len(await ccos.resolver.approvals.recent()) == 1


@pytest.mark.parametrize("by", ["approval_id", "capability_id"])
async def test_a_yes_lets_the_search_go_on(tmp_path: Path, store: dict[str, str], by: str) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        source.candidates.append(await offer(ccos, "user.login"))
        ticket = parked(await ccos.call("user.login", {"x": 1}))
        await ccos.worker.run_once()
        assert source.asked == []
        approval = await ccos.resolver.approvals.waiting("user.login")
        assert approval is not None
        decided = await ccos.resolver.approve(
            approval_id=approval.id if by == "approval_id" else None,
            capability_id="user.login" if by == "capability_id" else None,
            by="alice",
            reason="we need it",
        )
        assert (decided.status, decided.decided_by, decided.reason) == (
            ApprovalState.APPROVED,
            "alice",
            "we need it",
        )
        await ccos.worker.run_once()
        assert source.asked == ["user.login"]
        assert value(await ccos.settled(ticket.execution_id)) == 2
        registered = await ccos.marketplace.get("user.login")
        assert registered is not None
        assert registered.manifest.approval_status.value == "approved"
        provenance = registered.manifest.provenance
        assert provenance is not None
        steps = [(entry.step, entry.by) for entry in provenance.custody_chain]
        assert ("approved", "alice") in steps


async def test_a_question_is_decided_once(tmp_path: Path) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        approval = await asked(ccos)
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        for decide in (ccos.resolver.approve, ccos.resolver.reject):
            with pytest.raises(ApprovalStateError, match="approved already by alice"):
                await decide(approval_id=approval.id, by="bob")
        assert len(await happened(ccos, EventType.APPROVAL_GRANTED)) == 1


async def test_of_deciders_at_the_same_moment_exactly_one_wins(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with (
        opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as first,
        opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as second,
    ):
        approval = await asked(first)
        outcomes = await asyncio.gather(
            first.resolver.approve(approval_id=approval.id, by="alice"),
            second.resolver.reject(approval_id=approval.id, by="bob"),
            first.resolver.reject(approval_id=approval.id, by="carol"),
            second.resolver.approve(approval_id=approval.id, by="dave"),
            return_exceptions=True,
        )
        won = [one for one in outcomes if isinstance(one, Approval)]
        assert len(won) == 1
        assert all(isinstance(one, ApprovalStateError) for one in outcomes if one not in won)
        assert await first.resolver.approvals.get(approval.id) == won[0]
        decisions = [
            *await happened(first, EventType.APPROVAL_GRANTED),
            *await happened(first, EventType.APPROVAL_DENIED),
        ]
        assert [one["by"] for one in decisions] == [won[0].decided_by]


@pytest.mark.parametrize(
    "which", [{"approval_id": "ap-none"}, {"capability_id": "nobody.asked"}], ids=str
)
async def test_an_unknown_question_is_an_error_that_names_it(
    tmp_path: Path, which: dict[str, str]
) -> None:
    async with opened(tmp_path, **RESOLVING) as ccos:
        for decide in (ccos.resolver.approve, ccos.resolver.reject):
            with pytest.raises(ApprovalNotFoundError, match=r"ap-none|nobody\.asked"):
                await decide(**which, by="alice")


async def test_deciding_about_nothing_is_an_error(tmp_path: Path) -> None:
    async with opened(tmp_path, **RESOLVING) as ccos:
        with pytest.raises(CcosError):
            await ccos.resolver.approve(by="alice")


async def test_a_no_is_final_until_a_person_asks_again(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        approval = await asked(ccos)
        await ccos.resolver.reject(approval_id=approval.id, by="alice", reason="too risky")
        assert await status(ccos, "user.login") is RequestStatus.REJECTED
        parked(await ccos.call("user.login"))
        await ccos.worker.run_once()
        result = await ccos.resolver.resolve_capability("user.login")
        assert result == PermanentlyFailed("alice rejected it: too risky")
        assert source.asked == []
        again = await ccos.resolver.resolve_capability("user.login", force=True)
        assert isinstance(again, AwaitingApproval)
        assert again.approval_id != approval.id
        await ccos.resolver.approve(approval_id=again.approval_id, by="bob")
        await ccos.worker.run_once()
        assert source.asked == ["user.login"]


async def test_a_question_that_nobody_answers_expires_and_may_be_asked_again(
    tmp_path: Path, store: dict[str, str]
) -> None:
    variables = {**RESOLVING, "CCOS_HUMAN_APPROVAL_TIMEOUT_SECONDS": "0.05", **store}
    async with opened(tmp_path, ScriptedSource(), **variables) as ccos:
        approval = await asked(ccos)
        await asyncio.sleep(0.06)
        with pytest.raises(ApprovalStateError, match="expired before it was answered"):
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
        await ccos.worker.run_once()
        expired = await ccos.resolver.approvals.get(approval.id)
        assert (expired.status, expired.decided_by) == (ApprovalState.EXPIRED, None)
        request = await ccos.resolver.queue.get("user.login")
        assert (request.status, request.last_error) == (
            RequestStatus.FAILED,
            "nobody decided in time",
        )
        assert len(await happened(ccos, EventType.APPROVAL_EXPIRED)) == 1
        assert (await asked(ccos)).id != approval.id


async def test_a_question_whose_time_is_not_up_stays(tmp_path: Path) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        approval = await asked(ccos)
        await ccos.worker.run_once()
        assert await ccos.resolver.approvals.get(approval.id) == approval


async def test_an_expired_question_that_nobody_closed_is_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        approval = await asked(ccos)
        await change(ccos, sa.update(approvals).values(expires_at=0.0))
        result = await ccos.resolver.resolve_capability("user.login", override_block="look again")
        assert isinstance(result, AwaitingApproval)
        assert result.approval_id != approval.id
        superseded = await ccos.resolver.approvals.get(approval.id)
        assert superseded.status is ApprovalState.SUPERSEDED


async def test_a_yes_covers_exactly_one_candidate(tmp_path: Path, store: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        first = await offer(ccos, "weather.current", effects=("process",))
        source.candidates = [first]
        approval = await asked(ccos, "weather.current")
        assert approval.category is ApprovalCategory.EFFECT_APPROVAL
        assert approval.candidate_hash == first.manifest.definition_hash()
        assert approval.candidate is not None
        assert approval.candidate["manifest"]["id"] == "weather.current"
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        # What was approved is registered, whatever the sources would offer by now.
        source.candidates = [await other(ccos)]
        result = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(result, Resolved)
        registered = await ccos.marketplace.get("weather.current")
        assert registered is not None
        assert registered.definition_hash == first.manifest.definition_hash()
        assert source.asked == ["weather.current"]


async def other(ccos: Ccos) -> Any:
    return await offer(ccos, "weather.current", description="Something else.", effects=("process",))


async def test_another_candidate_is_another_question_that_takes_the_place_of_the_first(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "weather.current", effects=("process",))]
        first = await asked(ccos, "weather.current")
        source.candidates = [await other(ccos)]
        result = await ccos.resolver.resolve_capability(
            "weather.current", override_block="look again"
        )
        assert isinstance(result, AwaitingApproval)
        second = await ccos.resolver.approvals.get(result.approval_id)
        assert second.candidate_hash != first.candidate_hash
        superseded = await ccos.resolver.approvals.get(first.id)
        assert superseded.status is ApprovalState.SUPERSEDED
        with pytest.raises(ApprovalStateError, match="superseded already"):
            await ccos.resolver.approve(approval_id=first.id, by="alice")
        (entry,) = await happened(ccos, EventType.APPROVAL_SUPERSEDED)
        assert entry == {"approval_id": first.id}


async def test_a_yes_to_looking_is_no_yes_to_something_riskier(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **ASKING) as ccos:
        source.candidates = [await offer(ccos, "weather.current", effects=("network",))]
        first = await asked(ccos, "weather.current")
        assert (first.category, first.level) == (ApprovalCategory.SERVER_DISCOVERY, RiskLevel.LOW)
        await ccos.resolver.approve(approval_id=first.id, by="alice")
        second = await asked(ccos, "weather.current")
        assert (second.category, second.level) == (
            ApprovalCategory.EFFECT_APPROVAL,
            RiskLevel.MEDIUM,
        )
        await ccos.resolver.approve(approval_id=second.id, by="alice")
        result = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(result, Resolved)


async def test_a_yes_counts_for_one_request_and_not_for_later_ones(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        source.candidates = [await offer(ccos, "user.login")]
        await ccos.resolver.approve(approval_id=(await asked(ccos)).id, by="alice")
        assert isinstance(await ccos.resolver.resolve_capability("user.login"), Resolved)
        await ccos.marketplace.remove("user.login", actor="alice")
        parked(await ccos.call("user.login", {"x": 1}))
        again = await asked(ccos)
        assert again.status is ApprovalState.PENDING


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_reasons_are_cut(tmp_path: Path, verb: str) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        approval = await asked(ccos)
        decide = getattr(ccos.resolver, verb)
        decided = await decide(approval_id=approval.id, by="alice", reason="because " * 1000)
        assert len(decided.reason or "") == 1000
        request = await ccos.resolver.queue.get("user.login")
        assert len(request.last_error or "") < 1100


async def test_a_decision_about_a_request_that_went_another_way_changes_nothing_there(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        for decide in (ccos.resolver.approve, ccos.resolver.reject):
            approval = await asked(ccos)
            await ccos.register("user.login", increment)
            await ccos.resolver.enqueue_missing_capability("user.login")
            await change(ccos, sa.text("update resolutions set status = 'resolved'"))
            await decide(approval_id=approval.id, by="alice")
            assert await status(ccos, "user.login") is RequestStatus.RESOLVED
            await ccos.marketplace.remove("user.login", actor="alice")
            await ccos.resolver.enqueue_missing_capability("user.login")
