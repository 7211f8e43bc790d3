"""One attempt: which sources are asked, what is chosen, and what is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.capabilities import ApprovalStatus, EffectType, TrustTier
from ccos.errors import ProviderUnavailableError, SourceError, StorageError
from ccos.events import EventType
from ccos.marketplace import Registered
from ccos.resolution.queue import Request, RequestStatus
from ccos.resolution.results import (
    AwaitingApproval,
    Blocked,
    NotResolved,
    PermanentlyFailed,
    Resolved,
)
from ccos.resolution.sources import Candidate, Wanted
from ccos.storage.schema import aliases, capabilities, resolutions
from opening import (
    DETECTING,
    OFF,
    RESOLVING,
    ScriptedSource,
    candidate,
    change,
    failure,
    happened,
    increment,
    offer,
    opened,
    parked,
    rows,
    status,
    value,
)

pytestmark = pytest.mark.anyio


async def resolve(ccos: Ccos, capability_id: str = "weather.current", **options: Any) -> Any:
    return await ccos.resolver.resolve_capability(capability_id, **options)


async def request_for(ccos: Ccos, capability_id: str = "weather.current") -> Request:
    return await ccos.resolver.queue.get(capability_id)


def sources(*names: str) -> list[ScriptedSource]:
    return [ScriptedSource(name=name) for name in names]


async def test_sources_are_asked_in_their_order_until_one_has_what_fits(
    tmp_path: Path, store: dict[str, str]
) -> None:
    _, poor, good, never = asked = sources("empty", "poor", "good", "never")
    poor.candidates = [candidate("stocks.price")]
    never.candidates = [candidate("weather.current")]
    async with opened(tmp_path, *asked, **RESOLVING, **store) as ccos:
        good.candidates = [await offer(ccos, "mcp.meteo.current_weather")]
        result = await resolve(ccos)
        assert result == Resolved(
            "mcp.meteo.current_weather",
            "good",
            {"provider": "local", "version": "1.0.0", "tier": "approved"},
        )
        assert [bool(one.asked) for one in asked] == [True, True, True, False]
        searched = await happened(ccos, EventType.SOURCE_SEARCHED)
        assert [(one["source"], one["candidates"]) for one in searched] == [
            ("empty", 0),
            ("poor", 1),
            ("good", 1),
        ]
        (completed,) = await happened(ccos, EventType.CAPABILITY_DISCOVERY_COMPLETED)
        assert completed["selected"] == "mcp.meteo.current_weather"
        assert (completed["methods"], completed["candidates"]) == (["empty", "poor", "good"], 2)


async def test_a_better_scored_one_that_does_not_fit_does_not_hide_one_that_does(
    tmp_path: Path,
) -> None:
    # The first shares half of the words and comes from a trusted place; the second fits.
    tempting = candidate("sun.current", name="x", relevance=1.0, trust_tier=TrustTier.OFFICIAL)
    async with opened(tmp_path, ScriptedSource(tempting, name="one"), **RESOLVING) as ccos:
        fitting = await offer(ccos, "mcp.meteo.current_weather", name="x", relevance=0.0)
        two = ScriptedSource(fitting, name="two")
        ccos.resolver.add_custom_resolver(two)
        result = await resolve(ccos)
        assert isinstance(result, Resolved)


async def test_the_requested_id_becomes_an_alias_and_the_waiting_call_gets_its_result(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "mcp.meteo.current_weather")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2
        assert await ccos.marketplace.aliases() == {"weather.current": "mcp.meteo.current_weather"}
        registered = await ccos.marketplace.get("weather.current")
        assert registered is not None
        assert registered.manifest.approval_status is ApprovalStatus.AUTO_APPROVED
        provenance = registered.manifest.provenance
        assert provenance is not None
        assert (provenance.source, provenance.reference) == ("scripted", "test")
        assert [one.step for one in provenance.custody_chain] == [
            "found",
            "imported",
            "validated",
            "registered",
        ]
        request = await request_for(ccos)
        assert request.resolution is not None
        assert request.resolution["duration_ms"] >= 0
        assert len(await happened(ccos, EventType.AUTO_RESUME_READY, "weather.current")) == 1


async def test_registration_alias_and_resolution_are_all_there_or_none_is(
    tmp_path: Path, store: dict[str, str]
) -> None:
    class Failing:
        active = True

        def before_commit(self, name: str) -> None:
            if self.active and name == "register" and arrived:
                raise StorageError("The disk is gone.")

        def after_commit(self, name: str) -> None:
            pass

    arrived: list[Candidate] = []
    failing, source = Failing(), ScriptedSource()
    async with opened(tmp_path, source, observer=failing, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "mcp.meteo.current_weather")]
        before = await rows(ccos, sa.select(capabilities.c.id))
        arrived += source.candidates
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert await rows(ccos, sa.select(capabilities.c.id)) == before
        assert await rows(ccos, sa.select(aliases)) == []
        request = await request_for(ccos)
        assert (request.status, request.attempt_count) == (RequestStatus.FAILED, 1)
        assert "disk is gone" in (request.last_error or "")
        failing.active = False
        assert isinstance(await resolve(ccos, force=True), Resolved)
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2


class Breaking:
    """Ways in which a source can fail."""

    @staticmethod
    async def source_error(_: Wanted) -> Sequence[Candidate]:
        raise SourceError("The registry answered with status 500.")

    @staticmethod
    async def provider_error(_: Wanted) -> Sequence[Candidate]:
        raise ProviderUnavailableError("Nobody listens.")

    @staticmethod
    async def bug(_: Wanted) -> Sequence[Candidate]:
        raise KeyError("servers")


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (Breaking.source_error, "status 500"),
        (Breaking.provider_error, "Nobody listens"),
        (Breaking.bug, "KeyError"),
    ],
)
async def test_a_source_that_fails_does_not_stop_the_others(
    tmp_path: Path, way: Any, words: str
) -> None:
    broken, good = ScriptedSource(name="broken", answer=way), ScriptedSource(name="good")
    async with opened(tmp_path, broken, good, **RESOLVING) as ccos:
        result = await resolve(ccos)
        assert isinstance(result, NotResolved)
        assert "no source offers anything; broken: " in result.reason
        assert words in result.reason
        assert good.asked == ["weather.current"]
        problems = [one["problem"] for one in await happened(ccos, EventType.SOURCE_SEARCHED)]
        assert words in problems[0]
        assert problems[1] is None
        good.candidates = [await offer(ccos, "weather.current")]
        assert isinstance(await resolve(ccos, force=True), Resolved)


async def test_an_attempt_that_takes_too_long_is_ended_and_counted(tmp_path: Path) -> None:
    async def forever(_: Wanted) -> Sequence[Candidate]:
        await asyncio.sleep(60)
        return []

    slow, never = ScriptedSource(name="slow", answer=forever), ScriptedSource(name="never")
    variables = {**RESOLVING, "CCOS_RESOLUTION_TIMEOUT_SECONDS": "0.1"}
    async with opened(tmp_path, slow, never, **variables) as ccos:
        started = time.monotonic()
        result = await resolve(ccos)
        assert time.monotonic() - started < 5
        assert isinstance(result, NotResolved)
        assert "slow timed out after 0.1 s" in result.reason
        assert result.retry_after == pytest.approx(1, abs=0.5)
        assert never.asked == []
        request = await request_for(ccos)
        assert (request.attempt_count, request.methods_tried) == (1, ["slow"])


async def test_after_the_last_attempt_the_failure_is_permanent_until_a_person_asks(
    tmp_path: Path,
) -> None:
    source = ScriptedSource()
    variables = {**RESOLVING, "CCOS_MAX_RESOLUTION_ATTEMPTS": "2"}
    async with opened(tmp_path, source, **variables) as ccos:
        assert isinstance(await resolve(ccos), NotResolved)
        assert isinstance(await resolve(ccos), NotResolved)
        assert len(source.asked) == 1
        await change(ccos, sa.update(resolutions).values(next_attempt=0.0))
        assert await resolve(ccos) == PermanentlyFailed("no source offers anything")
        assert await resolve(ccos) == PermanentlyFailed("no source offers anything")
        assert len(source.asked) == 2
        assert isinstance(await resolve(ccos, force=True), NotResolved)
        assert (await request_for(ccos)).attempt_count == 1


@pytest.mark.parametrize(
    ("wanted", "highest", "asked"),
    [
        ("weather.current", "low", True),
        ("weather.current", "high", True),
        ("user.login", "low", False),
        ("user.login", "medium", False),
        ("user.login", "high", True),
    ],
)
async def test_a_source_is_asked_up_to_its_risk(
    tmp_path: Path, wanted: str, highest: Any, asked: bool
) -> None:
    source = ScriptedSource(highest_risk=highest)
    variables = {**RESOLVING, "CCOS_HIGH_RISK_AUTO_RESOLUTION": "true"}
    async with opened(tmp_path, source, **variables) as ccos:
        await resolve(ccos, wanted)
        assert bool(source.asked) is asked


@pytest.mark.parametrize("capability_id", ["admin.security.auth", "payment.database"], ids=str)
async def test_what_is_critical_is_blocked_and_no_source_is_contacted(
    tmp_path: Path, store: dict[str, str], capability_id: str
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        parked(await ccos.call(capability_id))
        await ccos.worker.run_once()
        result = await resolve(ccos, capability_id)
        assert isinstance(result, Blocked)
        assert len(result.reasons) >= 2
        assert all(reason.startswith("touches") for reason in result.reasons)
        assert await status(ccos, capability_id) is RequestStatus.BLOCKED
        assert source.asked == []
        assert isinstance(await resolve(ccos, capability_id, force=True), Blocked)
        assert source.asked == []
        assert await ccos.resolver.approvals.recent() == []
        (blocked, _) = await happened(ccos, EventType.RESOLUTION_BLOCKED, capability_id)
        assert blocked["risk"] == "critical"


async def test_a_block_is_lifted_by_a_reason_and_then_an_approval(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "admin.security.auth")]
        assert isinstance(await resolve(ccos, "admin.security.auth"), Blocked)
        result = await resolve(
            ccos, "admin.security.auth", override_block="the audit needs it", actor="alice"
        )
        assert isinstance(result, AwaitingApproval)
        assert source.asked == []
        entries = await ccos.audit.tail(100)
        (overridden,) = [one for one in entries if one.event_type == "resolution_overridden"]
        assert (overridden.actor, overridden.data) == ("alice", {"reason": "the audit needs it"})
        await ccos.resolver.approve(approval_id=result.approval_id, by="bob")
        assert isinstance(await resolve(ccos, "admin.security.auth"), Resolved)
        assert source.asked == ["admin.security.auth"]
        assert value(await ccos.call("admin.security.auth", {"x": 1})) == 2
        # It was lifted once: the next time it is blocked as before.
        await ccos.marketplace.remove("admin.security.auth", actor="alice")
        parked(await ccos.call("admin.security.auth", {"x": 1}))
        assert isinstance(await resolve(ccos, "admin.security.auth"), Blocked)


async def test_medium_risk_is_registered_and_every_factor_is_logged(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        source.candidates = [
            await offer(
                ccos,
                "weather.current",
                trust_tier=TrustTier.COMMUNITY,
                effects=("network",),
                effect_type=EffectType.READ_ONLY,
            )
        ]
        assert isinstance(await resolve(ccos), Resolved)
        (logged,) = await happened(ccos, EventType.RESOLUTION_MEDIUM_RISK)
        assert len(logged["factors"]) == 2
        source.candidates = [await offer(ccos, "text.length")]
        assert isinstance(await resolve(ccos, "text.length"), Resolved)
        assert len(await happened(ccos, EventType.RESOLUTION_MEDIUM_RISK)) == 1


async def test_the_arguments_of_the_waiting_call_decide_too(tmp_path: Path) -> None:
    async def place(place: str) -> str:
        return place.upper()

    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        wrong = await offer(ccos, "weather.current")
        right = await offer(ccos, "mcp.meteo.current_weather", place)
        source.candidates = [wrong, right]
        ticket = parked(await ccos.call("weather.current", {"place": "Paris"}))
        await ccos.worker.run_once()
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == "PARIS"


async def test_when_only_misfits_are_offered_the_reason_says_why(tmp_path: Path) -> None:
    source = ScriptedSource(candidate("weather.current"))
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        parked(await ccos.call("weather.current", {"place": "Paris"}))
        await ccos.worker.run_once()
        error = (await request_for(ccos)).last_error or ""
        assert error.startswith("the nearest is weather.current, but the arguments")
        source.candidates = [candidate("stocks.price")]
        await resolve(ccos, "bank.transfer")
        error = (await request_for(ccos, "bank.transfer")).last_error or ""
        assert "nothing fits; the nearest is stocks.price" in error


async def test_what_is_registered_by_now_is_found_without_asking_anybody(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.register("weather.current", increment)
        await ccos.worker.run_once()
        assert source.asked == []
        request = await request_for(ccos)
        assert request.resolution is not None
        assert request.resolution["method"] == "marketplace_found"
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2


async def test_an_alias_that_exists_by_now_is_enough(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        await ccos.register("meteo.now", increment)
        parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.marketplace.add_alias("weather.current", "meteo.now", actor="alice")
        await ccos.worker.run_once()
        request = await request_for(ccos)
        assert request.resolution is not None
        assert request.resolution["method"] == "alias_cache"
        assert source.asked == []


async def test_a_candidate_under_a_name_that_is_taken_fails_for_good(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        await ccos.register("weather.current", increment)
        await ccos.marketplace.revoke("weather.current", actor="alice", reason="it lies")
        source.candidates = [await offer(ccos, "mcp.meteo.current_weather")]
        result = await resolve(ccos)
        assert isinstance(result, PermanentlyFailed)
        assert "is a capability of its own" in result.reason
        assert await ccos.marketplace.get("mcp.meteo.current_weather") is None


async def test_what_was_revoked_comes_back_only_by_a_person(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        assert isinstance(await resolve(ccos), Resolved)
        await ccos.marketplace.revoke("weather.current", actor="alice", reason="it lies")
        result = await resolve(ccos)
        assert isinstance(result, AwaitingApproval)
        approval = await ccos.resolver.approvals.get(result.approval_id)
        assert "it was revoked: it lies" in approval.risk["risk_factors"]
        assert "it lies" in failure(await ccos.call("weather.current", {"x": 1})).message
        await ccos.resolver.approve(approval_id=approval.id, by="bob")
        assert isinstance(await resolve(ccos), Resolved)
        assert value(await ccos.call("weather.current", {"x": 1})) == 2


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"description": "Other words."}, "1.1.0"),
        ({"effects": ("network",)}, "2.0.0"),
        ({"input_schema": {"type": "object", "required": ["y"]}}, "2.0.0"),
        ({"description": "Other words.", "version": "1.5.0"}, "1.5.0"),
    ],
    ids=str,
)
async def test_a_changed_definition_gets_the_version_that_its_changes_call_for(
    tmp_path: Path, changes: dict[str, Any], version: str
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        first = await offer(ccos, "weather.current")
        source.candidates = [first]
        assert isinstance(await resolve(ccos), Resolved)
        await ccos.marketplace.quarantine("weather.current", actor="ccos", reason="changed")
        changed = first.manifest.model_copy(update=changes)
        source.candidates = [Candidate(changed, "scripted", "test", 1.0, TrustTier.APPROVED)]
        result = await resolve(ccos)
        assert isinstance(result, AwaitingApproval)
        await ccos.resolver.approve(approval_id=result.approval_id, by="alice")
        assert isinstance(await resolve(ccos), Resolved)
        registered = await ccos.marketplace.get("weather.current")
        assert registered is not None
        assert registered.manifest.version == version


async def test_a_manifest_that_is_none_fails_the_attempt(tmp_path: Path) -> None:
    broken = candidate("weather.current")
    broken = Candidate(
        broken.manifest.model_copy(update={"version": "not a version"}),
        "scripted",
        "test",
        1.0,
        TrustTier.APPROVED,
    )
    async with opened(tmp_path, ScriptedSource(broken), **RESOLVING) as ccos:
        result = await resolve(ccos)
        assert isinstance(result, NotResolved)
        assert "version" in result.reason


async def test_an_attempt_whose_request_was_taken_over_writes_nothing(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async def slow(_: Wanted) -> Sequence[Candidate]:
        # Meanwhile somebody released the claim and another worker took the request.
        await change(ccos, sa.update(resolutions).values(run_count=7, worker_id="w-other"))
        return offered

    async with opened(tmp_path, ScriptedSource(answer=slow), **RESOLVING, **store) as ccos:
        offered = [await offer(ccos, "weather.current")]
        await ccos.resolver.enqueue_missing_capability("weather.current")
        assert await ccos.resolver.process_queue() == 1
        request = await request_for(ccos)
        assert (request.status, request.worker_id) == (RequestStatus.IN_PROGRESS, "w-other")
        assert await ccos.marketplace.get("weather.current") is None


async def test_an_attempt_that_is_taken_over_in_its_last_moment_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        source.candidates = [await offer(ccos, "mcp.meteo.current_weather")]
        await ccos.resolver.enqueue_missing_capability("weather.current")
        get = ccos.marketplace.get

        async def late(capability_id: str) -> Registered | None:
            if capability_id == "mcp.meteo.current_weather":
                await change(ccos, sa.update(resolutions).values(run_count=7))
            return await get(capability_id)

        monkeypatch.setattr(ccos.marketplace, "get", late)
        await ccos.resolver.process_queue()
        assert await status(ccos, "weather.current") is RequestStatus.IN_PROGRESS
        assert await get("mcp.meteo.current_weather") is None


async def test_an_approved_definition_that_would_get_another_version_is_asked_about_again(
    tmp_path: Path,
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        first = await offer(ccos, "weather.current")
        source.candidates = [first]
        assert isinstance(await resolve(ccos), Resolved)
        await ccos.marketplace.quarantine("weather.current", actor="ccos", reason="changed")
        changed = first.manifest.model_copy(update={"description": "Other words."})
        source.candidates = [Candidate(changed, "scripted", "test", 1.0, TrustTier.APPROVED)]
        asked = await resolve(ccos)
        assert isinstance(asked, AwaitingApproval)
        await ccos.resolver.approve(approval_id=asked.approval_id, by="alice")
        # Meanwhile an operator registers something else under the version that was approved.
        operators = first.manifest.model_copy(
            update={"description": "By hand.", "version": "1.1.0"}
        )
        await ccos.marketplace.register(operators, actor="bob")
        await ccos.marketplace.quarantine("weather.current", actor="bob", reason="by mistake")
        again = await resolve(ccos)
        assert isinstance(again, AwaitingApproval)
        approval = await ccos.resolver.approvals.get(again.approval_id)
        assert approval.candidate is not None
        assert approval.candidate["manifest"]["version"] == "1.2.0"


async def test_with_auto_resume_off_the_call_stays_parked_and_can_be_resumed_by_hand(
    tmp_path: Path,
) -> None:
    source = ScriptedSource()
    variables = {**RESOLVING, "CCOS_AUTO_RESUME_ENABLED": OFF}
    async with opened(tmp_path, source, **variables) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert await status(ccos, "weather.current") is RequestStatus.RESOLVED
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        assert len(await happened(ccos, EventType.AUTO_RESUME_READY)) == 1
        assert value(await ccos.checkpoint_archive.resume(ticket.execution_id)) == 2


async def test_nothing_is_attempted_for_a_request_that_is_not_claimed(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **DETECTING) as ccos:
        await ccos.resolver.enqueue_missing_capability("weather.current")
        verdict = await ccos.resolver.workflow("weather.current", 1)
        assert verdict == {"next": "stop"}
        assert source.asked == []
