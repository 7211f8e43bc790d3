"""The phases of a rollout and the ways back, with the variables as the guide writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccos.errors import UnknownCapabilityError
from ccos.events import EventType
from ccos.resolution.queue import RequestStatus
from ccos.resolution.results import AwaitingApproval
from opening import (
    ScriptedSource,
    failure,
    happened,
    offer,
    opened,
    parked,
    status,
    value,
)

pytestmark = pytest.mark.anyio


def exports(block: str) -> dict[str, str]:
    """The variables that a block of shell exports sets."""
    lines = [line.removeprefix("export ") for line in block.strip().splitlines()]
    return dict(line.split("=", 1) for line in lines)


PHASE_1 = exports("""
export CCOS_MISSING_CAPABILITY_ENABLED=true
export CCOS_RUNTIME_DETECTION=true
export CCOS_AUTO_RESOLUTION=false
export CCOS_HUMAN_APPROVAL_REQUIRED=true
export CCOS_AUDIT_LOGGING=true
""")

PHASE_2 = PHASE_1 | exports("""
export CCOS_AUTO_RESOLUTION=true
export CCOS_HUMAN_APPROVAL_REQUIRED=true
export CCOS_MCP_REGISTRY_ENABLED=true
export CCOS_IMPORTERS_ENABLED=false
export CCOS_HTTP_WRAPPER_ENABLED=false
export CCOS_LLM_SYNTHESIS_ENABLED=false
""")

PHASE_3 = PHASE_2 | exports("""
export CCOS_AUTO_RESOLUTION=true
export CCOS_HUMAN_APPROVAL_REQUIRED=false
export CCOS_MCP_REGISTRY_ENABLED=true
export CCOS_IMPORTERS_ENABLED=true
export CCOS_HTTP_WRAPPER_ENABLED=false
export CCOS_LLM_SYNTHESIS_ENABLED=false
""")

EMERGENCY = exports("""
export CCOS_MISSING_CAPABILITY_ENABLED=false
""")

OLD_SYSTEM = exports("""
export CCOS_STUB_ENABLED=true
export CCOS_MANUAL_RESOLUTION=true
""")


def registry() -> ScriptedSource:
    return ScriptedSource(name="registry", flag="mcp_registry_enabled")


async def test_phase_1_detects_and_logs_and_resolves_nothing(tmp_path: Path) -> None:
    source = registry()
    async with opened(tmp_path, source, **PHASE_1) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        for _ in range(3):
            assert await ccos.worker.run_once() == 0
        assert source.asked == []
        assert await status(ccos, "weather.current") is RequestStatus.PENDING
        request = await ccos.resolver.queue.get("weather.current")
        assert (request.attempt_count, request.run_count) == (0, 0)
        assert len(await happened(ccos, EventType.MISSING_CAPABILITY_RUNTIME)) == 1
        assert await happened(ccos, EventType.RESOLUTION_STARTED) == []
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket


async def test_phase_2_contacts_nobody_before_a_person_said_yes(tmp_path: Path) -> None:
    source, importer = registry(), ScriptedSource(name="importer", flag="importers_enabled")
    async with opened(tmp_path, importer, source, **PHASE_2) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert await status(ccos, "weather.current") is RequestStatus.AWAITING_APPROVAL
        assert source.asked == []
        await ccos.resolver.approve(capability_id="weather.current", by="alice")
        await ccos.worker.run_once()
        assert (source.asked, importer.asked) == (["weather.current"], [])
        assert await status(ccos, "weather.current") is RequestStatus.RESOLVED
        # Resuming by itself is a later phase.
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        assert value(await ccos.runtime.resume(ticket.execution_id)) == 2


async def test_phase_3_resolves_low_risk_alone_and_asks_about_high_risk(tmp_path: Path) -> None:
    source = registry()
    async with opened(tmp_path, source, **PHASE_3) as ccos:
        source.candidates = [await offer(ccos, "weather.current"), await offer(ccos, "user.login")]
        for name in ("weather.current", "user.login", "admin.login"):
            parked(await ccos.call(name, {"x": 1}))
        await ccos.worker.run_once()
        assert source.asked == ["weather.current"]
        assert await status(ccos, "weather.current") is RequestStatus.RESOLVED
        assert await status(ccos, "user.login") is RequestStatus.AWAITING_APPROVAL
        assert await status(ccos, "admin.login") is RequestStatus.BLOCKED
        assert value(await ccos.call("weather.current", {"x": 1})) == 2


@pytest.mark.parametrize("old_system", [{}, OLD_SYSTEM], ids=["alone", "with the old system"])
async def test_the_emergency_rollback_keeps_everything_and_can_be_taken_back(
    tmp_path: Path, store: dict[str, str], old_system: dict[str, str]
) -> None:
    source = registry()
    async with opened(tmp_path, source, **PHASE_2, **store) as ccos:
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        asked = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(asked, AwaitingApproval)
    async with opened(tmp_path, source, **(PHASE_2 | EMERGENCY | old_system | store)) as ccos:
        assert isinstance(failure(await ccos.call("weather.current")), UnknownCapabilityError)
        assert await ccos.worker.run_once() == 0
        (request,) = await ccos.resolver.queue.requests()
        assert (request.status, request.seen_count) == (RequestStatus.AWAITING_APPROVAL, 1)
        assert (await ccos.resolver.approvals.get(asked.approval_id)).capability_id
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        assert (await ccos.resolver.stats()).by_status == {"awaiting_approval": 1}
    async with opened(tmp_path, source, **PHASE_2, **store) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        await ccos.resolver.approve(capability_id="weather.current", by="alice")
        await ccos.worker.run_once()
        assert value(await ccos.runtime.resume(ticket.execution_id)) == 2
        assert (await ccos.audit.verify()).intact


async def test_one_feature_can_be_taken_back_alone(tmp_path: Path) -> None:
    source, importer = registry(), ScriptedSource(name="importer", flag="importers_enabled")
    back = PHASE_3 | exports("export CCOS_IMPORTERS_ENABLED=false")
    async with opened(tmp_path, source, importer, **back) as ccos:
        await ccos.resolver.resolve_capability("weather.current")
        assert (source.asked, importer.asked) == (["weather.current"], [])
